//! From JSON to definitions. The place of each mistake is kept, in the words of a path.

use base64::prelude::{BASE64_STANDARD, Engine};
use ropewalk_broker::{
    BindingDefinition, Definitions, ExchangeDefinition, HashAlgorithm, PasswordHash,
    PermissionDefinition, QueueDefinition, TopicPermissionDefinition, UserDefinition, UserLimits,
    Value as BrokerValue, VhostDefinition, VhostLimits,
};
use serde_json::Value;

use super::item::{Item, Reader, generic, limit};
use super::{ALGORITHMS, Error, Reading};

/// Keys at the top of RabbitMQ's files that say where a file comes from.
const ORIGIN: [&str; 8] = [
    "rabbit_version",
    "rabbitmq_version",
    "rabbitmq_definition_format",
    "product_name",
    "product_version",
    "explanation",
    "original_cluster_name",
    "original_vhost_name",
];

/// Reads a file of RabbitMQ's definitions. `entropy` fills the salts of
/// passwords that are given in plain text, and must be secure.
///
/// # Errors
/// The first mistake: no JSON, a key that is missing, a value of the wrong type.
pub fn read(json: &[u8], entropy: &mut dyn FnMut(&mut [u8])) -> Result<Reading, Error> {
    let file: Value = serde_json::from_slice(json)
        .map_err(|error| Error::new("", format!("not JSON: {error}")))?;
    let Value::Object(file) = &file else {
        return Err(Error::new("", "not definitions: they are a JSON object"));
    };
    let mut reader = Reader::default();
    let mut found = Definitions::default();
    for item in reader.items(file, "vhosts")? {
        found.vhosts.push(vhost(&mut reader, &item)?);
    }
    for item in reader.items(file, "users")? {
        found.users.push(user(&mut reader, &item, entropy)?);
    }
    for item in reader.items(file, "permissions")? {
        reader.know(&item, &["user", "vhost", "configure", "write", "read"]);
        found.permissions.push(PermissionDefinition {
            user: item.text("user")?,
            vhost: item.text("vhost")?,
            configure: item.text("configure")?,
            write: item.text("write")?,
            read: item.text("read")?,
        });
    }
    for item in reader.items(file, "topic_permissions")? {
        reader.know(&item, &["user", "vhost", "exchange", "write", "read"]);
        found.topic_permissions.push(TopicPermissionDefinition {
            user: item.text("user")?,
            vhost: item.text("vhost")?,
            exchange: item.text("exchange")?,
            write: item.text("write")?,
            read: item.text("read")?,
        });
    }
    for item in reader.items(file, "exchanges")? {
        let known = ["vhost", "name", "type", "durable", "auto_delete", "internal", "arguments"];
        reader.know(&item, &known);
        found.exchanges.push(ExchangeDefinition {
            vhost: item.text("vhost")?,
            name: item.text("name")?,
            kind: item.text("type")?,
            durable: item.flag("durable")?,
            auto_delete: item.flag_or("auto_delete", false)?,
            internal: item.flag_or("internal", false)?,
            arguments: item.arguments()?,
        });
    }
    for item in reader.items(file, "queues")? {
        found.queues.push(queue(&mut reader, &item)?);
    }
    for item in reader.items(file, "bindings")? {
        found.bindings.push(binding(&mut reader, &item)?);
    }
    for item in reader.items(file, "parameters")? {
        parameter(&mut reader, &item, &mut found.vhosts)?;
    }
    reader.leave_out(file, "policies", "this broker has no policies")?;
    reader.leave_out(file, "global_parameters", "this broker has no use for them")?;
    let sections = [
        "vhosts",
        "users",
        "permissions",
        "topic_permissions",
        "exchanges",
        "queues",
        "bindings",
        "parameters",
        "policies",
        "global_parameters",
    ];
    for key in file.keys().map(String::as_str) {
        if !sections.contains(&key) && !ORIGIN.contains(&key) {
            reader.unknown.insert(key.to_owned());
        }
    }
    Ok(reader.finish(found))
}

fn vhost(reader: &mut Reader, item: &Item<'_>) -> Result<VhostDefinition, Error> {
    reader.know(item, &["name", "description", "tags", "metadata", "limits", "default_queue_type"]);
    let mut found = VhostDefinition {
        name: item.text("name")?,
        description: item.text_or("description", "")?,
        tags: item.list_of_words("tags")?,
        limits: VhostLimits::default(),
    };
    // Newer versions say the same twice: in `metadata`, and beside it.
    if let Some(metadata) = item.object("metadata")? {
        reader.know(&metadata, &["description", "tags", "default_queue_type"]);
        if found.description.is_empty() {
            found.description = metadata.text_or("description", "")?;
        }
        if found.tags.is_empty() {
            found.tags = metadata.list_of_words("tags")?;
        }
    }
    vhost_limits(reader, &item.pairs("limits")?, &mut found.limits)?;
    let kinds = ["classic", "undefined", "rabbit_classic_queue"];
    let kind = item.text_or("default_queue_type", "classic")?;
    if !kinds.contains(&&*kind) {
        let place = &item.place;
        reader.warnings.push(format!(
            "{place}.default_queue_type: left out, queues without a type are classic here, not {kind}"
        ));
    }
    Ok(found)
}

fn vhost_limits(
    reader: &mut Reader,
    pairs: &[(String, &str, &Value)],
    limits: &mut VhostLimits,
) -> Result<(), Error> {
    for (place, name, value) in pairs {
        match *name {
            "max-connections" => limits.max_connections = limit(place, value)?,
            "max-queues" => limits.max_queues = limit(place, value)?,
            _ => drop(reader.unknown.insert(generic(place))),
        }
    }
    Ok(())
}

fn user(
    reader: &mut Reader,
    item: &Item<'_>,
    entropy: &mut dyn FnMut(&mut [u8]),
) -> Result<UserDefinition, Error> {
    reader
        .know(item, &["name", "password_hash", "password", "hashing_algorithm", "tags", "limits"]);
    let mut limits = UserLimits::default();
    for (place, name, value) in item.pairs("limits")? {
        match name {
            "max-connections" => limits.max_connections = limit(&place, value)?,
            "max-channels" => limits.max_channels = limit(&place, value)?,
            _ => drop(reader.unknown.insert(generic(&place))),
        }
    }
    Ok(UserDefinition {
        name: item.text("name")?,
        password: password(item, entropy)?,
        tags: item.list_of_words("tags")?,
        limits,
    })
}

/// A hash, or a password to be hashed; neither, or an empty one, lets nobody in.
fn password(
    item: &Item<'_>,
    entropy: &mut dyn FnMut(&mut [u8]),
) -> Result<Option<PasswordHash>, Error> {
    let hash = item.text_or("password_hash", "")?;
    if hash.is_empty() {
        let plain = item.text_or("password", "")?;
        return Ok((!plain.is_empty()).then(|| {
            let mut salt = [0; 4];
            entropy(&mut salt);
            PasswordHash::new(plain.as_bytes(), salt)
        }));
    }
    let name = item.text_or("hashing_algorithm", ALGORITHMS[0].0)?;
    let Some(&(_, algorithm)) = ALGORITHMS.iter().find(|(known, _)| *known == name) else {
        let problem = format!(
            "'{name}' is not served: give this user a new password (SHA-256 and SHA-512 are)"
        );
        return Err(Error::new(format!("{}.hashing_algorithm", item.place), problem));
    };
    let bytes = BASE64_STANDARD.decode(&hash).ok();
    let found = bytes.and_then(|bytes| PasswordHash::from_bytes(algorithm, &bytes));
    found.map(Some).ok_or_else(|| {
        let name = match algorithm {
            HashAlgorithm::Sha512 => "SHA-512",
            _ => "SHA-256",
        };
        let length = 4 + algorithm.digest_len();
        let problem = format!("not a salted {name} hash: {length} bytes in base64");
        Error::new(format!("{}.password_hash", item.place), problem)
    })
}

fn queue(reader: &mut Reader, item: &Item<'_>) -> Result<QueueDefinition, Error> {
    reader.know(item, &["vhost", "name", "durable", "auto_delete", "arguments", "type"]);
    let mut arguments = item.arguments()?;
    let kind = item.text_or("type", "classic")?;
    // From version 4 on the type need not be among the arguments.
    if kind != "classic" && arguments.get("x-queue-type").is_none() {
        arguments.set("x-queue-type", BrokerValue::text(kind));
    }
    Ok(QueueDefinition {
        vhost: item.text("vhost")?,
        name: item.text("name")?,
        durable: item.flag("durable")?,
        auto_delete: item.flag_or("auto_delete", false)?,
        arguments,
    })
}

fn binding(reader: &mut Reader, item: &Item<'_>) -> Result<BindingDefinition, Error> {
    let known = [
        "vhost",
        "source",
        "destination",
        "destination_type",
        "routing_key",
        "arguments",
        "properties_key",
    ];
    reader.know(item, &known);
    let to_queue = match &*item.text("destination_type")? {
        "queue" => true,
        "exchange" => false,
        other => {
            let problem = format!("'{other}' is neither queue nor exchange");
            return Err(Error::new(format!("{}.destination_type", item.place), problem));
        }
    };
    Ok(BindingDefinition {
        vhost: item.text("vhost")?,
        source: item.text("source")?,
        destination: item.text("destination")?,
        to_queue,
        routing_key: item.text_or("routing_key", "")?,
        arguments: item.arguments()?,
    })
}

fn parameter(
    reader: &mut Reader,
    item: &Item<'_>,
    vhosts: &mut [VhostDefinition],
) -> Result<(), Error> {
    reader.know(item, &["component", "vhost", "name", "value"]);
    let (component, vhost) = (item.text("component")?, item.text("vhost")?);
    if component != "vhost-limits" {
        let (place, name) = (&item.place, item.text("name")?);
        reader
            .warnings
            .push(format!("{place}: the {component} '{name}' is left out, this broker has none"));
        return Ok(());
    }
    let Some(known) = vhosts.iter_mut().find(|known| known.name == vhost) else {
        let problem = format!("there is no virtual host '{vhost}' in this file");
        return Err(Error::new(format!("{}.vhost", item.place), problem));
    };
    vhost_limits(reader, &item.pairs("value")?, &mut known.limits)
}

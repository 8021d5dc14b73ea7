//! From JSON to definitions. The place of each mistake is kept, in the words of a path.

use std::collections::BTreeSet;

use base64::prelude::{BASE64_STANDARD, Engine};
use ropewalk_broker::{
    BindingDefinition, Definitions, ExchangeDefinition, HashAlgorithm, PasswordHash,
    PermissionDefinition, QueueDefinition, Table, TopicPermissionDefinition, UserDefinition,
    UserLimits, Value as BrokerValue, VhostDefinition, VhostLimits,
};
use serde_json::{Map, Value};

use super::{ALGORITHMS, Error};

/// What a file said.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What can be imported.
    pub definitions: Definitions,
    /// What cannot be kept, a sentence each.
    pub warnings: Vec<String>,
}

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

/// A limit; a negative one is none.
fn limit(place: &str, value: &Value) -> Result<Option<usize>, Error> {
    match (value.as_u64(), value.as_i64()) {
        (Some(limit), _) => Ok(Some(usize::try_from(limit).unwrap_or(usize::MAX))),
        (None, Some(_)) => Ok(None),
        (None, None) => Err(wrong_type(place, "a whole number", value)),
    }
}

/// What gathers up on the way through a file.
#[derive(Default)]
struct Reader {
    /// Keys that nothing is known of, without the numbers of their items.
    unknown: BTreeSet<String>,
    warnings: Vec<String>,
}

impl Reader {
    /// The objects of a list; none if it is not there.
    fn items<'a>(&self, file: &'a Map<String, Value>, key: &str) -> Result<Vec<Item<'a>>, Error> {
        let list = match file.get(key) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(wrong_type(key, "a list", other)),
        };
        let items = list.iter().enumerate().map(|(index, value)| {
            let place = format!("{key}[{index}]");
            match value {
                Value::Object(fields) => Ok(Item { place, fields }),
                other => Err(wrong_type(&place, "an object", other)),
            }
        });
        items.collect()
    }

    /// Notes the keys of an item that are not among these.
    fn know(&mut self, item: &Item<'_>, known: &[&str]) {
        for key in item.fields.keys().filter(|key| !known.contains(&key.as_str())) {
            self.unknown.insert(generic(&format!("{}.{key}", item.place)));
        }
    }

    /// A list of which nothing is kept.
    fn leave_out(&mut self, file: &Map<String, Value>, key: &str, why: &str) -> Result<(), Error> {
        let items = self.items(file, key)?;
        if items.is_empty() {
            return Ok(());
        }
        let names = items.iter().map(|item| item.text_or("name", "?"));
        let names = names.collect::<Result<Vec<_>, _>>()?.join(", ");
        self.warnings.push(format!("{key}: left out, {why}: {names}"));
        Ok(())
    }

    fn finish(mut self, definitions: Definitions) -> Reading {
        if !self.unknown.is_empty() {
            let keys = self.unknown.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            self.warnings.push(format!("keys that nothing is known of: {keys}"));
        }
        Reading { definitions, warnings: self.warnings }
    }
}

/// One object of the file.
struct Item<'a> {
    place: String,
    fields: &'a Map<String, Value>,
}

impl<'a> Item<'a> {
    /// A field that is there; RabbitMQ writes what it does not know as `null`.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn at(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }

    fn missing(&self, key: &str) -> Error {
        Error::new(&self.place, format!("`{key}` is missing"))
    }

    fn text(&self, key: &str) -> Result<String, Error> {
        match self.get(key) {
            None => Err(self.missing(key)),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(wrong_type(&self.at(key), "a string", other)),
        }
    }

    fn text_or(&self, key: &str, default: &str) -> Result<String, Error> {
        match self.get(key) {
            None => Ok(default.to_owned()),
            Some(_) => self.text(key),
        }
    }

    fn flag(&self, key: &str) -> Result<bool, Error> {
        match self.get(key) {
            None => Err(self.missing(key)),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(wrong_type(&self.at(key), "true or false", other)),
        }
    }

    fn flag_or(&self, key: &str, default: bool) -> Result<bool, Error> {
        match self.get(key) {
            None => Ok(default),
            Some(_) => self.flag(key),
        }
    }

    fn object(&self, key: &str) -> Result<Option<Item<'a>>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Item { place: self.at(key), fields })),
            Some(other) => Err(wrong_type(&self.at(key), "an object", other)),
        }
    }

    /// A list of strings, or one string with commas, as older versions write it.
    fn list_of_words(&self, key: &str) -> Result<Vec<String>, Error> {
        let words = match self.get(key) {
            None => Vec::new(),
            Some(Value::String(words)) => words.split(',').map(|it| it.trim().to_owned()).collect(),
            Some(Value::Array(words)) => {
                let texts = words.iter().enumerate().map(|(index, word)| {
                    let place = || format!("{}[{index}]", self.at(key));
                    let text = word.as_str().map(str::to_owned);
                    text.ok_or_else(|| wrong_type(&place(), "a string", word))
                });
                texts.collect::<Result<_, _>>()?
            }
            Some(other) => return Err(wrong_type(&self.at(key), "a list of strings", other)),
        };
        Ok(words.into_iter().filter(|word| !word.is_empty()).collect())
    }

    /// Names and values, each with its place: an object, or a list of pairs, as older versions
    /// write some.
    fn pairs(&self, key: &str) -> Result<Vec<(String, &'a str, &'a Value)>, Error> {
        let at = self.at(key);
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Object(fields)) => {
                let pair =
                    |(name, value): (&'a String, _)| (format!("{at}.{name}"), name.as_str(), value);
                Ok(fields.iter().map(pair).collect())
            }
            Some(Value::Array(list)) => {
                let pairs = list.iter().map(|pair| match pair.as_array().map(Vec::as_slice) {
                    Some([Value::String(name), value]) => {
                        Ok((format!("{at}.{name}"), name.as_str(), value))
                    }
                    _ => Err(wrong_type(&at, "a list of pairs", pair)),
                });
                pairs.collect()
            }
            Some(other) => Err(wrong_type(&at, "an object", other)),
        }
    }

    /// Arguments; an empty list stands for none.
    fn arguments(&self) -> Result<Table, Error> {
        match self.get("arguments") {
            None => Ok(Table::new()),
            Some(Value::Array(list)) if list.is_empty() => Ok(Table::new()),
            Some(Value::Object(fields)) => Ok(table(fields)),
            Some(other) => Err(wrong_type(&self.at("arguments"), "an object", other)),
        }
    }
}

fn table(fields: &Map<String, Value>) -> Table {
    fields.iter().map(|(name, found)| (name, value(found))).collect()
}

/// As RabbitMQ takes them: whole numbers are 64 bits long.
fn value(json: &Value) -> BrokerValue {
    match json {
        Value::Null => BrokerValue::Void,
        Value::Bool(value) => BrokerValue::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => BrokerValue::I64(number),
            None => BrokerValue::F64(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => BrokerValue::text(text),
        Value::Array(values) => BrokerValue::Array(values.iter().map(value).collect()),
        Value::Object(fields) => BrokerValue::Table(table(fields)),
    }
}

fn wrong_type(place: &str, wanted: &str, found: &Value) -> Error {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Error::new(place, format!("expected {wanted}, found {found}"))
}

/// A place without the numbers: `queues[3].nope` is `queues[].nope`.
fn generic(place: &str) -> String {
    let mut inside = false;
    let keep = |letter: &char| match letter {
        '[' => {
            inside = true;
            true
        }
        ']' => {
            inside = false;
            true
        }
        _ => !inside,
    };
    place.chars().filter(keep).collect()
}

//! Definitions as the store keeps them: a key of octets, and the rest as a field table.
//!
//! Keys begin with their kind, in the order in which a broker must be restored, and the store
//! gives definitions back in the order of their keys. Names are octets, whatever they spell.
//! What is read here may come from a damaged disk: it is refused, never believed.

use ropewalk_broker::{
    Definition, DefinitionKey, ExchangeType, HashAlgorithm, PasswordHash, Table, UserLimits, Value,
    VhostLimits,
};

use crate::codec::Table as WireTable;
use crate::server::convert::{fields, table};

const VHOST: u8 = 1;
const USER: u8 = 2;
const PERMISSION: u8 = 3;
const TOPIC_PERMISSION: u8 = 4;
const EXCHANGE: u8 = 5;
const QUEUE: u8 = 6;
const BINDING: u8 = 7;

/// A key: the kind, then each part with its length in front.
pub(super) fn key(key: &DefinitionKey<'_>) -> Vec<u8> {
    match *key {
        DefinitionKey::Vhost { name } => join(VHOST, &[name]),
        DefinitionKey::User { name } => join(USER, &[name]),
        DefinitionKey::Permission { user, vhost } => join(PERMISSION, &[user, vhost]),
        DefinitionKey::TopicPermission { user, vhost, exchange } => {
            join(TOPIC_PERMISSION, &[user, vhost, exchange])
        }
        DefinitionKey::Exchange { vhost, name } => join(EXCHANGE, &[vhost, name]),
        DefinitionKey::Queue { vhost, name } => join(QUEUE, &[vhost, name]),
        DefinitionKey::Binding { vhost, source, destination, to_queue, routing_key, arguments } => {
            let arguments = fields(arguments);
            let to: &[u8] = if to_queue { b"q" } else { b"e" };
            join(BINDING, &[vhost, source, destination, to, routing_key, &arguments])
        }
    }
}

fn join(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![kind];
    for part in parts {
        // A table of arguments fits a frame: 32 bits are enough by far.
        key.extend_from_slice(&(part.len() as u32).to_be_bytes());
        key.extend_from_slice(part);
    }
    key
}

/// All that the key does not say.
pub(super) fn value(definition: &Definition<'_>) -> Vec<u8> {
    let mut rest = Table::new();
    match *definition {
        Definition::Vhost { description, tags, limits, .. } => {
            rest.set("description", Value::text(description));
            rest.set("tags", texts(tags));
            set_limit(&mut rest, "max-connections", limits.max_connections);
            set_limit(&mut rest, "max-queues", limits.max_queues);
        }
        Definition::User { password, tags, limits, .. } => {
            if let Some(password) = password {
                let algorithm = match password.algorithm() {
                    HashAlgorithm::Sha512 => "sha512",
                    _ => "sha256",
                };
                rest.set("hashing", Value::text(algorithm));
                rest.set("password", Value::text(password.to_bytes()));
            }
            rest.set("tags", texts(tags));
            set_limit(&mut rest, "max-connections", limits.max_connections);
            set_limit(&mut rest, "max-channels", limits.max_channels);
        }
        Definition::Permission { configure, write, read, .. } => {
            rest.set("configure", Value::text(configure));
            rest.set("write", Value::text(write));
            rest.set("read", Value::text(read));
        }
        Definition::TopicPermission { write, read, .. } => {
            rest.set("write", Value::text(write));
            rest.set("read", Value::text(read));
        }
        Definition::Exchange { kind, auto_delete, internal, arguments, .. } => {
            rest.set("type", Value::text(kind.name()));
            rest.set("auto-delete", Value::Bool(auto_delete));
            rest.set("internal", Value::Bool(internal));
            rest.set("arguments", Value::Table(arguments.clone()));
        }
        Definition::Queue { number, auto_delete, arguments, .. } => {
            // The wire's integers are signed; the number comes back with the same bits.
            rest.set("number", Value::I64(number.cast_signed()));
            rest.set("auto-delete", Value::Bool(auto_delete));
            rest.set("arguments", Value::Table(arguments.clone()));
        }
        Definition::Binding { .. } => {} // its key is all there is
    }
    fields(&rest)
}

fn texts(texts: &[String]) -> Value {
    Value::Array(texts.iter().map(Value::text).collect())
}

fn set_limit(table: &mut Table, name: &str, limit: Option<usize>) {
    if let Some(limit) = limit {
        table.set(name, Value::I64(i64::try_from(limit).unwrap_or(i64::MAX)));
    }
}

/// Reads a definition and calls `call` with it.
///
/// # Errors
/// In words, what cannot be read of it.
pub(super) fn read<R>(
    key: &[u8],
    value: &[u8],
    call: impl FnOnce(&Definition<'_>) -> R,
) -> Result<R, String> {
    let (kind, parts) = split(key).ok_or("its key is cut off")?;
    let rest = WireTable::new(value).map_err(|error| format!("its value: {error}"))?;
    let rest = Rest(table(rest));
    let definition = match (kind, &*parts) {
        (VHOST, &[name]) => {
            let (description, tags) = (rest.text("description")?, rest.texts("tags")?);
            let limits = VhostLimits {
                max_connections: rest.limit("max-connections"),
                max_queues: rest.limit("max-queues"),
            };
            return Ok(call(&Definition::Vhost { name, description, tags: &tags, limits }));
        }
        (USER, &[name]) => {
            let (password, tags) = (rest.password()?, rest.texts("tags")?);
            let limits = UserLimits {
                max_connections: rest.limit("max-connections"),
                max_channels: rest.limit("max-channels"),
            };
            let password = password.as_ref();
            return Ok(call(&Definition::User { name, password, tags: &tags, limits }));
        }
        (PERMISSION, &[user, vhost]) => Definition::Permission {
            user,
            vhost,
            configure: rest.text("configure")?,
            write: rest.text("write")?,
            read: rest.text("read")?,
        },
        (TOPIC_PERMISSION, &[user, vhost, exchange]) => Definition::TopicPermission {
            user,
            vhost,
            exchange,
            write: rest.text("write")?,
            read: rest.text("read")?,
        },
        (EXCHANGE, &[vhost, name]) => Definition::Exchange {
            vhost,
            name,
            kind: ExchangeType::from_name(rest.text("type")?.as_bytes())
                .map_err(|error| error.to_string())?,
            auto_delete: rest.flag("auto-delete"),
            internal: rest.flag("internal"),
            arguments: rest.arguments()?,
        },
        (QUEUE, &[vhost, name]) => Definition::Queue {
            vhost,
            name,
            number: rest.integer("number").ok_or("its number is missing")?.cast_unsigned(),
            auto_delete: rest.flag("auto-delete"),
            arguments: rest.arguments()?,
        },
        (BINDING, &[vhost, source, destination, to, routing_key, arguments]) => {
            let arguments = WireTable::new(arguments).map_err(|error| error.to_string())?;
            return Ok(call(&Definition::Binding {
                vhost,
                source,
                destination,
                to_queue: to == b"q",
                routing_key,
                arguments: &table(arguments),
            }));
        }
        (kind, parts) => {
            return Err(format!("nothing of kind {kind} has {} parts", parts.len()));
        }
    };
    Ok(call(&definition))
}

fn split(key: &[u8]) -> Option<(u8, Vec<&[u8]>)> {
    let (&kind, mut left) = key.split_first()?;
    let mut parts = Vec::new();
    while !left.is_empty() {
        let (length, rest) = left.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        parts.push(part);
        left = rest;
    }
    Some((kind, parts))
}

/// What the value says.
struct Rest(Table);

impl Rest {
    fn text(&self, name: &str) -> Result<&str, String> {
        let text = self.0.get(name).and_then(Value::as_text);
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        text.ok_or_else(|| format!("its {name} is missing"))
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        let Some(Value::Array(values)) = self.0.get(name) else {
            return Err(format!("its {name} are missing"));
        };
        let text = |value: &Value| String::from_utf8(value.as_text()?.to_vec()).ok();
        let texts: Option<_> = values.iter().map(text).collect();
        texts.ok_or_else(|| format!("its {name} are no texts"))
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(Value::Bool(true)))
    }

    fn integer(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_integer()
    }

    fn limit(&self, name: &str) -> Option<usize> {
        usize::try_from(self.integer(name)?).ok()
    }

    fn password(&self) -> Result<Option<PasswordHash>, String> {
        let Some(octets) = self.0.get("password").and_then(Value::as_text) else {
            return Ok(None);
        };
        let algorithm = match self.text("hashing")? {
            "sha256" => HashAlgorithm::Sha256,
            "sha512" => HashAlgorithm::Sha512,
            other => return Err(format!("its password is hashed with {other}")),
        };
        let hash = PasswordHash::from_bytes(algorithm, octets);
        Ok(Some(hash.ok_or("its password is cut off")?))
    }

    fn arguments(&self) -> Result<&Table, String> {
        match self.0.get("arguments") {
            Some(Value::Table(arguments)) => Ok(arguments),
            _ => Err("its arguments are missing".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survives(definition: &Definition<'_>) {
        let (key, value) = (key(&definition.key()), value(definition));
        let read_back = read(&key, &value, |read| assert_eq!(read, definition));
        read_back.expect("what was written can be read");
        for length in 0..key.len() {
            let _ = read(&key[..length], &value, |_| ()); // an error or another one, no panic
        }
        for length in 0..value.len() {
            let _ = read(&key, &value[..length], |_| ());
        }
    }

    #[test]
    fn definitions_of_every_kind_survive_the_way_to_the_store_and_back() {
        let tags = ["administrator".to_owned(), "a b".to_owned()];
        let password = PasswordHash::new(b"secret", [1, 2, 3, 4]);
        let arguments =
            Table::from([("x-max-length", Value::I32(5)), ("x-deep", Value::Table(Table::new()))]);
        let (vhost, name): (&[u8], &[u8]) = (b"/", b"\xff\0no text");
        survives(&Definition::Vhost {
            name,
            description: "for tests",
            tags: &tags,
            limits: VhostLimits { max_connections: Some(3), max_queues: None },
        });
        survives(&Definition::User {
            name,
            password: Some(&password),
            tags: &tags,
            limits: UserLimits { max_connections: None, max_channels: Some(7) },
        });
        survives(&Definition::User {
            name: b"nobody",
            password: None,
            tags: &[],
            limits: UserLimits::default(),
        });
        let user = name;
        let (configure, write, read) = ("^a", "", ".*");
        survives(&Definition::Permission { user, vhost, configure, write, read });
        let exchange: &[u8] = b"logs";
        survives(&Definition::TopicPermission { user, vhost, exchange, write, read });
        survives(&Definition::Exchange {
            vhost,
            name,
            kind: ExchangeType::Headers,
            auto_delete: true,
            internal: false,
            arguments: &arguments,
        });
        survives(&Definition::Queue {
            vhost,
            name,
            number: u64::MAX - 1,
            auto_delete: false,
            arguments: &arguments,
        });
        for to_queue in [true, false] {
            survives(&Definition::Binding {
                vhost,
                source: exchange,
                destination: name,
                to_queue,
                routing_key: b"a.#",
                arguments: &arguments,
            });
        }
    }

    #[test]
    fn keys_stand_in_the_order_in_which_a_broker_is_restored() {
        let none = Table::new();
        let keys = [
            key(&DefinitionKey::Vhost { name: b"z" }),
            key(&DefinitionKey::User { name: b"y" }),
            key(&DefinitionKey::Permission { user: b"x", vhost: b"w" }),
            key(&DefinitionKey::TopicPermission { user: b"v", vhost: b"u", exchange: b"t" }),
            key(&DefinitionKey::Exchange { vhost: b"s", name: b"r" }),
            key(&DefinitionKey::Queue { vhost: b"q", name: b"p" }),
            key(&DefinitionKey::Binding {
                vhost: b"o",
                source: b"n",
                destination: b"m",
                to_queue: true,
                routing_key: b"",
                arguments: &none,
            }),
        ];
        assert!(keys.is_sorted());
    }
}

//! From definitions to JSON, as RabbitMQ imports it.

use base64::prelude::{BASE64_STANDARD, Engine};
use ropewalk_broker::{
    BindingDefinition, Definitions, ExchangeDefinition, QueueDefinition, Table, UserDefinition,
    Value as BrokerValue, VhostDefinition,
};
use serde_json::{Map, Value, json};

use super::ALGORITHMS;

/// Writes a file that [`read`](super::read) and RabbitMQ read as the same definitions. JSON has
/// fewer types than AMQP: of arguments, numbers lose their widths, times become numbers, and texts
/// that are not UTF-8 lose what is not.
pub fn write(definitions: &Definitions) -> String {
    fn list<T>(items: &[T], write: impl Fn(&T) -> Value) -> Value {
        items.iter().map(write).collect()
    }
    let file = json!({
        "product_name": "Ropewalk",
        "product_version": env!("CARGO_PKG_VERSION"),
        "vhosts": list(&definitions.vhosts, vhost),
        "users": list(&definitions.users, user),
        "permissions": list(&definitions.permissions, |it| json!({
            "user": it.user,
            "vhost": it.vhost,
            "configure": it.configure,
            "write": it.write,
            "read": it.read,
        })),
        "topic_permissions": list(&definitions.topic_permissions, |it| json!({
            "user": it.user,
            "vhost": it.vhost,
            "exchange": it.exchange,
            "write": it.write,
            "read": it.read,
        })),
        "parameters": definitions.vhosts.iter().filter_map(vhost_limits).collect::<Value>(),
        "global_parameters": [],
        "policies": [],
        "exchanges": list(&definitions.exchanges, exchange),
        "queues": list(&definitions.queues, queue),
        "bindings": list(&definitions.bindings, binding),
    });
    let mut text = format!("{file:#}");
    text.push('\n');
    text
}

fn vhost(it: &VhostDefinition) -> Value {
    json!({
        "name": it.name,
        "metadata": { "description": it.description, "tags": it.tags },
    })
}

/// RabbitMQ keeps these as a parameter.
fn vhost_limits(it: &VhostDefinition) -> Option<Value> {
    let limits = limits([
        ("max-connections", it.limits.max_connections),
        ("max-queues", it.limits.max_queues),
    ]);
    let some = limits.as_object().is_some_and(|limits| !limits.is_empty());
    some.then(|| {
        json!({ "component": "vhost-limits", "name": "limits", "vhost": it.name, "value": limits })
    })
}

fn user(it: &UserDefinition) -> Value {
    let hash = it.password.as_ref();
    let algorithm = hash.map(|hash| hash.algorithm());
    let known = ALGORITHMS.iter().find(|(_, known)| Some(*known) == algorithm);
    json!({
        "name": it.name,
        "password_hash": hash.map(|hash| BASE64_STANDARD.encode(hash.to_bytes())).unwrap_or_default(),
        "hashing_algorithm": known.unwrap_or(&ALGORITHMS[0]).0,
        "tags": it.tags,
        "limits": limits([
            ("max-connections", it.limits.max_connections),
            ("max-channels", it.limits.max_channels),
        ]),
    })
}

fn limits(limits: [(&str, Option<usize>); 2]) -> Value {
    let set = limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?.into())));
    Value::Object(set.collect())
}

fn exchange(it: &ExchangeDefinition) -> Value {
    json!({
        "vhost": it.vhost,
        "name": it.name,
        "type": it.kind,
        "durable": it.durable,
        "auto_delete": it.auto_delete,
        "internal": it.internal,
        "arguments": table(&it.arguments),
    })
}

fn queue(it: &QueueDefinition) -> Value {
    let kind = it.arguments.get("x-queue-type").and_then(BrokerValue::as_text);
    json!({
        "vhost": it.vhost,
        "name": it.name,
        "type": String::from_utf8_lossy(kind.unwrap_or(b"classic")),
        "durable": it.durable,
        "auto_delete": it.auto_delete,
        "arguments": table(&it.arguments),
    })
}

fn binding(it: &BindingDefinition) -> Value {
    json!({
        "vhost": it.vhost,
        "source": it.source,
        "destination": it.destination,
        "destination_type": if it.to_queue { "queue" } else { "exchange" },
        "routing_key": it.routing_key,
        "arguments": table(&it.arguments),
    })
}

fn table(table: &Table) -> Value {
    let fields: Map<String, Value> = table
        .iter()
        .map(|(name, found)| (String::from_utf8_lossy(name).into_owned(), value(found)))
        .collect();
    Value::Object(fields)
}

fn value(found: &BrokerValue) -> Value {
    match found {
        BrokerValue::Void => Value::Null,
        BrokerValue::Bool(value) => Value::Bool(*value),
        BrokerValue::F32(value) => json!(value),
        BrokerValue::F64(value) => json!(value),
        BrokerValue::Decimal { scale, value } => {
            json!(f64::from(*value) / 10_f64.powi((*scale).into()))
        }
        BrokerValue::String(text) | BrokerValue::Binary(text) => {
            Value::String(String::from_utf8_lossy(text).into_owned())
        }
        BrokerValue::Timestamp(seconds) => json!(seconds),
        BrokerValue::Array(values) => values.iter().map(value).collect(),
        BrokerValue::Table(inner) => table(inner),
        integer => json!(integer.as_integer()),
    }
}

//! Exporting definitions: what importing them elsewhere makes again.
//!
//! Exclusive queues and their bindings stay behind: they belong to connections.

use std::collections::BTreeSet;

use crate::broker::Broker;
use crate::definitions::{
    BindingDefinition, Definitions, ExchangeDefinition, PermissionDefinition, QueueDefinition,
    TopicPermissionDefinition, UserDefinition, VhostDefinition,
};
use crate::ids::VhostId;

impl Broker {
    /// The definitions of all there is, in an order that depends only on the calls that made it;
    /// and, in words, what is left out because its name is not UTF-8.
    pub fn export_definitions(&self) -> (Definitions, Vec<String>) {
        let mut out = Export::default();
        for (id, vhost) in self.vhosts.iter() {
            let Some(name) = out.text("virtual host", &vhost.name) else { continue };
            out.definitions.vhosts.push(VhostDefinition {
                name: name.clone(),
                description: vhost.description.clone(),
                tags: vhost.tags.clone(),
                limits: vhost.limits,
            });
            self.export_vhost(&mut out, id, &name);
        }
        self.export_users(&mut out);
        (out.definitions, out.left_out)
    }

    fn export_vhost(&self, out: &mut Export, id: VhostId, vhost: &str) {
        for exchange in self.exchanges(id) {
            if exchange.name.is_empty() || exchange.name.starts_with(b"amq.") {
                continue;
            }
            let Some(name) = out.text("exchange", exchange.name) else { continue };
            out.definitions.exchanges.push(ExchangeDefinition {
                vhost: vhost.to_owned(),
                name,
                kind: exchange.kind.name().to_owned(),
                durable: exchange.durable,
                auto_delete: exchange.auto_delete,
                internal: exchange.internal,
                arguments: exchange.arguments.clone(),
            });
        }
        let mut exclusive = BTreeSet::new();
        for queue in self.queues(id) {
            if queue.exclusive {
                exclusive.insert(queue.name);
                continue;
            }
            let Some(name) = out.text("queue", queue.name) else { continue };
            out.definitions.queues.push(QueueDefinition {
                vhost: vhost.to_owned(),
                name,
                durable: queue.durable,
                auto_delete: queue.auto_delete,
                arguments: queue.arguments.clone(),
            });
        }
        for binding in self.bindings(id) {
            if binding.to_queue && exclusive.contains(binding.destination) {
                continue;
            }
            let (Some(source), Some(destination), Some(routing_key)) = (
                out.text("binding from", binding.source),
                out.text("binding to", binding.destination),
                out.text("binding with the key", binding.routing_key),
            ) else {
                continue;
            };
            out.definitions.bindings.push(BindingDefinition {
                vhost: vhost.to_owned(),
                source,
                destination,
                to_queue: binding.to_queue,
                routing_key,
                arguments: binding.arguments.clone(),
            });
        }
    }

    fn export_users(&self, out: &mut Export) {
        for (name, user) in self.users() {
            let Some(name) = out.text("user", name) else { continue };
            for (vhost, permission) in user.permissions() {
                let Some(vhost) = out.text("permission in", vhost) else { continue };
                out.definitions.permissions.push(PermissionDefinition {
                    user: name.clone(),
                    vhost,
                    configure: permission.configure.as_str().to_owned(),
                    write: permission.write.as_str().to_owned(),
                    read: permission.read.as_str().to_owned(),
                });
            }
            for (vhost, exchange, topic) in user.topic_permissions() {
                let (Some(vhost), Some(exchange)) =
                    (out.text("permission in", vhost), out.text("permission for", exchange))
                else {
                    continue;
                };
                out.definitions.topic_permissions.push(TopicPermissionDefinition {
                    user: name.clone(),
                    vhost,
                    exchange,
                    write: topic.write().as_str().to_owned(),
                    read: topic.read().as_str().to_owned(),
                });
            }
            out.definitions.users.push(UserDefinition {
                name,
                password: user.password.clone(),
                tags: user.tags.clone(),
                limits: user.limits,
            });
        }
    }
}

#[derive(Default)]
struct Export {
    definitions: Definitions,
    left_out: Vec<String>,
}

impl Export {
    /// A name as text; if it is none, that is noted.
    fn text(&mut self, what: &str, name: &[u8]) -> Option<String> {
        match std::str::from_utf8(name) {
            Ok(name) => Some(name.to_owned()),
            Err(_) => {
                let name = name.escape_ascii();
                self.left_out.push(format!("{what} '{name}', whose name is not UTF-8"));
                None
            }
        }
    }
}

//! Importing definitions: all or nothing.
//!
//! First everything is checked, against the broker and against itself, and nothing is touched;
//! then everything is made, and nothing can fail. What is there already is kept as it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::arguments::Settings;
use crate::binding::Target;
use crate::broker::Broker;
use crate::definitions::{
    BindingDefinition, DefinitionError, Definitions, ExchangeDefinition, QueueDefinition,
};
use crate::error::{Resource, ResourceKind};
use crate::exchange::{ExchangeDeclare, ExchangeType, alternate_of};
use crate::names::{MAX_NAME, Name};
use crate::permission::{Pattern, Permission, TopicPermission};
use crate::queue::QueueDeclare;
use crate::routing::check_binding;
use crate::users::User;

type Checked<T = ()> = Result<T, DefinitionError>;

/// What the check has read, so that nothing is read twice: one entry for each definition.
#[derive(Default)]
struct Plan {
    permissions: Vec<Permission>,
    topic_permissions: Vec<TopicPermission>,
    exchanges: Vec<(ExchangeType, Option<Name>)>,
    queues: Vec<Option<Box<Settings>>>,
    /// What will not be made, and why.
    left_out: Vec<String>,
}

/// What there will be when the import is done.
#[derive(Default)]
struct Names<'a> {
    vhosts: BTreeSet<&'a str>,
    users: BTreeSet<&'a str>,
    queues: BTreeSet<(&'a str, &'a str)>,
    exchanges: BTreeMap<(&'a str, &'a str), ExchangeType>,
}

impl Broker {
    /// Adds all that the definitions say, or, if any of it cannot be, nothing. Users get the
    /// passwords, tags and limits given, virtual hosts the limits; queues and exchanges that are
    /// there already stay as they are. Limits on numbers do not count.
    ///
    /// What is left out is told: bindings of which an end is missing, as in RabbitMQ's own
    /// exports (it omits exclusive queues and internal exchanges, but not their bindings), and
    /// queues and exchanges that differ from those that are there.
    ///
    /// # Errors
    /// The first definition that is wrong. The broker is as it was.
    pub fn import_definitions(
        &mut self,
        definitions: &Definitions,
    ) -> Result<Vec<String>, DefinitionError> {
        let plan = self.check_definitions(definitions)?;
        Ok(self.make_definitions(definitions, plan))
    }

    // Checking.

    fn check_definitions(&self, definitions: &Definitions) -> Checked<Plan> {
        let mut plan = Plan::default();
        let mut names = Names::default();
        for (index, vhost) in definitions.vhosts.iter().enumerate() {
            check_name("vhosts", index, &vhost.name)?;
            names.vhosts.insert(&vhost.name);
        }
        for (index, user) in definitions.users.iter().enumerate() {
            check_name("users", index, &user.name)?;
            names.users.insert(&user.name);
        }
        for (index, given) in definitions.permissions.iter().enumerate() {
            let section = "permissions";
            self.check_vhost(&names, section, index, &given.vhost)?;
            self.check_user(&names, section, index, &given.user)?;
            let compile = |part: &str, text: &str| {
                let wrong =
                    |problem| DefinitionError::new(section, index, format!("{part}: {problem}"));
                Pattern::new(text).map_err(wrong)
            };
            plan.permissions.push(Permission {
                configure: compile("configure", &given.configure)?,
                write: compile("write", &given.write)?,
                read: compile("read", &given.read)?,
            });
        }
        for (index, given) in definitions.topic_permissions.iter().enumerate() {
            let section = "topic_permissions";
            self.check_vhost(&names, section, index, &given.vhost)?;
            self.check_user(&names, section, index, &given.user)?;
            let (user, vhost) = (given.user.as_bytes(), given.vhost.as_bytes());
            let permission = TopicPermission::new(&given.write, &given.read, user, vhost);
            let wrong = |problem| DefinitionError::new(section, index, problem);
            plan.topic_permissions.push(permission.map_err(wrong)?);
        }
        for (index, given) in definitions.exchanges.iter().enumerate() {
            self.check_vhost(&names, "exchanges", index, &given.vhost)?;
            self.check_exchange_definition(&mut plan, &mut names, index, given)?;
        }
        for (index, given) in definitions.queues.iter().enumerate() {
            self.check_vhost(&names, "queues", index, &given.vhost)?;
            self.check_queue_definition(&mut plan, &mut names, index, given)?;
        }
        for (index, given) in definitions.bindings.iter().enumerate() {
            self.check_vhost(&names, "bindings", index, &given.vhost)?;
            self.check_binding_definition(&mut plan, &names, index, given)?;
        }
        Ok(plan)
    }

    fn check_vhost(
        &self,
        names: &Names<'_>,
        section: &'static str,
        index: usize,
        vhost: &str,
    ) -> Checked {
        if names.vhosts.contains(vhost) || self.vhost_names.contains_key(vhost.as_bytes()) {
            return Ok(());
        }
        Err(DefinitionError::new(section, index, format!("there is no virtual host '{vhost}'")))
    }

    fn check_user(
        &self,
        names: &Names<'_>,
        section: &'static str,
        index: usize,
        user: &str,
    ) -> Checked {
        if names.users.contains(user) || self.users.contains_key(user.as_bytes()) {
            return Ok(());
        }
        Err(DefinitionError::new(section, index, format!("there is no user '{user}'")))
    }

    fn check_exchange_definition<'a>(
        &self,
        plan: &mut Plan,
        names: &mut Names<'a>,
        index: usize,
        given: &'a ExchangeDefinition,
    ) -> Checked {
        let wrong =
            |error: crate::Error| DefinitionError::new("exchanges", index, error.explanation());
        if !given.name.is_empty() {
            check_name("exchanges", index, &given.name)?;
        }
        let kind = ExchangeType::from_name(given.kind.as_bytes()).map_err(wrong)?;
        let resource = resource(ResourceKind::Exchange, &given.vhost, &given.name);
        let alternate = alternate_of(resource, &given.arguments).map_err(wrong)?;
        let there = self.vhost(given.vhost.as_bytes()).and_then(|vhost| {
            self.find_exchange(vhost, given.name.as_bytes()).map(|id| &self.exchanges[id])
        });
        if let Ok(there) = there {
            let same = (there.kind, there.durable, there.auto_delete, there.internal)
                == (kind, given.durable, given.auto_delete, given.internal);
            if !same || !there.arguments.same_entries(&given.arguments) {
                plan.left_out.push(format!(
                    "exchanges[{index}]: {resource} is there already and differs: it stays as it is"
                ));
            }
        }
        let kind_there = there.map_or(kind, |there| there.kind);
        names.exchanges.entry((&given.vhost, &given.name)).or_insert(kind_there);
        plan.exchanges.push((kind, alternate));
        Ok(())
    }

    fn check_queue_definition<'a>(
        &self,
        plan: &mut Plan,
        names: &mut Names<'a>,
        index: usize,
        given: &'a QueueDefinition,
    ) -> Checked {
        check_name("queues", index, &given.name)?;
        let resource = resource(ResourceKind::Queue, &given.vhost, &given.name);
        let settings = Settings::parse(resource, &declaration(given))
            .map_err(|error| DefinitionError::new("queues", index, error.explanation()))?;
        let there = self.vhost(given.vhost.as_bytes()).and_then(|vhost| {
            self.find_queue(vhost, given.name.as_bytes()).map(|id| &self.queues[id])
        });
        if let Ok(there) = there {
            let same = (there.durable, there.auto_delete, there.owner)
                == (given.durable, given.auto_delete, None);
            if !same || !there.arguments.same_entries(&given.arguments) {
                plan.left_out.push(format!(
                    "queues[{index}]: {resource} is there already and differs: it stays as it is"
                ));
            }
        }
        names.queues.insert((&given.vhost, &given.name));
        plan.queues.push(settings);
        Ok(())
    }

    fn check_binding_definition(
        &self,
        plan: &mut Plan,
        names: &Names<'_>,
        index: usize,
        given: &BindingDefinition,
    ) -> Checked {
        if given.source.is_empty() {
            return Ok(()); // the default exchange: its bindings make themselves
        }
        if given.routing_key.len() > MAX_NAME {
            let problem = format!("routing_key is longer than {MAX_NAME} bytes");
            return Err(DefinitionError::new("bindings", index, problem));
        }
        let vhost = self.vhost(given.vhost.as_bytes());
        let exchange = |name: &str| {
            names.exchanges.get(&(&*given.vhost, name)).copied().or_else(|| {
                let there = vhost.as_ref().ok();
                match there {
                    Some(&vhost) => {
                        let id = self.find_exchange(vhost, name.as_bytes()).ok()?;
                        Some(self.exchanges[id].kind)
                    }
                    // Every new virtual host has these.
                    None => crate::vhost::predeclared(name),
                }
            })
        };
        let queue = |name: &str| {
            names.queues.contains(&(&*given.vhost, name))
                || vhost
                    .as_ref()
                    .is_ok_and(|&vhost| self.find_queue(vhost, name.as_bytes()).is_ok())
        };
        let kind = exchange(&given.source);
        let missing = match kind {
            None => Some((ResourceKind::Exchange, &given.source)),
            Some(_) if given.to_queue && !queue(&given.destination) => {
                Some((ResourceKind::Queue, &given.destination))
            }
            Some(_) if !given.to_queue && exchange(&given.destination).is_none() => {
                Some((ResourceKind::Exchange, &given.destination))
            }
            Some(_) => None,
        };
        if let Some((kind, name)) = missing {
            let missing = resource(kind, &given.vhost, name);
            plan.left_out.push(format!("bindings[{index}]: left out, there is no {missing}"));
        } else if let Some(kind) = kind {
            check_binding(kind, &given.arguments)
                .map_err(|error| DefinitionError::new("bindings", index, error.explanation()))?;
        }
        Ok(())
    }

    // Making.

    fn make_definitions(&mut self, definitions: &Definitions, plan: Plan) -> Vec<String> {
        for given in &definitions.vhosts {
            let id = self.add_vhost(given.name.as_bytes());
            let vhost = &mut self.vhosts[id];
            vhost.description.clone_from(&given.description);
            vhost.tags.clone_from(&given.tags);
            vhost.limits = given.limits;
            self.journal_vhost(id);
        }
        for given in &definitions.users {
            let mut user = User::new(given.password.clone());
            user.tags.clone_from(&given.tags);
            user.limits = given.limits;
            self.put_user(given.name.as_bytes(), user);
        }
        for (given, permission) in definitions.permissions.iter().zip(plan.permissions) {
            let (user, vhost) = (given.user.as_bytes(), given.vhost.as_bytes());
            self.set_user_permission(user, vhost, Some(permission));
        }
        for (given, topic) in definitions.topic_permissions.iter().zip(plan.topic_permissions) {
            let (user, vhost) = (given.user.as_bytes(), given.vhost.as_bytes());
            self.set_topic_permission(user, vhost, given.exchange.as_bytes(), Some(topic));
        }
        for (given, (kind, alternate)) in definitions.exchanges.iter().zip(plan.exchanges) {
            self.make_exchange(given, kind, alternate);
        }
        for (given, settings) in definitions.queues.iter().zip(plan.queues) {
            let Ok(vhost) = self.vhost(given.vhost.as_bytes()) else { continue };
            if self.find_queue(vhost, given.name.as_bytes()).is_err() {
                let name = given.name.as_bytes().into();
                let queue = self.insert_queue(vhost, name, &declaration(given), None, settings);
                self.touch(queue);
            }
        }
        for given in &definitions.bindings {
            self.make_binding(given);
        }
        plan.left_out
    }

    fn make_exchange(
        &mut self,
        given: &ExchangeDefinition,
        kind: ExchangeType,
        alternate: Option<Name>,
    ) {
        let name = given.name.as_bytes();
        let Ok(vhost) = self.vhost(given.vhost.as_bytes()) else { return };
        if self.find_exchange(vhost, name).is_ok() {
            return;
        }
        let declare = ExchangeDeclare {
            name,
            kind: given.kind.as_bytes(),
            passive: false,
            durable: given.durable,
            auto_delete: given.auto_delete,
            internal: given.internal,
            arguments: &given.arguments,
        };
        self.insert_exchange(vhost, name, kind, &declare, alternate);
    }

    /// Does nothing where an end is missing: the check has told of it.
    fn make_binding(&mut self, given: &BindingDefinition) {
        let Ok(vhost) = self.vhost(given.vhost.as_bytes()) else { return };
        if given.source.is_empty() {
            return;
        }
        let destination = given.destination.as_bytes();
        let target = match given.to_queue {
            true => self.find_queue(vhost, destination).map(Target::Queue),
            false => self.find_exchange(vhost, destination).map(Target::Exchange),
        };
        let source = self.find_exchange(vhost, given.source.as_bytes());
        if let (Ok(source), Ok(target)) = (source, target) {
            let key = given.routing_key.as_bytes().into();
            let bound = self.bind(source, target, key, &given.arguments);
            debug_assert!(bound.is_ok(), "the check has seen its arguments");
        }
    }
}

fn check_name(section: &'static str, index: usize, name: &str) -> Checked {
    let problem = match name.len() {
        0 => "its name is empty".to_owned(),
        1..=MAX_NAME => return Ok(()),
        _ => format!("its name is longer than {MAX_NAME} bytes"),
    };
    Err(DefinitionError::new(section, index, problem))
}

fn resource<'a>(kind: ResourceKind, vhost: &'a str, name: &'a str) -> Resource<'a> {
    Resource { kind, name: name.as_bytes(), vhost: vhost.as_bytes() }
}

fn declaration(given: &QueueDefinition) -> QueueDeclare<'_> {
    QueueDeclare {
        name: given.name.as_bytes(),
        passive: false,
        durable: given.durable,
        exclusive: false,
        auto_delete: given.auto_delete,
        arguments: &given.arguments,
    }
}

//! What runs: the services with their sockets and message queues, from their start on, and becoming
//! what a changed configuration says.

use std::fs::File;
use std::path::PathBuf;

use log::{info, warn};
use ropewalk::amqp::server::Server;
use ropewalk::redis::server::{Config, Server as ChannelServer};
use ropewalk::tls::TlsServer;
use ropewalk::{Address, Endpoint, Policy, Reactor, TlsFiles, TrafficLog};

use crate::amqp::Amqp;
use crate::config::{Configuration, Named, Settings, differences};
use crate::joined::Joined;
use crate::policies::{Policies, is_limit};
use crate::privileges::Identity;
use crate::process::Process;
use crate::serve::Problem;
use crate::service::{Service, Shared};
use crate::sockets::{Changed, Listener, Sockets};

/// The services of this process.
pub(crate) struct Running {
    configuration: Configuration,
    /// Where the configuration stands.
    file: Option<PathBuf>,
    /// Who the process goes on as; `None` if it stays who it is.
    identity: Option<Identity>,
    sockets: Sockets,
    /// Also those whose service is no longer in the file: their connections go on.
    queues: Vec<Queue>,
    channels: Vec<Channels>,
    policies: Vec<ServicePolicy>,
    bridges: Joined,
}

/// What the connections of a service keep to. It stays the same one for as long as its limits do: it
/// counts the connections.
struct ServicePolicy {
    service: String,
    asked: Policies,
    policy: Option<Policy>,
    /// It outlives the policy where only other limits change: two that write to one file would put
    /// it aside twice.
    log: Option<TrafficLog>,
}

/// A message queue.
struct Queue {
    place: Place,
    server: Server,
    /// What its service was started with.
    settings: Settings,
}

/// A publish/subscribe server. It stays the same one for as long as there is a service of its name: it
/// has the subscribers.
struct Channels {
    service: String,
    server: ChannelServer,
    config: Config,
}

/// What makes a message queue this one and no other.
#[derive(PartialEq, Eq)]
enum Place {
    Directory(PathBuf),
    /// It keeps nothing; this is the name of its service.
    Memory(String),
}

impl Running {
    /// Nothing yet.
    pub(crate) fn new(
        configuration: Configuration,
        file: Option<PathBuf>,
        identity: Option<Identity>,
    ) -> Self {
        let sockets = Sockets::default();
        let (queues, channels, policies) = (Vec::new(), Vec::new(), Vec::new());
        let bridges = Joined::default();
        Self { configuration, file, identity, sockets, queues, channels, policies, bridges }
    }

    /// The configuration file.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// On how many addresses it listens.
    pub(crate) fn addresses(&self) -> usize {
        self.sockets.len()
    }

    /// How many bridges there are.
    pub(crate) fn bridges(&self) -> usize {
        self.bridges.len()
    }

    /// The name of each bridge, and what it joins.
    pub(crate) fn joins(&self) -> impl Iterator<Item = (&str, String)> {
        let bridges = self.configuration.bridges.iter();
        bridges.map(|named| (&*named.name, named.bridge.describe()))
    }

    /// The TLS servers of all `tls://` addresses.
    pub(crate) fn tls(&self) -> Vec<TlsServer> {
        self.sockets.tls()
    }

    /// Why a message queue failed, if one did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.queues.iter().find_map(|queue| queue.server.failure())
    }

    /// The service of a listener, and a line that shows it at work.
    pub(crate) fn describe(&self, listener: &Listener) -> (&'static str, String) {
        let mut services = self.configuration.services.iter();
        match services.find(|named| named.name == listener.service) {
            Some(Named { service, .. }) => (service.kind(), service.try_it(&listener.address)),
            None => ("", String::new()),
        }
    }

    /// Listens at all addresses, calls `bound`, then opens the message queues, and has bridges begin. That
    /// comes last: it is done as the user that `bound` may have made of root. Connections wait until the
    /// loop turns.
    pub(crate) fn start(
        &mut self,
        reactor: &mut Reactor,
        bound: impl FnOnce() -> Result<(), Problem>,
    ) -> Result<Vec<Listener>, Problem> {
        let policies = self.policies_of(&self.configuration)?;
        let channels = self.channels_of(&self.configuration)?;
        let prepared = Joined::prepare(&self.configuration)?;
        let mut change = self.sockets.change(reactor, Vec::new());
        let mut queues = Vec::new();
        let services = self.configuration.services.iter().zip(&policies);
        for (Named { name, service, settings }, policy) in services {
            let shared = match service {
                Service::Amqp(options) => {
                    let place = Place::of(options, name, self.identity.as_ref(), &queues)?;
                    queues.push(Queue {
                        place,
                        server: options.server(),
                        settings: settings.clone(),
                    });
                    queues.last().map(|queue| Shared::Queue(queue.server.clone()))
                }
                _ => channels_for(&channels, name),
            };
            change.of(name);
            let listening = service.listen_at(&mut change, policy.policy.as_ref(), shared.as_ref());
            listening.map_err(|error| Problem::listen(name, error))?;
        }
        let changed = change.commit();
        bound()?;
        let options = self.configuration.services.iter().filter_map(|named| match &named.service {
            Service::Amqp(options) => Some((&named.name, options)),
            _ => None,
        });
        for ((name, options), queue) in options.zip(&queues) {
            let started = options.start(&queue.server, self.identity.as_ref(), reactor);
            started.map_err(|error| Problem::Amqp { name: name.clone(), error })?;
        }
        self.queues = queues;
        self.channels = channels;
        self.policies = policies;
        self.bridges.apply(reactor, &self.configuration, &self.sockets, prepared)?;
        Ok(changed.opened)
    }

    /// Becomes what another configuration says, or changes nothing and says why. `tls` are servers for
    /// its `tls://` addresses. What it says and cannot be had without a restart is told.
    pub(crate) fn apply(
        &mut self,
        reactor: &mut Reactor,
        new: Configuration,
        tls: Vec<(TlsFiles, TlsServer)>,
    ) -> Result<Changed, Problem> {
        let mut later = self.at_restart(&new);
        let policies = self.policies_of(&new)?;
        let channels = self.channels_of(&new)?;
        let prepared = Joined::prepare(&new)?;
        let mut change = self.sockets.change(reactor, tls);
        let mut wanted: Vec<Queue> = Vec::new();
        let mut opened = Vec::new();
        for (Named { name, service, settings }, policy) in new.services.iter().zip(&policies) {
            let shared = match service {
                Service::Amqp(options) => {
                    let place = Place::of(options, name, self.identity.as_ref(), &wanted)?;
                    let there = self.queues.iter().find(|queue| queue.place == place);
                    let (server, settings) = match there {
                        Some(Queue { server, settings: before, .. }) => {
                            for (key, line) in differences(before, settings) {
                                if !["kind", "name", "listen"].contains(&key) && !is_limit(key) {
                                    later.push((line, format!("{name}: `{key}`")));
                                }
                            }
                            (server.clone(), before.clone())
                        }
                        None => {
                            let server = options.server();
                            opened.push((name, options, server.clone()));
                            (server, settings.clone())
                        }
                    };
                    wanted.push(Queue { place, server: server.clone(), settings });
                    Some(Shared::Queue(server))
                }
                _ => channels_for(&channels, name),
            };
            change.of(name);
            let listening = service.listen_at(&mut change, policy.policy.as_ref(), shared.as_ref());
            listening.map_err(|error| Problem::listen(name, error))?;
        }
        for (name, options, server) in opened {
            let started = options.start(&server, self.identity.as_ref(), change.reactor);
            started.map_err(|error| Problem::Amqp { name: name.clone(), error })?;
        }
        let changed = change.commit();
        for Channels { server, config, .. } in &channels {
            server.set_config(config.clone());
        }
        self.channels = channels;
        for (service, endpoint) in &changed.unchanged {
            let named = new.services.iter().find(|named| named.name == *service);
            let line = named.and_then(|named| named.settings.get("listen"));
            let line = line.map_or(0, |setting| setting.line);
            later.push((line, format!("{service}: what {endpoint} says of its socket")));
        }
        let left = self
            .queues
            .drain(..)
            .filter(|queue| !wanted.iter().any(|wanted| wanted.place == queue.place));
        let left: Vec<_> = left.collect();
        self.queues = wanted;
        self.queues.extend(left);
        self.policies = policies;
        self.bridges.apply(reactor, &new, &self.sockets, prepared)?;
        let file = self.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
        later.sort();
        for (line, what) in later {
            warn!("{file}, line {line}: {what} needs a restart, and stays as it was");
        }
        new.process.set_log_level();
        // What was taken on at the start is what the process still is.
        let settings = std::mem::take(&mut self.configuration.settings);
        self.configuration = Configuration { settings, ..new };
        Ok(changed)
    }

    /// The policies of all services, in their order: those that are there, where nothing has changed.
    fn policies_of(&self, configuration: &Configuration) -> Result<Vec<ServicePolicy>, Problem> {
        let services = configuration.services.iter();
        let policies = services.map(|Named { name, service, .. }| {
            let asked = service.policies();
            let there = self.policies.iter().find(|kept| kept.service == *name);
            let log = match there.filter(|kept| kept.asked.same_log(&asked)) {
                Some(kept) => kept.log.clone(),
                None => asked.open_log().map_err(|error| Problem::listen(name, error))?,
            };
            let policy = match there.filter(|kept| kept.asked == asked) {
                Some(kept) => kept.policy.clone(),
                None => asked.policy(log.as_ref()),
            };
            Ok(ServicePolicy { service: name.clone(), asked, policy, log })
        });
        policies.collect()
    }

    /// The publish/subscribe servers of a configuration: those that are there, with what it says of
    /// them now.
    fn channels_of(&self, configuration: &Configuration) -> Result<Vec<Channels>, Problem> {
        let mut channels = Vec::new();
        for Named { name, service, .. } in &configuration.services {
            let Service::Redis(options) = service else { continue };
            let config = options.config();
            let config = config.map_err(|error| Problem::Redis { name: name.clone(), error })?;
            let there = self.channels.iter().find(|there| there.service == *name);
            let server = match there {
                Some(there) => there.server.clone(),
                None => ChannelServer::new(config.clone()),
            };
            channels.push(Channels { service: name.clone(), server, config });
        }
        Ok(channels)
    }

    /// What of the process itself another configuration would change, by line.
    fn at_restart(&self, new: &Configuration) -> Vec<(usize, String)> {
        let found = differences(&self.configuration.settings, &new.settings);
        let found = found.into_iter().filter(|(key, _)| Process::AT_START.contains(key));
        found.map(|(key, line)| (line, format!("`{key}`"))).collect()
    }

    /// Warns of what the process will not be able to read again once it is another user.
    pub(crate) fn warn_of_unreadable(&self) {
        let Some(identity) = &self.identity else { return };
        let services = self.configuration.services.iter();
        let endpoints = services.flat_map(|named| named.service.endpoints());
        let files = endpoints.flat_map(|endpoint| {
            let tls = endpoint.tls().cloned().unwrap_or_default();
            [tls.certificate, tls.key, tls.client_ca]
        });
        let mut files: Vec<_> = files.flatten().chain(self.file.clone()).collect();
        files.sort();
        files.dedup();
        for file in files {
            if let Err(error) = File::open(&file) {
                let file = file.display();
                warn!(
                    "{file}: {identity} cannot read it ({error}): when it changes, that needs a \
                     restart, unless the user may read it"
                );
            }
        }
    }
}

fn channels_for(all: &[Channels], service: &str) -> Option<Shared> {
    let found = all.iter().find(|channels| channels.service == service)?;
    Some(Shared::Channels(found.server.clone()))
}

impl Place {
    /// Where a message queue is, if no other one is there.
    fn of(
        options: &Amqp,
        name: &str,
        identity: Option<&Identity>,
        others: &[Queue],
    ) -> Result<Self, Problem> {
        let problem = |error| Problem::Amqp { name: name.to_owned(), error };
        let place = match options.directory(identity).map_err(problem)? {
            Some(directory) => Self::Directory(directory),
            None => Self::Memory(name.to_owned()),
        };
        match &place {
            Self::Directory(directory) if others.iter().any(|other| other.place == place) => {
                let directory = directory.display();
                Err(Problem::Process(format!(
                    "{name}: another message queue has its data in {directory}; choose one with `data`"
                )))
            }
            _ => Ok(place),
        }
    }
}

/// Says what began and ceased to listen.
pub(crate) fn tell(changed: &Changed) {
    let place = |listener: &Listener| {
        let address: &Address = &listener.address;
        format!("{}: {address}", listener.service)
    };
    for listener in &changed.opened {
        info!("{} is listened on", place(listener));
    }
    for listener in &changed.closed {
        info!("{} is no longer listened on; its connections go on", place(listener));
    }
}

/// The TLS servers that a configuration needs, their files read.
pub(crate) fn read_tls(
    configuration: &Configuration,
) -> Result<Vec<(TlsFiles, TlsServer)>, Problem> {
    let mut servers: Vec<(TlsFiles, TlsServer)> = Vec::new();
    for named in &configuration.services {
        for endpoint in named.service.endpoints() {
            let Some(files) = Endpoint::tls(&endpoint) else { continue };
            if !servers.iter().any(|(read, _)| read == files) {
                let server = files.server();
                let server = server.map_err(|error| Problem::listen(&named.name, error))?;
                servers.push((files.clone(), server));
            }
        }
    }
    Ok(servers)
}

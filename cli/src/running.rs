//! What runs: the services with their sockets and message queues, from their start on, and becoming
//! what a changed configuration says.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use log::{info, warn};
use ropewalk::amqp::server::Server;
use ropewalk::redis::server::{Config, Server as ChannelServer};
use ropewalk::tls::TlsServer;
use ropewalk::{Address, Deferred, Policy, Reactor, TrafficLog};

use crate::ahead::Ahead;
use crate::amqp::Amqp;
use crate::config::{Configuration, Named, Settings, differences};
use crate::joined::Joined;
use crate::policies::{Policies, is_limit};
use crate::privileges::{self, Identity};
use crate::process::Process;
use crate::serve::{self, Problem};
use crate::service::{Service, Shared};
use crate::sites::{Sites, site_for};
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
    sites: Sites,
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
        let (sites, bridges) = (Sites::default(), Joined::default());
        Self { configuration, file, identity, sockets, queues, channels, sites, policies, bridges }
    }

    /// The configuration file.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// How it goes, for the service manager.
    pub(crate) fn status(&self, good: bool) -> String {
        serve::status(self.sockets.len(), self.bridges.len(), good)
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

    /// Opens the access logs anew.
    pub(crate) fn reopen_logs(&self) {
        self.sites.reopen_logs();
    }

    /// The program is to end: HTTP requests that are under way are answered, and there are no more.
    pub(crate) fn drain(&mut self, reactor: &mut Reactor) -> Option<Deferred<()>> {
        let services = self.configuration.services.iter();
        let sites = services.filter(|named| matches!(named.service, Service::Http(_)));
        for named in sites {
            self.sockets.close(reactor, &named.name);
        }
        self.sites.drain(reactor)
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
        let configuration = std::mem::take(&mut self.configuration);
        let changed = self.become_of(reactor, &configuration, Ahead::default(), bound);
        self.configuration = configuration;
        Ok(changed?.0.opened)
    }

    /// Becomes what another configuration says, or changes nothing and says why. `ahead` is what was
    /// read of its files. What it says and cannot be had without a restart is told.
    pub(crate) fn apply(
        &mut self,
        reactor: &mut Reactor,
        new: Configuration,
        ahead: Ahead,
    ) -> Result<Changed, Problem> {
        let mut later = self.at_restart(&new);
        let (changed, of_services) = self.become_of(reactor, &new, ahead, || Ok(()))?;
        later.extend(of_services);
        for (service, endpoint) in &changed.unchanged {
            let named = new.services.iter().find(|named| named.name == *service);
            let line = named.map_or(0, |named| named.line_of("listen"));
            later.push((line, format!("{service}: what {endpoint} says of its socket")));
        }
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

    /// Listens as a configuration says, calls `bound`, opens the message queues that are not there
    /// yet, and only then gives up what is not in it. With the change comes what in it needs a
    /// restart, by line.
    fn become_of(
        &mut self,
        reactor: &mut Reactor,
        new: &Configuration,
        mut ahead: Ahead,
        bound: impl FnOnce() -> Result<(), Problem>,
    ) -> Result<(Changed, Vec<(usize, String)>), Problem> {
        let mut later = Vec::new();
        let policies = self.policies_of(new, &mut later)?;
        let channels = self.channels_of(new, &mut ahead)?;
        let sites = self.sites.of(new, &mut ahead, self.identity.as_ref())?;
        let prepared = ahead.bridges.take().map_or_else(|| Joined::prepare(new), Ok)?;
        let mut change = self.sockets.change(reactor, std::mem::take(&mut ahead.tls));
        let mut wanted: Vec<Queue> = Vec::new();
        let mut unopened = Vec::new();
        for (Named { name, service, settings, .. }, policy) in new.services.iter().zip(&policies) {
            let shared = match service {
                Service::Amqp(options) => {
                    let others = wanted.iter().map(|queue| &queue.place);
                    let place = Place::of(options, name, self.identity.as_ref(), others)?;
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
                            unopened.push((name, options, server.clone()));
                            (server, settings.clone())
                        }
                    };
                    wanted.push(Queue { place, server: server.clone(), settings });
                    Some(Shared::Queue(server))
                }
                Service::Http(_) => site_for(&sites, name),
                _ => channels_for(&channels, name),
            };
            change.of(name);
            let listening = service.listen_at(&mut change, policy.policy.as_ref(), shared.as_ref());
            listening.map_err(|error| Problem::listen(name, error))?;
        }
        bound()?;
        for (name, options, server) in unopened {
            let files = ahead.queue(name).unwrap_or_else(|| options.read_files());
            let started = options.start(&server, files, self.identity.as_ref(), change.reactor);
            started.map_err(|error| Problem::Amqp { name: name.clone(), error })?;
        }
        let changed = change.commit();
        for Channels { server, config, .. } in &channels {
            server.set_config(reactor, config.clone());
            server.begin(reactor);
        }
        let mut left = std::mem::take(&mut self.queues);
        left.retain(|queue| !wanted.iter().any(|wanted| wanted.place == queue.place));
        self.queues = wanted;
        self.queues.append(&mut left);
        self.channels = channels;
        self.sites.replace(sites);
        self.policies = policies;
        self.bridges.apply(reactor, new, &self.sockets, prepared)?;
        Ok((changed, later))
    }

    /// The policies of all services, in their order: those that are there, where nothing has changed.
    /// A traffic log that is there stays as it is.
    fn policies_of(
        &self,
        configuration: &Configuration,
        later: &mut Vec<(usize, String)>,
    ) -> Result<Vec<ServicePolicy>, Problem> {
        let services = configuration.services.iter();
        let policies = services.map(|named| {
            let name = &named.name;
            let mut asked = named.service.policies();
            let log = match self.policies.iter().find(|kept| kept.asked.same_log(&asked)) {
                Some(kept) => {
                    if asked.keep_log_of(&kept.asked) {
                        let key = "traffic-log-size";
                        later.push((named.line_of(key), format!("{name}: `{key}`")));
                    }
                    kept.log.clone()
                }
                None => {
                    let opened = asked.open_log(self.identity.as_ref());
                    opened.map_err(|error| Problem::listen(name, error))?
                }
            };
            let there = self.policies.iter().find(|kept| kept.service == *name);
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
    fn channels_of(
        &self,
        configuration: &Configuration,
        ahead: &mut Ahead,
    ) -> Result<Vec<Channels>, Problem> {
        let mut channels = Vec::new();
        for Named { name, service, .. } in &configuration.services {
            let Service::Redis(options) = service else { continue };
            let config = ahead.channels(name).unwrap_or_else(|| options.config());
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

    /// Warns of what the process will not be able to read again, or to write, now that it is another
    /// user.
    pub(crate) fn warn_of_unreadable(&self) {
        let Some(identity) = &self.identity else { return };
        let services = self.configuration.services.iter();
        let files = services.clone().flat_map(|named| named.service.files());
        let mut files: Vec<_> = files.chain(self.file.clone()).collect();
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
        for log in self.sites.log_paths() {
            if let Err(error) = OpenOptions::new().append(true).open(log) {
                let file = log.display();
                warn!("{file}: {identity} cannot write it ({error}): SIGHUP will not open it anew");
            }
        }
        let logs = self.policies.iter().filter_map(|policy| policy.asked.log_path());
        for log in logs {
            let file = log.display();
            if let Err(error) = OpenOptions::new().append(true).open(log) {
                warn!("{file}: {identity} cannot write it ({error}): a reload may fail to open it");
            } else if let Err(error) = privileges::can_write_beside(log) {
                warn!(
                    "{file}: {identity} cannot write in its directory ({error}): when it is to be put \
                     aside, there is no more of it"
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
    fn of<'a>(
        options: &Amqp,
        name: &str,
        identity: Option<&Identity>,
        mut others: impl Iterator<Item = &'a Self>,
    ) -> Result<Self, Problem> {
        let problem = |error| Problem::Amqp { name: name.to_owned(), error };
        let place = match options.directory(identity).map_err(problem)? {
            Some(directory) => Self::Directory(directory),
            None => Self::Memory(name.to_owned()),
        };
        match &place {
            Self::Directory(directory) if others.any(|other| *other == place) => {
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

/// Sees to it that each message queue has a place, and one of its own.
pub(crate) fn check_places(
    configuration: &Configuration,
    identity: Option<&Identity>,
) -> Result<(), Problem> {
    let mut places: Vec<Place> = Vec::new();
    for Named { name, service, .. } in &configuration.services {
        if let Service::Amqp(options) = service {
            places.push(Place::of(options, name, identity, places.iter())?);
        }
    }
    Ok(())
}

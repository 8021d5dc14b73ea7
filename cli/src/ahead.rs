//! What a configuration's files say, read before it is taken on: on another thread, when the loop is
//! not to wait for a disk.
//!
//! The one rule: a file that nobody comes to ask for (that of a message queue which runs already) may
//! be missing. So what cannot be read is kept as its error, but for certificates and what bridges say.

use ropewalk::TlsFiles;
use ropewalk::redis::server::Config;
use ropewalk::tls::TlsServer;

use crate::amqp::{AmqpError, Files};
use crate::config::{Configuration, Named};
use crate::http::HttpError;
use crate::joined::{Joined, Prepared};
use crate::redis::RedisError;
use crate::serve::Problem;
use crate::service::Service;

/// Nothing at first: then each file is read when it is needed.
#[derive(Default)]
pub(crate) struct Ahead {
    /// Servers for the `tls://` addresses.
    pub(crate) tls: Vec<(TlsFiles, TlsServer)>,
    /// For the bridges, in their order.
    pub(crate) bridges: Option<Prepared>,
    /// By service; taken out when they are used.
    read: Vec<(String, Read)>,
}

enum Read {
    Queue(Files),
    Channels(Result<Config, RedisError>),
    Site(Result<(), HttpError>),
}

impl Ahead {
    /// Reads all that a configuration names.
    pub(crate) fn read(configuration: &Configuration) -> Result<Self, Problem> {
        let tls = read_tls(configuration)?;
        let services = configuration.services.iter();
        let read = services.filter_map(|Named { name, service, .. }| {
            let read = match service {
                Service::Amqp(options) => Read::Queue(options.read_files()),
                Service::Redis(options) => Read::Channels(options.config()),
                Service::Http(options) => Read::Site(options.check()),
                _ => return None,
            };
            Some((name.clone(), read))
        });
        let bridges = Some(Joined::prepare(configuration)?);
        Ok(Self { tls, bridges, read: read.collect() })
    }

    /// Sees to it that all of it is right. `problem` makes one of a queue's error.
    pub(crate) fn check(self) -> Result<(), Problem> {
        for (name, read) in self.read {
            match read {
                Read::Queue(files) => files
                    .check()
                    .map_err(|error: AmqpError| Problem::Amqp { name: name.clone(), error })?,
                Read::Channels(config) => {
                    config.map_err(|error| Problem::Redis { name: name.clone(), error })?;
                }
                Read::Site(site) => {
                    site.map_err(|error| Problem::Http { name: name.clone(), error })?;
                }
            }
        }
        Ok(())
    }

    /// The files of a message queue, if they were read.
    pub(crate) fn queue(&mut self, service: &str) -> Option<Files> {
        match self.take(service)? {
            Read::Queue(files) => Some(files),
            Read::Channels(_) | Read::Site(_) => None, // each service has one kind
        }
    }

    /// The configuration of a publish/subscribe server, if its files were read.
    pub(crate) fn channels(&mut self, service: &str) -> Option<Result<Config, RedisError>> {
        match self.take(service)? {
            Read::Channels(config) => Some(config),
            Read::Queue(_) | Read::Site(_) => None,
        }
    }

    /// Whether what an HTTP server needs is there, if that was looked at.
    pub(crate) fn site(&mut self, service: &str) -> Option<Result<(), HttpError>> {
        match self.take(service)? {
            Read::Site(site) => Some(site),
            Read::Queue(_) | Read::Channels(_) => None,
        }
    }

    fn take(&mut self, service: &str) -> Option<Read> {
        let place = self.read.iter().position(|(name, _)| name == service)?;
        Some(self.read.swap_remove(place).1)
    }
}

fn read_tls(configuration: &Configuration) -> Result<Vec<(TlsFiles, TlsServer)>, Problem> {
    let mut servers: Vec<(TlsFiles, TlsServer)> = Vec::new();
    for named in &configuration.services {
        for endpoint in named.service.endpoints() {
            let Some(files) = endpoint.tls() else { continue };
            if !servers.iter().any(|(read, _)| read == files) {
                let server = files.server();
                let server = server.map_err(|error| Problem::listen(&named.name, error))?;
                servers.push((files.clone(), server));
            }
        }
    }
    Ok(servers)
}

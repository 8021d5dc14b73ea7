//! The sites of the HTTP services, and how they come to an end: each response that has begun is
//! completed first.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ropewalk::http::websocket::{CloseCode, close_all};
use ropewalk::http::{AccessLog, Site};
use ropewalk::{Deferred, Reactor};

use crate::ahead::Ahead;
use crate::config::{Configuration, Named};
use crate::http::Http;
use crate::privileges::Identity;
use crate::serve::Problem;
use crate::service::{Service, Shared};

/// How long requests that are under way have, once the program is to end; what they have been answered
/// with is flushed after that.
const DRAINED_WITHIN: Duration = Duration::from_secs(10);

/// The sites that are served, and those that connections from before a reload still have.
#[derive(Default)]
pub(crate) struct Sites {
    current: Vec<Kept>,
    former: Vec<Site>,
}

/// The site of a service.
pub(crate) struct Kept {
    service: String,
    log: Option<(PathBuf, AccessLog)>,
    site: Site,
}

impl Sites {
    /// The sites that a configuration asks for. A log that is there stays the same: its lines are in
    /// one order.
    pub(crate) fn of(
        &self,
        configuration: &Configuration,
        ahead: &mut Ahead,
        identity: Option<&Identity>,
    ) -> Result<Vec<Kept>, Problem> {
        let mut sites: Vec<Kept> = Vec::new();
        for Named { name, service, .. } in &configuration.services {
            let Service::Http(options) = service else { continue };
            let problem = |error| Problem::Http { name: name.clone(), error };
            ahead.site(name).unwrap_or_else(|| options.check()).map_err(problem)?;
            let there = self.current.iter().chain(&sites).find_map(|kept| kept.log_of(options));
            let log = match there {
                Some(log) => Some(log),
                None => options.open_log(identity).map_err(problem)?,
            };
            let site = options.site(log.clone()).map_err(problem)?;
            let log = options.log_path().map(PathBuf::from).zip(log);
            sites.push(Kept { service: name.clone(), log, site });
        }
        Ok(sites)
    }

    /// These are served from now on.
    pub(crate) fn replace(&mut self, sites: Vec<Kept>) {
        let before = std::mem::replace(&mut self.current, sites);
        self.former.extend(before.into_iter().map(|kept| kept.site));
        self.former.retain(|site| site.connections() > 0);
    }

    /// The files of the access logs.
    pub(crate) fn log_paths(&self) -> impl Iterator<Item = &Path> {
        self.current.iter().filter_map(|kept| Some(&*kept.log.as_ref()?.0))
    }

    /// Opens the access logs anew.
    pub(crate) fn reopen_logs(&self) {
        for (_, log) in self.current.iter().filter_map(|kept| kept.log.as_ref()) {
            log.reopen();
        }
    }

    /// Ends them all; nobody listens any more.
    pub(crate) fn drain(&self, reactor: &mut Reactor) -> Option<Deferred<()>> {
        let current = self.current.iter().map(|kept| &kept.site);
        drain(current.chain(&self.former), reactor)
    }
}

impl Kept {
    fn log_of(&self, options: &Http) -> Option<AccessLog> {
        let (path, log) = self.log.as_ref()?;
        (options.log_path() == Some(path)).then(|| log.clone())
    }
}

/// The site of a service among these.
pub(crate) fn site_for(all: &[Kept], service: &str) -> Option<Shared> {
    let found = all.iter().find(|kept| kept.service == service)?;
    Some(Shared::Site(found.site.clone()))
}

/// Ends these sites. What is answered fires when all that was under way has been answered, or after a
/// while; `None` if nothing is under way.
pub(crate) fn drain<'a>(
    sites: impl IntoIterator<Item = &'a Site>,
    reactor: &mut Reactor,
) -> Option<Deferred<()>> {
    close_all(reactor, CloseCode::GOING_AWAY, ""); // a browser connects again, later
    let draining = sites.into_iter().map(|site| site.drain(reactor)).collect::<Vec<_>>();
    if draining.is_empty() {
        return None;
    }
    let (promise, drained) = reactor.deferred();
    let all = reactor.gather_all(draining).timeout(DRAINED_WITHIN);
    all.then(move |_, _| promise.succeed(()));
    Some(drained)
}

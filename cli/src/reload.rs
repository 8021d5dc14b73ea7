//! SIGHUP: the configuration file is read again, and certificates with their keys, and what else it
//! names. All of that is read off the loop; then everything changes between two turns, or nothing
//! does. (Only a message queue that is new opens its data on the loop: it has to be there by then.)

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use log::{info, warn};
use ropewalk::tls::TlsServer;
use ropewalk::{Error, Notifier, Reactor, Signal};

use crate::ahead::Ahead;
use crate::config::{self, Configuration};
use crate::running::{self, Running};
use crate::serve::{self, Problem};

/// Reloads of a configuration.
#[derive(Clone)]
pub(crate) struct Reload {
    running: Rc<RefCell<Running>>,
    progress: Progress,
}

/// Sees to it that reloads go on one at a time, and that the manager hears of each. Clones are one.
#[derive(Clone)]
pub(crate) struct Progress {
    manager: Option<Notifier>,
    state: Rc<Cell<State>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Busy,
    /// And it was asked for again since.
    Again,
}

/// What is read off the loop.
type Read = Result<(Configuration, Ahead), Problem>;

impl Progress {
    pub(crate) fn new(manager: Option<Notifier>) -> Self {
        Self { manager, state: Rc::new(Cell::new(State::Idle)) }
    }

    /// SIGHUP came. True if a reload is to begin now; one that is under way will not have seen what
    /// has changed since its beginning.
    pub(crate) fn ask(&self) -> bool {
        let is_idle = self.state.get() == State::Idle;
        self.state.set(State::Again);
        is_idle && self.begins()
    }

    /// A reload is over. True if the next one is to begin, since it was asked for meanwhile. If not,
    /// the manager hears of `status`.
    pub(crate) fn end(&self, status: impl FnOnce() -> String) -> bool {
        if self.state.get() == State::Again {
            return self.begins();
        }
        self.state.set(State::Idle);
        if let Some(manager) = &self.manager {
            manager.status(&status());
            manager.ready();
        }
        false
    }

    /// Whoever asked waits for a beginning that is later than that.
    fn begins(&self) -> bool {
        self.state.set(State::Busy);
        if let Some(manager) = &self.manager {
            manager.reloading();
        }
        true
    }
}

impl Reload {
    /// Reloads when SIGHUP comes.
    ///
    /// # Errors
    /// The system's, if the signal cannot be heard.
    pub(crate) fn on_hangup(
        reactor: &mut Reactor,
        running: Rc<RefCell<Running>>,
        manager: Option<Notifier>,
    ) -> Result<(), Error> {
        let reload = Self { running, progress: Progress::new(manager) };
        reactor.on_signal(Signal::HUP, move |reactor| {
            if reload.progress.ask() {
                reload.clone().begin(reactor);
            }
        })
    }

    fn begin(self, reactor: &mut Reactor) {
        let file = self.running.borrow().file().cloned();
        match file {
            None => {
                info!("SIGHUP: reading the certificates again");
                self.read_certificates(reactor, false);
            }
            Some(file) => {
                info!("SIGHUP: reading {} again", file.display());
                let read = reactor.defer_to_thread(move || read(&file));
                read.then(move |reactor, read| self.apply(reactor, read));
            }
        }
    }

    fn apply(self, reactor: &mut Reactor, read: Result<Read, Error>) {
        let read = read.unwrap_or_else(|error| Err(Problem::Reactor(error)));
        let applied = read.and_then(|(configuration, ahead)| {
            self.running.borrow_mut().apply(reactor, configuration, ahead)
        });
        match applied {
            Ok(changed) => {
                running::tell(&changed);
                if let Err(error) = serve::announce(&self.running.borrow(), &changed.opened) {
                    warn!("standard output: {error}");
                }
                self.read_certificates(reactor, true);
            }
            Err(problem) => {
                warn!("{problem}; nothing has changed");
                self.end(reactor, false);
            }
        }
    }

    /// Reads them again where a socket has stayed: the sessions of its clients go on.
    fn read_certificates(self, reactor: &mut Reactor, applied: bool) {
        let servers = self.running.borrow().tls();
        read_certificates(reactor, servers, move |reactor, good| {
            self.end(reactor, applied || good)
        });
    }

    fn end(self, reactor: &mut Reactor, good: bool) {
        if good {
            info!("reloaded");
        }
        if self.progress.end(|| self.running.borrow().status(good)) {
            self.begin(reactor);
        }
    }
}

/// Reads certificates again, and calls `then` with whether all of them could be.
pub(crate) fn read_certificates(
    reactor: &mut Reactor,
    servers: Vec<TlsServer>,
    then: impl FnOnce(&mut Reactor, bool) + 'static,
) {
    let reading = reactor.defer_to_thread(move || {
        let results = servers.iter().map(TlsServer::reload);
        results.filter_map(Result::err).map(|error| error.to_string()).collect::<Vec<_>>()
    });
    reading.then(move |reactor, read| {
        let problems = read.unwrap_or_else(|error| vec![error.to_string()]);
        for problem in &problems {
            warn!("TLS: what was read before stays in use: {problem}");
        }
        then(reactor, problems.is_empty());
    });
}

fn read(file: &Path) -> Read {
    let configuration = config::read(file).map_err(Problem::Config)?;
    let ahead = Ahead::read(&configuration)?;
    Ok((configuration, ahead))
}

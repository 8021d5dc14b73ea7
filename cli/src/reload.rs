//! SIGHUP: the configuration file is read again, and certificates with their keys, and what else it
//! names. All of that is read off the loop; then everything changes between two turns, or nothing
//! does. (Only a message queue that is new opens its data on the loop: it has to be there by then.)

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use log::{info, warn};
use ropewalk::tls::TlsServer;
use ropewalk::{Error, Notifier, Reactor, Signal};

use crate::ahead::Ahead;
use crate::config::{self, Configuration};
use crate::running::{self, Running};
use crate::serve::{self, Problem};

/// Reloads, one at a time.
#[derive(Clone)]
pub(crate) struct Reload {
    running: Rc<RefCell<Running>>,
    manager: Option<Notifier>,
    state: Rc<RefCell<State>>,
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
        let reload = Self { running, manager, state: Rc::new(RefCell::new(State::Idle)) };
        reactor.on_signal(Signal::HUP, move |reactor| reload.clone().ask(reactor))
    }

    fn ask(self, reactor: &mut Reactor) {
        let before = self.state.replace(State::Busy);
        if before != State::Idle {
            self.state.replace(State::Again);
            return;
        }
        if let Some(manager) = &self.manager {
            manager.reloading();
        }
        self.begin(reactor);
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
        let reading = reactor.defer_to_thread(move || {
            let results = servers.iter().map(TlsServer::reload);
            results.filter_map(Result::err).map(|error| error.to_string()).collect::<Vec<_>>()
        });
        reading.then(move |reactor, read| {
            let problems = read.unwrap_or_else(|error| vec![error.to_string()]);
            for problem in &problems {
                warn!("TLS: what was read before stays in use: {problem}");
            }
            self.end(reactor, applied || problems.is_empty());
        });
    }

    fn end(self, reactor: &mut Reactor, good: bool) {
        if good {
            info!("reloaded");
        }
        if self.state.replace(State::Idle) == State::Again {
            self.state.replace(State::Busy);
            return self.begin(reactor);
        }
        if let Some(manager) = &self.manager {
            manager.status(&serve::status(&self.running.borrow(), good));
            manager.ready();
        }
    }
}

fn read(file: &Path) -> Read {
    let configuration = config::read(file).map_err(Problem::Config)?;
    let ahead = Ahead::read(&configuration)?;
    Ok((configuration, ahead))
}

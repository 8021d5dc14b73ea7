//! A service on several threads: a reactor in each, which share its addresses and nothing else.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::time::Duration;

use log::info;
use ropewalk::tls::TlsServer;
use ropewalk::{Cores, Error, Notifier, Reactor, Signal};

use crate::config::Named;
use crate::reload::{Progress, read_certificates};
use crate::serve::{self, Problem};
use crate::service::listen_options;
use crate::sockets::CERTIFICATES_LOOKED_AT;

/// Runs a service on `threads` threads until a signal, or the failure of one, stops all. SIGHUP has
/// certificates read again. The first of them speaks for all with the service manager: its signs of
/// life are the first one's. `instead` says what to do where an address is in use.
pub(crate) fn run(
    Named { name, service, .. }: &Named,
    threads: NonZeroUsize,
    manager: Option<Notifier>,
    instead: &str,
) -> Result<(), Problem> {
    let refused = |error| Problem::listen(name, error).or_else(instead);
    let mut cores = Cores::new(threads.get());
    // Before anything is announced: whoever reads that line may send a signal at once.
    cores.stop_on_signals().map_err(Problem::Reactor)?;
    let policies = service.policies();
    let policy = policies.policy(policies.open_log(None).map_err(refused)?.as_ref());
    let (mut shared, mut certificates) = (Vec::new(), Vec::new());
    for endpoint in service.endpoints() {
        let mut options = listen_options(policy.as_ref());
        if let Some(files) = endpoint.tls() {
            let tls = files.server().map_err(refused)?;
            certificates.push(tls.clone());
            options = options.tls(tls);
        }
        shared.push(cores.listen_with(options, endpoint).map_err(refused)?);
    }
    let announcement: String = shared
        .iter()
        .map(|shared| format!("listening {} {}\n", service.kind(), shared.address()))
        .collect();
    let ran = cores.run(|reactor, number| {
        shared.iter().try_for_each(|shared| service.join(reactor, shared))?;
        if number == 0 {
            let (addresses, manager) = (shared.len(), manager.clone());
            if let Some(manager) = &manager {
                manager.attach(reactor);
            }
            // All of them use what one of them has read.
            keep_fresh(reactor, &certificates, addresses, manager.clone())?;
            announce_when_all_are_set_up(reactor, announcement.clone(), addresses, manager);
        }
        Ok(())
    });
    ran.map_err(Problem::Reactor)
}

/// The first turn of any is when all are set up, and signals are heard.
fn announce_when_all_are_set_up(
    reactor: &mut Reactor,
    announcement: String,
    addresses: usize,
    manager: Option<Notifier>,
) {
    reactor.call_later(Duration::ZERO, move |reactor| {
        let mut output = io::stdout().lock();
        let written = output.write_all(announcement.as_bytes()).and_then(|()| output.flush());
        if let Err(error) = written {
            return reactor.fail(Problem::Output(error).to_string());
        }
        if let Some(manager) = manager {
            manager.status(&serve::status(addresses, 0, true));
            manager.ready();
        }
    });
}

/// Reads certificates again when their files have changed, and when SIGHUP comes.
fn keep_fresh(
    reactor: &mut Reactor,
    certificates: &[TlsServer],
    addresses: usize,
    manager: Option<Notifier>,
) -> Result<(), Error> {
    for tls in certificates {
        tls.watch(reactor, CERTIFICATES_LOOKED_AT);
    }
    let (certificates, progress) = (certificates.to_vec(), Progress::new(manager));
    reactor.on_signal(Signal::HUP, move |reactor| {
        if progress.ask() {
            read_again(reactor, certificates.clone(), addresses, progress.clone());
        }
    })
}

fn read_again(
    reactor: &mut Reactor,
    certificates: Vec<TlsServer>,
    addresses: usize,
    progress: Progress,
) {
    info!("SIGHUP: reading the certificates again");
    read_certificates(reactor, certificates.clone(), move |reactor, good| {
        if good {
            info!("reloaded");
        }
        if progress.end(|| serve::status(addresses, 0, good)) {
            read_again(reactor, certificates, addresses, progress);
        }
    });
}

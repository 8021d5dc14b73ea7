//! A service on several threads: a reactor in each, which share its addresses and nothing else.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use log::{info, warn};
use ropewalk::tls::TlsServer;
use ropewalk::{Cores, Error, Notifier, Reactor, Signal};

use crate::config::Named;
use crate::serve::Problem;
use crate::service::listen_options;
use crate::sockets::CERTIFICATES_LOOKED_AT;

/// Runs a service on `threads` threads until a signal, or the failure of one, stops all. SIGHUP has
/// certificates read again. `instead` says what to do where an address is in use.
pub(crate) fn run(
    Named { name, service, .. }: &Named,
    threads: NonZeroUsize,
    manager: Option<&Notifier>,
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
    let announce = || {
        let mut output = io::stdout().lock();
        for shared in &shared {
            writeln!(output, "listening {} {}", service.kind(), shared.address())?;
        }
        output.flush()
    };
    announce().map_err(Problem::Output)?;
    if let Some(manager) = manager {
        manager.ready();
    }
    let ran = cores.run(|reactor, number| {
        if number == 0 {
            // All of them use what one of them has read.
            keep_fresh(reactor, &certificates)?;
        }
        shared.iter().try_for_each(|shared| service.join(reactor, shared))?;
        Ok(())
    });
    ran.map_err(Problem::Reactor)
}

/// Reads certificates again when their files have changed, and when SIGHUP comes.
fn keep_fresh(reactor: &mut Reactor, certificates: &[TlsServer]) -> Result<(), Error> {
    for tls in certificates {
        tls.watch(reactor, CERTIFICATES_LOOKED_AT);
    }
    let certificates = certificates.to_vec();
    reactor.on_signal(Signal::HUP, move |reactor| {
        info!("SIGHUP: reading the certificates again");
        for tls in certificates.clone() {
            reactor.defer_to_thread(move || tls.reload()).then(|_, read| {
                if let Err(problem) = read.and_then(|read| read) {
                    warn!("TLS: what was read before stays in use: {problem}");
                }
            });
        }
    })
}

//! A service on several threads: a reactor in each, which share its addresses and nothing else.

use std::num::NonZeroUsize;

use ropewalk::{Address, Cores, Error, ListenOptions};

use crate::serve::Problem;
use crate::service::{CERTIFICATES_LOOKED_AT, Service};

/// Runs `service` on `threads` threads until a signal, or the failure of one, stops all. `announce`
/// is told where it listens, once all of that is bound; `refused` says why something is not.
pub(crate) fn run(
    service: &Service,
    threads: NonZeroUsize,
    announce: impl FnOnce(Vec<Address>) -> Result<(), Problem>,
    refused: impl Fn(Error) -> Problem,
) -> Result<(), Problem> {
    let mut cores = Cores::new(threads.get());
    // Before anything is announced: whoever reads that line may send a signal at once.
    cores.stop_on_signals().map_err(Problem::Reactor)?;
    let (mut shared, mut certificates) = (Vec::new(), Vec::new());
    for endpoint in service.endpoints() {
        let mut options = ListenOptions::default();
        if let Some(files) = endpoint.tls() {
            let tls = files.server().map_err(&refused)?;
            certificates.push(tls.clone());
            options = options.tls(tls);
        }
        shared.push(cores.listen_with(options, endpoint).map_err(&refused)?);
    }
    announce(shared.iter().map(|shared| shared.address().clone()).collect())?;
    let ran = cores.run(|reactor, number| {
        if number == 0 {
            // All of them use what one of them has read.
            for tls in &certificates {
                tls.watch(reactor, CERTIFICATES_LOOKED_AT);
            }
        }
        shared.iter().try_for_each(|shared| service.join(reactor, shared))?;
        Ok(())
    });
    ran.map_err(Problem::Reactor)
}

//! SIGINT and SIGTERM as events of the loop: the first stops in order, a second one at once.

use std::io;

use log::info;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use crate::core::Core;
use crate::identity::Source;
use crate::{Error, LOG};

pub(crate) struct StopSignals {
    signals: Signals,
    seen: bool,
}

impl Core {
    pub(crate) fn stop_on_signals(&mut self) -> Result<(), Error> {
        if self.signals.is_some() {
            return Ok(());
        }
        let register = || -> io::Result<Signals> { Signals::new([SIGINT, SIGTERM]) };
        let mut signals = register().map_err(Error::System)?;
        self.network.register_signals(&mut signals, Source::Signals).map_err(Error::System)?;
        self.signals = Some(StopSignals { signals, seen: false });
        Ok(())
    }

    pub(crate) fn signals_moved(&mut self) {
        let Some(StopSignals { signals, seen }) = &mut self.signals else { return };
        for signal in signals.pending() {
            let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
            if std::mem::replace(seen, true) {
                info!(target: LOG, "{name} again: stopping at once");
                self.shutdown.request_now();
            } else {
                info!(target: LOG, "{name}: stopping; again to stop at once");
                self.shutdown.request();
            }
        }
    }
}

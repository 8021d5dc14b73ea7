//! The protocol on the transport: a thin shell around the state machine, that moves octets and
//! keeps time; and how transports are come by, one after the other.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ropewalk_reactor::{
    ConnectOptions, ConnectionOptions, Protocol, Reactor, Reason, TimerId, Transport,
};

use super::connection::Notice;
use super::core::{Event, Phase, Reading};
use super::hub::Hub;
use super::{Error, LOG};

/// A heartbeat is sent after half an interval without output, and a peer that is silent for two
/// intervals is lost: so both are looked at twice an interval.
const BEATS: u32 = 2;
const SILENT_BEATS: u32 = 2 * BEATS;

/// One transport's protocol.
pub(super) struct Link {
    hub: Rc<Hub>,
    /// Something has come since the last beat.
    has_heard: bool,
    /// Beats without anything.
    silent: u32,
    is_beating: bool,
    deadline: Option<TimerId>,
    /// Why it is being closed from here.
    verdict: Option<Error>,
}

impl Link {
    fn new(hub: Rc<Hub>) -> Link {
        Link { hub, has_heard: false, silent: 0, is_beating: false, deadline: None, verdict: None }
    }

    /// Connects to the next address.
    pub(super) fn attempt(hub: &Rc<Hub>, reactor: &mut Reactor) {
        let (endpoint, timeout) = {
            let core = hub.core.borrow();
            if matches!(core.phase(), Phase::Over(_)) {
                return;
            }
            let mut attempts = hub.attempts.get();
            let endpoints = &core.options.endpoints;
            let endpoint = endpoints[attempts.made % endpoints.len()].clone(); // never empty
            attempts.made += 1;
            hub.attempts.set(attempts);
            (endpoint, core.options.connection_timeout)
        };
        // The state machine bounds what it writes, and must hear the server say that it blocks
        // or wants a heartbeat however much is on its way out.
        let connection = ConnectionOptions::default()
            .stop_reading_mark(usize::MAX)
            .output_limit(usize::MAX)
            .receive_limit(usize::MAX); // bounded by frame_max
        let options = ConnectOptions::default().timeout(timeout).connection(connection);
        let protocol = hub.clone();
        let made = reactor.connect_with(options, endpoint, move |_| Link::new(protocol.clone()));
        let hub = hub.clone();
        made.then(move |reactor, result| {
            if let Err(error) = result {
                let is_stopping = matches!(error, ropewalk_reactor::Error::Stopped);
                let seams = Seams::of_reactor(reactor);
                Link::ended(&hub, seams, error.into(), is_stopping);
            }
        });
    }

    /// A transport has gone, or did not come: goes on, or not.
    fn ended(hub: &Rc<Hub>, seams: Seams, error: Error, is_stopping: bool) {
        hub.link.set(None);
        hub.is_paused.set(false);
        hub.output.is_congested.set(false);
        hub.output.buffered.set(0);
        let mut core = hub.core.borrow_mut();
        let was_closing = match core.phase() {
            Phase::Over(_) => return,
            Phase::Closing => true,
            _ => false,
        };
        let was_up = matches!(core.phase(), Phase::Open | Phase::Recovering(_));
        let error = if was_closing { Error::Closed } else { error };
        core.lost(&error);
        let endpoints = core.options.endpoints.len();
        let reconnect = core.options.reconnect.clone();
        let mut attempts = hub.attempts.get();
        if was_up {
            core.events.push_back(Event::Notice(Notice::Lost(error.clone())));
        }
        drop(core);
        if was_closing || is_stopping {
            return hub.over(error);
        }
        let held = attempts.opened.take().map(|opened| seams.now.duration_since(opened));
        if held.is_some_and(|held| held > attempts.delay) {
            attempts.failed = 0;
        }
        let is_first = hub.is_first();
        if is_first && !hub.is_opening() {
            return hub.over(Error::Closed); // nobody waits for it any more
        }
        let patience = match &reconnect {
            Some(reconnect) if !is_first || reconnect.initially => reconnect.max_attempts,
            _ if is_first => endpoints as u32 - 1, // each address has its turn
            _ => 0,
        };
        if attempts.failed >= patience {
            return hub.over(error);
        }
        let reconnect = reconnect.unwrap_or_default();
        attempts.delay = if is_first && !reconnect.initially {
            Duration::ZERO
        } else {
            let round = attempts.failed / endpoints as u32; // all addresses before a longer wait
            seams.jittered(reconnect.ceiling(round))
        };
        attempts.failed += 1;
        hub.attempts.set(attempts);
        log::warn!(target: LOG, "{error}; connecting again in {:?}", attempts.delay);
        hub.arm(attempts.delay, |hub, reactor| Link::attempt(&hub, reactor));
        hub.schedule();
    }

    /// Twice an interval of heartbeats.
    fn beat(&mut self, transport: &mut Transport<'_>, seconds: u16) {
        // While nothing is read because of slow consumers, silence is our own.
        if self.has_heard || transport.is_reading_paused() {
            self.silent = 0;
        } else {
            self.silent += 1;
        }
        self.has_heard = false;
        if self.silent >= SILENT_BEATS {
            self.verdict = Some(Error::HeartbeatMissed(seconds));
            transport.abort_connection();
            return;
        }
        if !self.hub.output.is_fresh.replace(false) {
            self.hub.core.borrow_mut().send_heartbeat();
            self.hub.flush(transport);
            self.hub.output.is_fresh.set(false);
        }
        self.set_beat(transport, seconds);
    }

    fn set_beat(&self, transport: &mut Transport<'_>, seconds: u16) {
        let half = Duration::from_secs(seconds.into()) / BEATS;
        transport.call_later(half, move |link: &mut Link, transport| link.beat(transport, seconds));
    }

    /// The greeting may be over: then its deadline is, and heartbeats begin.
    fn look_at_phase(&mut self, transport: &mut Transport<'_>) {
        let heartbeat = {
            let core = self.hub.core.borrow();
            if core.is_greeting() {
                return;
            }
            core.limits.heartbeat
        };
        if let Some(deadline) = self.deadline.take() {
            transport.cancel(deadline);
            let mut attempts = self.hub.attempts.get();
            attempts.opened = Some(transport.now());
            self.hub.attempts.set(attempts);
        }
        if heartbeat != 0 && !std::mem::replace(&mut self.is_beating, true) {
            self.set_beat(transport, heartbeat);
        }
    }
}

/// Time and chance, from whichever hands them out.
struct Seams {
    now: Instant,
    chance: [u8; 4],
}

impl Seams {
    // Where there is no chance to be had there is no jitter: the server is only a little worse
    // off.

    fn of_reactor(reactor: &mut Reactor) -> Seams {
        let mut chance = [0; 4];
        let _ = reactor.random(&mut chance);
        Seams { now: reactor.now(), chance }
    }

    fn of_transport(transport: &mut Transport<'_>) -> Seams {
        let mut chance = [0; 4];
        let _ = transport.random(&mut chance);
        Seams { now: transport.now(), chance }
    }

    /// Somewhere from half of `delay` to all of it.
    fn jittered(&self, delay: Duration) -> Duration {
        let part = f64::from(u32::from_le_bytes(self.chance)) / f64::from(u32::MAX);
        delay / 2 + (delay / 2).mul_f64(part)
    }
}

impl Protocol for Link {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> ropewalk_reactor::Result {
        let timeout = {
            let mut core = self.hub.core.borrow_mut();
            if matches!(core.phase(), Phase::Over(_)) {
                transport.abort_connection();
                return Ok(());
            }
            core.connected();
            core.options.connection_timeout
        };
        self.hub.link.set(Some(transport.id()));
        let deadline = transport.call_later(timeout, |link: &mut Link, transport| {
            link.verdict = Some(Error::TimedOut);
            transport.abort_connection();
        });
        self.deadline = Some(deadline);
        self.hub.flush(transport);
        Ok(())
    }

    fn data_received(
        &mut self,
        transport: &mut Transport<'_>,
        data: &mut BytesMut,
    ) -> ropewalk_reactor::Result {
        self.has_heard = true;
        let taken = self.hub.core.borrow_mut().received(data);
        match taken {
            Ok(Reading::On) => self.look_at_phase(transport),
            Ok(Reading::Paused) => {
                self.hub.is_paused.set(true);
                transport.pause_reading();
            }
            Err(error) => {
                data.clear();
                self.verdict.get_or_insert(error);
                self.hub.flush(transport);
                transport.lose_connection();
                return Ok(());
            }
        }
        self.hub.flush(transport);
        self.hub.schedule();
        Ok(())
    }

    fn pause_producing(&mut self, _transport: &mut Transport<'_>) {
        self.hub.output.is_congested.set(true);
        self.hub.output.will_resume.set(true);
    }

    fn resume_producing(&mut self, _transport: &mut Transport<'_>) {
        self.hub.output.will_resume.set(false);
        self.hub.schedule();
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        let is_stopping = matches!(reason, Reason::Stopped);
        let error = self.verdict.take().unwrap_or_else(|| {
            let core = self.hub.core.borrow();
            match (core.phase(), reason) {
                // What servers do that do not say why they refuse.
                (Phase::AwaitingTune | Phase::AwaitingOpen, Reason::Done | Reason::Reset(_)) => {
                    Error::Refused
                }
                _ => Error::ConnectionLost(reason.to_string().into()),
            }
        });
        self.hub.output.will_resume.set(false);
        Link::ended(&self.hub, Seams::of_transport(transport), error, is_stopping);
    }
}

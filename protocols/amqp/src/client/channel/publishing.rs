//! Publishing, with confirms, returns and transactions.

use bytes::Bytes;
use ropewalk_reactor::{Deferred, Promise, Reactor};

use super::Channel;
use crate::client::confirms::Confirms;
use crate::client::declare::Publish;
use crate::client::error::fail;
use crate::client::lane::Mode;
use crate::client::message::{Confirmation, Returned};
use crate::client::publishing::Outgoing;
use crate::client::requests::Request;
use crate::client::{Error, Properties, Result};
use crate::codec::method::{confirm, tx};

impl Channel {
    /// Publishes a message. `Ok` means that it is on its way, and no more than that:
    /// [`publish_confirmed`](Self::publish_confirmed) tells what became of it.
    ///
    /// It never waits. Whoever publishes much awaits [`Connection::ready`](crate::client::Connection::ready) now and then, or gets
    /// [`Error::OutputFull`] in the end.
    ///
    /// # Errors
    /// [`Error::Reconnecting`], [`Error::OutputFull`], [`Error::TooLong`], [`Error::TooLarge`], or
    /// why the channel is closed; nothing has been sent then.
    pub fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: impl AsRef<Properties>,
        body: impl Into<Bytes>,
    ) -> Result {
        let (properties, body) = (properties.as_ref(), &body.into());
        self.put(&Outgoing { exchange, routing_key, mandatory: false, properties, body }, None)
    }

    /// As [`publish`](Self::publish), with all that can be said of it.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_with(&self, publish: Publish<'_>, body: impl Into<Bytes>) -> Result {
        let Publish { exchange, routing_key, mandatory, properties } = publish;
        let (properties, body) = (&properties, &body.into());
        self.put(&Outgoing { exchange, routing_key, mandatory, properties, body }, None)
    }

    /// Publishes a message, and tells what became of it. The first use makes this a channel with
    /// confirms.
    ///
    /// Fails with [`Error::Unconfirmed`] if the connection or the channel ends first: the server
    /// may or may not have the message. Any other error: nothing has been sent.
    pub fn publish_confirmed(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: impl AsRef<Properties>,
        body: impl Into<Bytes>,
    ) -> Deferred<Confirmation> {
        let (properties, body) = (properties.as_ref(), &body.into());
        self.put_confirmed(&Outgoing { exchange, routing_key, mandatory: false, properties, body })
    }

    /// As [`publish_confirmed`](Self::publish_confirmed), with all that can be said of it. A
    /// mandatory message that comes back is [`Confirmation::Returned`].
    pub fn publish_confirmed_with(
        &self,
        publish: Publish<'_>,
        body: impl Into<Bytes>,
    ) -> Deferred<Confirmation> {
        let Publish { exchange, routing_key, mandatory, properties } = publish;
        let (properties, body) = (&properties, &body.into());
        self.put_confirmed(&Outgoing { exchange, routing_key, mandatory, properties, body })
    }

    /// Asks for confirms of all that is published from now on.
    pub fn confirm_select(&self) -> Deferred<()> {
        if let Some(error) = self.mode_forbids(|mode| matches!(mode, Mode::Transaction)) {
            return self.refused(&error);
        }
        self.ask(|core, number, promise| {
            if let Some(lane) = core.lane_mut(number)
                && let Mode::Plain = lane.mode
            {
                lane.mode = Mode::Confirm(Confirms::default());
            }
            let request = Request::SelectConfirm(Some(promise));
            core.request(number, &confirm::Select::default(), request);
        })
    }

    /// Fires once all that was published so far on this channel with confirms is confirmed: with
    /// false if the server refused any of it since this was last asked. Fails with
    /// [`Error::Unconfirmed`] if confirms can no longer come.
    pub fn wait_for_confirms(&self) -> Deferred<bool> {
        let (promise, deferred) = self.shared.hub.local.deferred();
        let mut core = self.shared.hub.core.borrow_mut();
        if let Err(error) = self.usable(&mut core) {
            fail(promise, &error);
            return deferred;
        }
        match core.lane_mut(self.shared.number).map(|lane| &mut lane.mode) {
            Some(Mode::Confirm(confirms)) => confirms.when_settled(promise),
            _ => fail(promise, &Error::WrongMode("without confirms")),
        }
        deferred
    }

    /// Calls `callback` with each message that the server sends back, but for those of
    /// [`publish_confirmed_with`](Self::publish_confirmed_with), whose confirmation says so.
    pub fn on_return(&self, callback: impl FnMut(&mut Reactor, Returned) + 'static) {
        let callback = Box::new(callback);
        self.set(|lane| lane.on_return.replace(callback));
    }

    // Transactions.

    /// Makes the channel transactional: what is published and acknowledged on it counts with the
    /// next [`tx_commit`](Self::tx_commit). What was under way when a connection is lost is lost.
    pub fn tx_select(&self) -> Deferred<()> {
        if let Some(error) = self.mode_forbids(|mode| matches!(mode, Mode::Confirm(_))) {
            return self.refused(&error);
        }
        self.ask(|core, number, promise| {
            if let Some(lane) = core.lane_mut(number) {
                lane.mode = Mode::Transaction;
            }
            core.request(number, &tx::Select {}, Request::SelectTx(promise));
        })
    }

    /// Makes all since the last one count.
    pub fn tx_commit(&self) -> Deferred<()> {
        self.ask(|core, number, promise| {
            core.request(number, &tx::Commit {}, Request::CommitTx(promise));
        })
    }

    /// Forgets all since the last one.
    pub fn tx_rollback(&self) -> Deferred<()> {
        self.ask(|core, number, promise| {
            core.request(number, &tx::Rollback {}, Request::RollbackTx(promise));
        })
    }

    // Helpers.

    fn put(&self, message: &Outgoing<'_>, promise: Option<Promise<Confirmation>>) -> Result {
        let hub = &self.shared.hub;
        let mut core = hub.core.borrow_mut();
        let checked = self.usable(&mut core).and_then(|()| {
            core.check_message(self.shared.number, message, hub.output.buffered.get())
        });
        match (checked, promise) {
            (Ok(()), promise) => core.publish(self.shared.number, message, promise),
            (Err(error), None) => {
                drop(core);
                hub.schedule(); // perhaps there is room, and nobody has looked
                return Err(error);
            }
            (Err(error), Some(promise)) => fail(promise, &error),
        }
        drop(core);
        hub.schedule();
        Ok(())
    }

    fn put_confirmed(&self, message: &Outgoing<'_>) -> Deferred<Confirmation> {
        if let Some(error) = self.mode_forbids(|mode| matches!(mode, Mode::Transaction)) {
            return self.refused(&error);
        }
        let (promise, deferred) = self.shared.hub.local.deferred();
        let _ = self.put(message, Some(promise)); // with a promise, that is told
        deferred
    }
}

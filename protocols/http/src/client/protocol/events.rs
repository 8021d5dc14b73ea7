//! The reactor's events, as the client takes them, or hands them to the protocol that has taken the
//! connection over.

use std::any::{Any, TypeId};

use bytes::{Buf, BytesMut};
use ropewalk_reactor::protocol::layer_of;
use ropewalk_reactor::{Error, Protocol, Reason, Result, Transport};

use super::HttpClient;
use crate::client::Failure;
use crate::client::exchange::Production;

impl Protocol for HttpClient {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        self.settle(transport, Some(0));
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        if self.flow.heir.is_none() {
            let used = self.pump(transport, data);
            if used == data.len() {
                data.clear();
            } else {
                data.advance(used);
            }
            self.settle(transport, Some(data.len()));
        }
        let Some(heir) = &mut self.flow.heir else { return Ok(()) };
        if std::mem::take(&mut self.flow.heir_is_fresh) {
            heir.connection_made(transport)?;
        }
        if data.is_empty() { Ok(()) } else { heir.data_received(transport, data) }
    }

    fn handshake_completed(&mut self, transport: &mut Transport<'_>) -> Result {
        match &mut self.flow.heir {
            Some(heir) => heir.handshake_completed(transport),
            None => {
                if let Some(promise) = self.flow.handshake.take() {
                    promise.succeed(());
                }
                self.settle(transport, None);
                Ok(())
            }
        }
    }

    fn read_closed(&mut self, transport: &mut Transport<'_>) -> Result {
        if let Some(heir) = &mut self.flow.heir {
            return heir.read_closed(transport);
        }
        self.connection.end_input();
        self.pump(transport, &[]);
        self.settle(transport, Some(0));
        Ok(())
    }

    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        if let Some(heir) = &mut self.flow.heir {
            return heir.pause_producing(transport);
        }
        self.flow.is_congested = true;
        if self.connection.takes_body() {
            self.handle(transport, |handler, exchange| {
                handler.pause_producing(exchange);
                Ok(())
            });
        }
        self.settle(transport, None);
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        if let Some(heir) = &mut self.flow.heir {
            return heir.resume_producing(transport);
        }
        self.flow.is_congested = false;
        if self.connection.takes_body() && self.flow.production != Production::NotYet {
            self.produce(transport);
        }
        self.settle(transport, None);
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        if let Some(heir) = &mut self.flow.heir {
            return heir.connection_lost(transport, reason);
        }
        if let Some(promise) = self.flow.handshake.take() {
            promise.fail(Error::Lost(reason.to_string()));
        }
        let begun = self.connection.is_answer_begun();
        self.connection.give_up();
        let Some(mut handler) = self.flow.handler.take() else { return };
        let failure = self.flow.failure.take().unwrap_or_else(|| match begun {
            true => Failure::Cut(reason.clone()),
            false => Failure::Unanswered(reason.clone()),
        });
        handler.exchange_lost(&failure);
    }

    fn layer(&mut self, of: TypeId) -> Option<&mut dyn Any> {
        layer_of(self.flow.heir.as_deref_mut()?, of)
    }
}

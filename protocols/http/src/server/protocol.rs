//! The reactor's events, as the server takes them, or hands them to the protocol that has taken the
//! connection over.

use std::any::{Any, TypeId};

use bytes::{Buf, BytesMut};
use ropewalk_reactor::protocol::layer_of;
use ropewalk_reactor::{Protocol, Reason, Result, Transport};

use super::{Cut, HttpServer};
use crate::ExchangeId;

impl Protocol for HttpServer {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        if let Some(site) = &self.site {
            site.connection_made(transport.id());
        }
        self.settle(transport, Some(false));
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        if self.flow.upgraded.is_none() {
            self.flow.wall = None;
            self.borrow();
            let (used, result) = self.pump(transport, data);
            if used == data.len() {
                data.clear();
            } else {
                data.advance(used);
            }
            self.settle(transport, Some(!data.is_empty()));
            result?;
        }
        self.begin_upgrade(transport)?;
        let Some(inner) = &mut self.flow.upgraded else { return Ok(()) };
        if data.is_empty() { Ok(()) } else { inner.data_received(transport, data) }
    }

    fn read_closed(&mut self, transport: &mut Transport<'_>) -> Result {
        if let Some(inner) = &mut self.flow.upgraded {
            return inner.read_closed(transport);
        }
        self.flow.wall = None;
        self.connection.end_input();
        let (_, result) = self.pump(transport, &[]);
        self.settle(transport, Some(false));
        result
    }

    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        if let Some(inner) = &mut self.flow.upgraded {
            return inner.pause_producing(transport);
        }
        self.flow.wall = None;
        self.flow.is_congested = true;
        let result = self.follower(transport, |handler, exchange| {
            handler.pause_producing(exchange);
            Ok(())
        });
        let result = result.and_then(|()| self.go_on(transport));
        self.conclude(transport, result);
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        if let Some(inner) = &mut self.flow.upgraded {
            return inner.resume_producing(transport);
        }
        self.flow.wall = None;
        self.flow.is_congested = false;
        let result = self
            .follower(transport, |handler, exchange| handler.resume_producing(exchange))
            .or_else(|error| self.handler_failed(transport, error))
            .and_then(|()| self.go_on(transport));
        self.conclude(transport, result);
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        if let Some(inner) = &mut self.flow.upgraded {
            return inner.connection_lost(transport, reason);
        }
        if let Some(site) = self.site.take() {
            site.connection_gone(transport.id());
        }
        self.write_down_lost(transport);
        match self.flow.current.take() {
            Some(mut current) => current.exchange_lost(reason),
            None if self.connection.is_answering() || self.failure == Some(Cut::Exchange) => {
                let id = ExchangeId::new(transport.id(), self.connection.number());
                self.handler.exchange_lost(id, reason);
            }
            None => {}
        }
    }

    fn layer(&mut self, of: TypeId) -> Option<&mut dyn Any> {
        layer_of(self.flow.upgraded.as_deref_mut()?, of)
    }
}

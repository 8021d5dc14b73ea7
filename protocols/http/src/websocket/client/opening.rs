//! A client's connection: the request, the answer, and from there on the WebSocket inside.

use std::any::{Any, TypeId};
use std::rc::Rc;

use bytes::{Buf, BytesMut};
use ropewalk_reactor::protocol::layer_of;
use ropewalk_reactor::{Protocol, Reason, Result, Transport};

use super::response::read;
use super::{HandshakeError, Shared, WebSocketClient, fire};
use crate::codec::encode::write_fields;
use crate::websocket::handshake::{KEY, key};
use crate::websocket::{WebSocketHandler, WebSocketProtocol};

/// How far it is.
enum Stage {
    /// The request is out, or goes out with the first event.
    Awaited {
        key: String,
        handler: Box<dyn WebSocketHandler>,
    },
    Open(Box<WebSocketProtocol>),
    Failed,
}

/// One connection of a client.
pub(super) struct Opening {
    client: Rc<WebSocketClient>,
    stage: Stage,
    promise: Option<Shared>,
}

impl Opening {
    pub(super) fn new(
        client: Rc<WebSocketClient>,
        handler: Box<dyn WebSocketHandler>,
        promise: Option<Shared>,
    ) -> Self {
        Self { client, stage: Stage::Awaited { key: String::new(), handler }, promise }
    }

    /// Whether whoever asked for it still waits.
    fn is_wanted(&self) -> bool {
        let Some(promise) = &self.promise else { return true };
        promise.borrow().as_ref().is_some_and(|promise| promise.is_wanted())
    }

    fn fail(&mut self, error: HandshakeError) -> ropewalk_reactor::BoxError {
        self.stage = Stage::Failed;
        if let Some(promise) = &self.promise {
            fire(promise, Err(ropewalk_reactor::Error::Other(Box::new(error.clone()))));
        }
        Box::new(error)
    }

    /// The answer is whole, or not yet.
    fn answered(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        let Stage::Awaited { key, .. } = &self.stage else { return Ok(()) };
        let opened = match read(data, key, &self.client) {
            Ok(None) => return Ok(()),
            Ok(Some((opened, size))) => {
                data.advance(size);
                opened
            }
            Err(error) => {
                data.clear();
                return Err(self.fail(error));
            }
        };
        if !self.is_wanted() {
            transport.abort_connection();
            return Ok(());
        }
        if let Stage::Awaited { handler, .. } = std::mem::replace(&mut self.stage, Stage::Failed) {
            let config = self.client.config.clone();
            let mut protocol = WebSocketProtocol::agreed_client(
                config,
                opened.agreed,
                opened.subprotocol,
                handler,
            );
            let result = protocol.connection_made(transport);
            self.stage = Stage::Open(Box::new(protocol));
            if let Some(promise) = &self.promise {
                fire(promise, Ok(transport.id()));
            }
            result?;
        }
        Ok(())
    }
}

impl Protocol for Opening {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        if !self.is_wanted() {
            transport.abort_connection();
            return Ok(());
        }
        let mut octets = [0; KEY];
        transport.random(&mut octets)?;
        let nonce = key(octets);
        let mut request = self.client.request(&nonce).into_bytes();
        write_fields(&mut request, &self.client.headers);
        request.extend_from_slice(b"\r\n");
        transport.write(&request);
        if let Stage::Awaited { key, .. } = &mut self.stage {
            *key = nonce;
        }
        transport.call_later(self.client.handshake_timeout, |this: &mut Self, transport| {
            if matches!(this.stage, Stage::Awaited { .. }) {
                let error = this.fail(HandshakeError::TimedOut);
                log::warn!(target: crate::LOG, "{}: {error}", transport.peer());
                transport.abort_connection();
            }
        });
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        if matches!(self.stage, Stage::Awaited { .. }) {
            self.answered(transport, data)?;
        }
        match &mut self.stage {
            Stage::Open(inner) if !data.is_empty() => inner.data_received(transport, data),
            _ => Ok(()),
        }
    }

    fn read_closed(&mut self, transport: &mut Transport<'_>) -> Result {
        match &mut self.stage {
            Stage::Open(inner) => inner.read_closed(transport),
            Stage::Awaited { .. } => Err(self.fail(HandshakeError::Closed)),
            Stage::Failed => {
                transport.lose_connection();
                Ok(())
            }
        }
    }

    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        if let Stage::Open(inner) = &mut self.stage {
            inner.pause_producing(transport);
        }
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        if let Stage::Open(inner) = &mut self.stage {
            inner.resume_producing(transport);
        }
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        match &mut self.stage {
            Stage::Open(inner) => inner.connection_lost(transport, reason),
            Stage::Awaited { .. } => drop(self.fail(HandshakeError::Closed)),
            Stage::Failed => {}
        }
    }

    fn layer(&mut self, of: TypeId) -> Option<&mut dyn Any> {
        match &mut self.stage {
            Stage::Open(inner) => layer_of(&mut **inner, of),
            _ => None,
        }
    }
}

//! A way through a proxy to a server (CONNECT, RFC 9110 §9.3.6), and TLS inside it.

use ropewalk_reactor::tls::StartTls;
use ropewalk_reactor::{ConnectionId, Deferred, Error, Local, Promise, Result};

use crate::client::{Exchange, Failure, HttpClient, RequestBody, RequestHead, ResponseHandler};
use crate::codec::ResponseHead;
use crate::{Headers, Status};

/// What a proxy answers: a handshake that has begun, or the status with which it refuses.
type Opened = Result<Deferred<()>, Status>;

/// Sends `head`, a CONNECT request, and begins TLS when the proxy has opened the way.
pub(super) async fn open(
    local: &Local,
    id: ConnectionId,
    head: RequestHead,
    tls: StartTls,
) -> Result<Opened, Error> {
    let (promise, opened) = local.deferred();
    let opener = Opener { promise: Some(promise), tls: Some(tls) };
    let sent = local.call(move |reactor| {
        reactor.with_protocol::<HttpClient, _>(id, |client, transport| {
            client.send(transport, &head, RequestBody::Empty, Box::new(opener)).is_ok()
        })
    });
    match sent.await? {
        Some(true) => opened.await,
        _ => Err(Error::Gone),
    }
}

struct Opener {
    promise: Option<Promise<Opened>>,
    tls: Option<StartTls>,
}

impl Opener {
    fn tell(&mut self, result: Result<Opened, Error>) {
        if let Some(promise) = self.promise.take() {
            promise.fire(result);
        }
    }
}

impl ResponseHandler for Opener {
    fn head_received(&mut self, exchange: &mut Exchange<'_>, head: &ResponseHead) -> Result {
        match self.tls.take() {
            Some(tls) if head.status().is_success() => {
                let handshake = exchange.start_tls(tls);
                self.tell(Ok(Ok(handshake)));
            }
            _ => {
                self.tell(Ok(Err(head.status())));
                exchange.abort(); // its page tells a person what the status tells us
            }
        }
        Ok(())
    }

    fn body_received(&mut self, _: &mut Exchange<'_>, _: &[u8]) -> Result {
        Ok(())
    }

    fn body_ended(&mut self, _: &mut Exchange<'_>, _: &Headers) -> Result {
        Ok(())
    }

    fn exchange_lost(&mut self, failure: &Failure) {
        self.tell(Err(Error::Lost(failure.to_string())));
    }
}

//! Messages over streams: the client sends what is open whenever it is connected again, and the
//! server answers each with how many it has.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use ropewalk_reactor::{
    ConnectOptions, ConnectionOptions, Deferred, Error, ListenOptions, Protocol, Reactor, Reason,
    ReconnectingClient, Result, Transport,
};

use crate::common::Chance;
use crate::world::{Kind, World, payload};

/// A client that hears nothing for so many of its pauses begins anew.
const PATIENCE: u32 = 8;
const PATH: &str = "unix:/run/server";
#[cfg(feature = "_tls")]
const TLS_HANDSHAKE: Duration = Duration::from_secs(60);

fn options() -> ConnectionOptions {
    // Whoever is gone without a word is found.
    ConnectionOptions::default().keep_alive(Some(Duration::from_secs(10)))
}

#[cfg(feature = "_tls")]
fn tls_server() -> ropewalk_reactor::tls::TlsServer {
    let server = crate::common::certificates::server_builder();
    server.handshake_timeout(TLS_HANDSHAKE).build().expect("good certificates")
}

#[cfg(feature = "_tls")]
fn tls_client() -> ropewalk_reactor::tls::TlsClient {
    use crate::common::certificates::{NAME, client_builder};
    let client = client_builder().server_name(NAME).handshake_timeout(TLS_HANDSHAKE);
    client.build().expect("good certificates")
}

pub(crate) fn serve(world: &Rc<World>, reactor: &mut Reactor) -> Result {
    let listening = ListenOptions::default().connection(options());
    let factory = |world: &Rc<World>| {
        let world = world.clone();
        move |_| Server::new(&world)
    };
    reactor.listen_with(listening.clone(), "0.0.0.0:7", factory(world))?;
    reactor.listen_with(listening.clone(), PATH, factory(world))?;
    #[cfg(feature = "_tls")]
    reactor.listen_with(listening.tls(tls_server()), "server:8", factory(world))?;
    Ok(())
}

pub(crate) fn begin(world: &Rc<World>, client: u32, kind: Kind, reactor: &mut Reactor) {
    let connecting = ConnectOptions::default().connection(options());
    let (address, connecting) = match kind {
        #[cfg(feature = "_tls")]
        Kind::Tls => ("server:8", connecting.tls(tls_client())),
        Kind::UnixStream => (PATH, connecting),
        _ => ("server:7", connecting),
    };
    let keeps = Rc::new(Cell::new(None::<Deferred<Error>>));
    let (shared, held) = (world.clone(), keeps.clone());
    let coming_back = ReconnectingClient::new(address).expect("a good address");
    let coming_back = coming_back.options(connecting).max_delay(Duration::from_secs(10));
    let going_on = coming_back.start(reactor, move |_| Client::new(&shared, client, held.clone()));
    keeps.set(Some(going_on));
}

/// What every protocol here looks at.
struct Stage {
    world: Rc<World>,
    made: bool,
    lost: bool,
    who: String,
}

impl Stage {
    fn new(world: &Rc<World>, who: String) -> Self {
        Self { world: world.clone(), made: false, lost: false, who }
    }

    fn made(&mut self) {
        self.world.expect(!self.made && !self.lost, format_args!("{}: made twice", self.who));
        self.made = true;
    }

    fn on(&self, what: &str) {
        let kept = self.made && !self.lost;
        self.world.expect(kept, format_args!("{}: {what} before or after its time", self.who));
    }

    fn lost(&mut self, reason: &Reason) {
        self.on("lost");
        self.lost = true;
        self.world.note(format_args!("{}: lost: {reason:?}", self.who));
        let reason = format!("{reason:?}");
        self.world.mark(reason.split('(').next().unwrap_or_default());
    }
}

struct Server {
    stage: Stage,
    chance: Chance,
}

impl Server {
    fn new(world: &Rc<World>) -> Self {
        Self { stage: Stage::new(world, "server".to_owned()), chance: world.chance() }
    }

    /// Something that no client deserves.
    fn misbehave(&mut self, transport: &mut Transport<'_>) -> Result {
        match self.chance.below(5) {
            0 => {
                self.stage.world.mark("fails");
                return Err("a story's error".into());
            }
            1 => {
                self.stage.world.mark("panics");
                std::panic::resume_unwind(Box::new("a story's panic"));
            }
            2 => transport.abort_connection(),
            3 => transport.lose_connection(),
            _ => {
                self.stage.world.mark("pauses");
                transport.pause_reading();
                let long = Duration::from_millis(self.chance.below(20_000));
                transport.call_later(long, |_: &mut Self, transport| transport.resume_reading());
            }
        }
        Ok(())
    }
}

impl Protocol for Server {
    fn connection_made(&mut self, _: &mut Transport<'_>) -> Result {
        self.stage.made();
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        self.stage.on("data");
        let mut answers = Vec::new();
        while let Some((client, number, length)) = head(data) {
            if data.len() < 10 + length {
                break;
            }
            data.advance(10);
            let count = self.stage.world.take(client, number, &data.split_to(length));
            answers.extend_from_slice(&client.to_be_bytes());
            answers.extend_from_slice(&(count as u32).to_be_bytes());
        }
        transport.write(&answers);
        if self.stage.world.is_mischievous() {
            return self.misbehave(transport);
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.stage.lost(reason);
    }
}

/// Client, number, length: 4, 4 and 2 bytes.
fn head(data: &[u8]) -> Option<(u32, usize, usize)> {
    let (client, rest) = data.split_first_chunk::<4>()?;
    let (number, rest) = rest.split_first_chunk::<4>()?;
    let (length, _) = rest.split_first_chunk::<2>()?;
    let number = u32::from_be_bytes(*number) as usize;
    Some((u32::from_be_bytes(*client), number, u16::from_be_bytes(*length) as usize))
}

struct Client {
    stage: Stage,
    client: u32,
    chance: Chance,
    /// What comes back, until it is cancelled.
    keeps: Rc<Cell<Option<Deferred<Error>>>>,
    /// The next to be sent on this connection.
    next: usize,
    heard: bool,
}

impl Client {
    fn new(world: &Rc<World>, client: u32, keeps: Rc<Cell<Option<Deferred<Error>>>>) -> Self {
        Self {
            stage: Stage::new(world, format!("client{client}")),
            client,
            chance: world.chance(),
            keeps,
            next: world.open(client).start,
            heard: true,
        }
    }

    /// Says something new now and then.
    fn beat(&mut self, transport: &mut Transport<'_>) {
        self.stage.on("a timer");
        let most = 1 + self.chance.below(4) as usize;
        for _ in 0..most {
            if self.next < self.stage.world.open(self.client).end {
                let data = payload(self.client, self.next);
                self.stage.world.sends(self.client, self.next);
                let mut message = self.client.to_be_bytes().to_vec();
                message.extend_from_slice(&(self.next as u32).to_be_bytes());
                message.extend_from_slice(&(data.len() as u16).to_be_bytes());
                message.extend_from_slice(&data);
                transport.write(&message);
                self.next += 1;
            }
        }
        let delay = self.stage.world.pause();
        transport.call_later(delay, |client: &mut Self, transport| client.beat(transport));
    }

    fn look(&mut self, transport: &mut Transport<'_>) {
        if !std::mem::take(&mut self.heard) {
            self.stage.world.note(format_args!("{}: hears nothing", self.stage.who));
            return transport.abort_connection();
        }
        let patience = self.stage.world.pace * PATIENCE;
        transport.call_later(patience, |client: &mut Self, transport| client.look(transport));
    }

    fn is_over(&mut self, transport: &mut Transport<'_>) -> bool {
        let over = self.stage.world.has_all_acknowledged(self.client);
        if over {
            if let Some(mut keeps) = self.keeps.take() {
                keeps.cancel();
            }
            transport.lose_connection();
        }
        over
    }
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        self.stage.made();
        if !self.is_over(transport) {
            self.beat(transport);
            self.look(transport);
        }
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        self.stage.on("data");
        self.heard = true;
        while data.len() >= 8 {
            let (client, count) = (data.get_u32(), data.get_u32());
            let own = client == self.client;
            self.stage.world.expect(own, format_args!("{}: another's answer", self.stage.who));
            self.stage.world.acknowledged(client, count as usize);
        }
        self.is_over(transport);
        Ok(())
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.stage.lost(reason);
    }
}

//! Stories in which some connections speak TLS: from the beginning, or from the middle on.

use ropewalk_reactor::tls::{StartTls, TlsClient, TlsServer};
use ropewalk_reactor::{ConnectOptions, ListenOptions, Reason, Result, Transport};

use crate::common::Chance;
use crate::common::certificates::{NAME, client_builder, server};
use crate::oracle::Side;

/// What all connections of a story have in common: sessions are resumed within it, and not in
/// another, for then none would replay.
pub(crate) struct Secrecy {
    server: TlsServer,
    client: TlsClient,
}

/// How one connection begins.
#[derive(Clone)]
pub(crate) enum Opening {
    Open,
    /// With TLS from the beginning.
    Secret,
    /// With some bytes in the open, and then TLS.
    Turning(Turning),
}

/// One end's part in beginning TLS: the client says so many bytes, the server answers with as many as
/// were agreed on, and each begins when it has the other's.
#[derive(Clone)]
pub(crate) struct Turning {
    tls: StartTls,
    pub(crate) says: usize,
    pub(crate) awaits: usize,
}

impl Secrecy {
    pub(crate) fn new() -> Self {
        let client = client_builder().server_name(NAME).build().expect("good certificates");
        Self { server: server(), client }
    }

    /// How the two ends of a connection begin.
    pub(crate) fn choose(&self, chance: &mut Chance) -> (Opening, Opening) {
        match chance.below(3) {
            0 => (Opening::Open, Opening::Open),
            1 => (Opening::Secret, Opening::Secret),
            _ => {
                let (call, answer) =
                    (1 + chance.below(500) as usize, 1 + chance.below(500) as usize);
                let client = self.client.to(NAME).expect("a name");
                (
                    Opening::Turning(Turning { tls: client, says: call, awaits: answer }),
                    Opening::Turning(Turning {
                        tls: (&self.server).into(),
                        says: answer,
                        awaits: call,
                    }),
                )
            }
        }
    }

    pub(crate) fn listening(&self, opening: &Opening, options: ListenOptions) -> ListenOptions {
        match opening {
            Opening::Secret => options.tls(self.server.clone()),
            Opening::Open | Opening::Turning(_) => options,
        }
    }

    pub(crate) fn connecting(&self, opening: &Opening, options: ConnectOptions) -> ConnectOptions {
        match opening {
            Opening::Secret => options.tls(self.client.clone()),
            Opening::Open | Opening::Turning(_) => options,
        }
    }
}

impl Opening {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    pub(crate) fn turning(&self) -> Option<Turning> {
        match self {
            Self::Turning(turning) => Some(turning.clone()),
            Self::Open | Self::Secret => None,
        }
    }
}

impl Turning {
    pub(crate) fn begin(self, transport: &mut Transport<'_>) -> Result {
        Ok(transport.start_tls(self.tls)?)
    }

    /// The client speaks first.
    pub(crate) fn speaks_first(side: Side) -> bool {
        side == Side::Client
    }
}

/// A loss that only TLS knows: the peer closed before the handshake was done on its side, or had no
/// chance to take its leave.
pub(crate) fn was_cut_off(reason: &Reason) -> bool {
    use ropewalk_reactor::tls::Failure;
    match reason {
        Reason::Truncated => true,
        Reason::Tls(failure) => **failure == Failure::HandshakeCutOff,
        _ => false,
    }
}

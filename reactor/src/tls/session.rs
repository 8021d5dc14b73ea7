//! One TLS session: rustls's state machine, fed from buffers that the reactor owns. No socket, no
//! clock of its own; records go in and out of slices, so that an idle session holds no buffer.

use bytes::BytesMut;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{CommonState, Error};

use super::info::Info;
use super::{Side, certificates};

/// The most by which a record grows: 5 octets of header, 8 of nonce (TLS 1.2), 1 of type (TLS 1.3),
/// 16 of tag, and some for ciphers to come.
const RECORD_OVERHEAD: usize = 64;
/// The most plaintext of a record (RFC 8446 §5.1).
const RECORD_SIZE: usize = 16 * 1024;

pub(super) struct Session {
    connection: Connection,
    /// As the client asked for it (SNI).
    server_name: Option<Box<str>>,
}

enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What a piece of the wire was.
#[derive(Default)]
pub(super) struct Outcome {
    /// Bytes of it that are done with.
    pub(super) used: usize,
    /// The peer's close_notify is among them.
    pub(super) ended: bool,
    pub(super) failure: Option<Error>,
}

/// One answer of rustls.
enum Step {
    /// There may be more.
    Again,
    /// The peer's close_notify.
    Ended,
    /// No whole record is left.
    Idle,
}

impl Session {
    pub(super) fn new(side: Side) -> Result<Self, Error> {
        let (connection, server_name) = match side {
            Side::Server(server) => {
                let session = UnbufferedServerConnection::new(server.config())?;
                (Connection::Server(session), None)
            }
            Side::Client { client, name } => {
                let shown = match &name {
                    ServerName::DnsName(name) => Some(name.as_ref().into()),
                    _ => None, // an address is no SNI (RFC 6066 §3)
                };
                let session = UnbufferedClientConnection::new(client.config(), name)?;
                (Connection::Client(session), shown)
            }
        };
        Ok(Self { connection, server_name })
    }

    /// What this side says first, if it is the client.
    pub(super) fn greet(&mut self, output: &mut BytesMut) -> Result<(), Error> {
        let outcome = self.receive(&mut [], &mut BytesMut::new(), output);
        outcome.failure.map_or(Ok(()), Err)
    }

    /// Both sides have agreed.
    pub(super) fn is_established(&self) -> bool {
        !self.common().is_handshaking()
    }

    pub(super) fn info(&self) -> Option<Info<'_>> {
        let server_name = self.server_name.as_deref();
        self.is_established().then(|| Info::new(self.common(), server_name))
    }

    fn common(&self) -> &CommonState {
        match &self.connection {
            Connection::Server(session) => session,
            Connection::Client(session) => session,
        }
    }

    /// Deals with all whole records of `wire`: plaintext goes behind `data`, answers behind
    /// `output`. After a failure the alert that tells the peer is in `output`.
    pub(super) fn receive(
        &mut self,
        wire: &mut [u8],
        data: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let handshaking = !self.is_established();
        loop {
            let rest = &mut wire[outcome.used..];
            let (discard, step) = match &mut self.connection {
                Connection::Server(session) => {
                    step(session.process_tls_records(rest), data, output)
                }
                Connection::Client(session) => {
                    step(session.process_tls_records(rest), data, output)
                }
            };
            outcome.used += discard;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Ended) => outcome.ended = true,
                Ok(Step::Idle) => break,
                Err(error) => {
                    self.drain(output);
                    outcome.failure = Some(error);
                    break;
                }
            }
        }
        if handshaking && let Connection::Server(_) = self.connection {
            self.server_name = certificates::asked_for().or(self.server_name.take());
        }
        outcome
    }

    /// The alert that a failure has left.
    fn drain(&mut self, output: &mut BytesMut) {
        let mut nothing = BytesMut::new();
        while self.common().wants_write() {
            let (_, step) = match &mut self.connection {
                Connection::Server(session) => {
                    step(session.process_tls_records(&mut []), &mut nothing, output)
                }
                Connection::Client(session) => {
                    step(session.process_tls_records(&mut []), &mut nothing, output)
                }
            };
            if step.is_err() {
                return;
            }
        }
    }

    /// Seals `plain` into records behind `output`. `wire` is the part of a record that has arrived.
    pub(super) fn seal(
        &mut self,
        wire: &mut [u8],
        plain: &[u8],
        output: &mut BytesMut,
    ) -> Result<(), Error> {
        self.write(wire, output, Words::Data(plain))
    }

    /// Puts close_notify behind `output`.
    pub(super) fn say_goodbye(
        &mut self,
        wire: &mut [u8],
        output: &mut BytesMut,
    ) -> Result<(), Error> {
        self.write(wire, output, Words::Goodbye)
    }

    fn write(
        &mut self,
        wire: &mut [u8],
        output: &mut BytesMut,
        words: Words<'_>,
    ) -> Result<(), Error> {
        loop {
            let written = match &mut self.connection {
                Connection::Server(session) => {
                    written(session.process_tls_records(wire), words, output)
                }
                Connection::Client(session) => {
                    written(session.process_tls_records(wire), words, output)
                }
            };
            if written? {
                return Ok(());
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Words<'a> {
    Data(&'a [u8]),
    Goodbye,
}

/// Takes what one answer of rustls has in it, and tells how much of the wire is done with.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    data: &mut BytesMut,
    output: &mut BytesMut,
) -> (usize, Result<Step, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut records)) => loop {
            match records.next_record() {
                Some(Ok(record)) => {
                    data.extend_from_slice(record.payload);
                    discard += record.discard;
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::Again),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut message)) => {
            extend(output, 0, |room| match message.encode(room) {
                Ok(written) => Ok(written),
                Err(EncodeError::InsufficientSize(room)) => Err(Some(room.required_size)),
                Err(EncodeError::AlreadyEncoded) => Ok(0),
            })
            .map(|()| Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(message)) => {
            message.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Step::Ended),
        Ok(
            ConnectionState::BlockedHandshake
            | ConnectionState::WriteTraffic(_)
            | ConnectionState::Closed,
        ) => Ok(Step::Idle),
        // Early data can be replayed by anybody, so no configuration here accepts it.
        Ok(_) => Err(Error::General("a state that was not asked for".into())),
    };
    (discard, step)
}

/// Writes if rustls is ready for that; false if it had something else to say first.
fn written<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    words: Words<'_>,
    output: &mut BytesMut,
) -> Result<bool, Error> {
    // All whole records were dealt with when they came, so nothing can be discarded here.
    if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
        encrypt(&mut traffic, words, output)?;
        return Ok(true);
    }
    match step(status, &mut BytesMut::new(), output).1? {
        Step::Again => Ok(false),
        Step::Ended | Step::Idle => Ok(true), // closed on both sides: there is nothing to say
    }
}

fn encrypt<Data>(
    traffic: &mut WriteTraffic<'_, Data>,
    words: Words<'_>,
    output: &mut BytesMut,
) -> Result<(), Error> {
    let room = match words {
        Words::Data(plain) => plain.len() + (plain.len() / RECORD_SIZE + 1) * RECORD_OVERHEAD,
        Words::Goodbye => 2 + RECORD_OVERHEAD,
    };
    extend(output, room, |room| {
        let written = match words {
            Words::Data(plain) => traffic.encrypt(plain, room),
            Words::Goodbye => traffic.queue_close_notify(room),
        };
        written.map_err(|error| match error {
            EncryptError::InsufficientSize(room) => Some(room.required_size),
            EncryptError::EncryptExhausted => None,
        })
    })
}

/// Lets `write` write behind `output` into as much room as it needs: it answers how much it wrote,
/// or how much room that takes, or `None` if it cannot at all.
fn extend(
    output: &mut BytesMut,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), Error> {
    let before = output.len();
    loop {
        output.resize(before + room, 0);
        let written = write(&mut output[before..]);
        output.truncate(before + *written.as_ref().unwrap_or(&0));
        match written {
            Ok(_) => return Ok(()),
            Err(Some(needed)) if needed > room => room = needed,
            Err(_) => return Err(Error::EncryptError),
        }
    }
}

//! From the first octet to `connection.open-ok`: the greeting, the login, the limits, the virtual
//! host (AMQP 0-9-1 section 2.2.4).

use bytes::{Buf, BytesMut};
use log::{debug, warn};
use ropewalk_broker::{Access, Broker, ConnectionId, ErrorKind, OpenConnection};

use crate::codec::method::connection;
use crate::codec::{
    EncodeMethod, Error, FRAME_MIN_SIZE, Frame, FrameKind, LongStr, Method, MethodId,
    PROTOCOL_HEADER, ProtocolHeader, ReplyCode, ShortStr, Snippet, TableBuf,
};

use super::LOG;
use super::auth::{Authenticator, Credentials, Granted, Login, MECHANISMS, authenticate_user};
use super::config::Config;
use super::connection::{Context, Running, Session, Stage, unexpected};
use super::fault::Fault;
use super::peer::Peer;

/// What the client says of itself in `connection.start-ok`.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// It wants to be told when its consumer ends (`consumer_cancel_notify`).
    cancel_notify: bool,
    /// It wants to be told when it is not read for a while (`connection.blocked`).
    block_notify: bool,
    /// It wants a `connection.close` when its login is refused.
    authentication_failure_close: bool,
}

/// The capabilities that RabbitMQ 3.10 and LavinMQ send, all of which are served.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

impl Session {
    /// Takes the protocol header, once it is whole; false as long as no frames can follow.
    pub(crate) fn greet(&mut self, context: &mut Context<'_, '_>, data: &mut BytesMut) -> bool {
        let header = match ProtocolHeader::decode(data) {
            Some(header) => header,
            // What cannot become the header needs no eighth octet.
            None if b"AMQP".starts_with(&data[..data.len().min(4)]) => return false,
            None => {
                let mut octets = [0; ProtocolHeader::LEN];
                octets[..data.len()].copy_from_slice(data);
                ProtocolHeader::Mismatch(octets)
            }
        };
        if header != ProtocolHeader::Accepted {
            warn!(target: LOG, "{}: instead of AMQP 0-9-1 came {header}", self.peer);
            context.transport.write(&PROTOCOL_HEADER);
            data.clear();
            self.end(context);
            return false;
        }
        data.advance(ProtocolHeader::LEN);
        let properties = server_properties(&context.shared.config);
        let start = connection::Start {
            server_properties: properties.as_table(),
            mechanisms: LongStr(MECHANISMS),
            ..Default::default()
        };
        context.send(0, self.frame_max, &start);
        self.stage = Stage::Starting;
        true
    }

    /// A frame before the connection runs.
    pub(crate) fn handshake(
        &mut self,
        context: &mut Context<'_, '_>,
        frame: Frame<'_>,
    ) -> Result<(), Fault> {
        match (frame.kind, frame.channel) {
            (FrameKind::Heartbeat, _) => return Ok(()),
            (FrameKind::Method, 0) => {}
            (kind, _) => {
                let payload = Snippet::of(&frame.payload);
                let error = Error::UnexpectedFrame { kind: kind as u8, payload };
                return Err(Fault::of_codec(&error));
            }
        }
        let method = Method::decode(&frame.payload).map_err(|error| Fault::of_codec(&error))?;
        match (&mut self.stage, &method) {
            (Stage::Starting, Method::ConnectionStartOk(start_ok)) => {
                self.log_in(context, start_ok);
                Ok(())
            }
            (Stage::Tuning { user }, Method::ConnectionTuneOk(tune_ok)) => {
                let user = std::mem::take(user);
                self.tune(context, user, tune_ok)
            }
            (Stage::Opening { user }, Method::ConnectionOpen(open)) => {
                let user = std::mem::take(user);
                self.open(context, user, open)
            }
            (_, Method::ConnectionClose(close)) => {
                self.closed_by_client(context, close);
                Ok(())
            }
            (stage, method) => Err(unexpected(method, stage.name())),
        }
    }

    fn log_in(&mut self, context: &mut Context<'_, '_>, start_ok: &connection::StartOk<'_>) {
        let config = &context.shared.config;
        let capabilities = start_ok.client_properties.get_table("capabilities");
        let has = |name| capabilities.and_then(|table| table.get_bool(name)).unwrap_or(false);
        self.client = Client {
            cancel_notify: has("consumer_cancel_notify"),
            block_notify: has("connection.blocked"),
            authentication_failure_close: has("authentication_failure_close"),
        };
        let mechanism = start_ok.mechanism.as_bytes();
        let Credentials { user, password } = match Credentials::read(mechanism, start_ok.response.0)
        {
            Ok(found) => found,
            Err(reason) => return self.refuse_silently(context, &reason),
        };
        let login = Login { user, password, peer: self.peer.clone() };
        match authenticate(context, &login) {
            Ok(()) => {
                debug!(target: LOG, "{}: logged in as {}", self.peer, user.escape_ascii());
                let tune = connection::Tune {
                    channel_max: config.channel_max,
                    frame_max: config.frame_max,
                    heartbeat: config.heartbeat,
                };
                context.send(0, self.frame_max, &tune);
                self.stage = Stage::Tuning { user: user.into() };
            }
            Err(reason) => self.refuse(context, start_ok.mechanism, &reason),
        }
    }

    /// A login failed. The client is told if it wants to be, and in any case has to wait for its
    /// end.
    fn refuse(&mut self, context: &mut Context<'_, '_>, mechanism: ShortStr<'_>, reason: &str) {
        if !self.client.authentication_failure_close {
            return self.refuse_silently(context, reason);
        }
        warn!(target: LOG, "{}: login refused: {reason}", self.peer);
        let text = format!(
            "Login was refused using authentication mechanism {mechanism}. \
             For details see the broker logfile."
        );
        let fault = Fault::new(ReplyCode::AccessRefused, MethodId::NONE, text);
        self.close(context, &fault, context.shared.config.refusal_delay);
    }

    /// What came is no login at all, or one of a client that cannot hear of its failure. RabbitMQ
    /// says nothing to either.
    fn refuse_silently(&mut self, context: &mut Context<'_, '_>, reason: &str) {
        warn!(target: LOG, "{}: login refused: {reason}", self.peer);
        self.stage = Stage::Ended;
        self.set_deadline(context, Some(context.shared.config.refusal_delay));
    }

    fn tune(
        &mut self,
        context: &mut Context<'_, '_>,
        user: Box<[u8]>,
        tune_ok: &connection::TuneOk,
    ) -> Result<(), Fault> {
        let connection::TuneOk { channel_max, frame_max, heartbeat } = *tune_ok;
        let config = &context.shared.config;
        check_limit("frame_max", FRAME_MIN_SIZE, config.frame_max, frame_max)?;
        check_limit("channel_max", 1, config.channel_max.into(), channel_max.into())?;
        self.frame_max = frame_max;
        self.channel_max = channel_max;
        self.pulse.set_interval(heartbeat);
        self.stage = Stage::Opening { user };
        Ok(())
    }

    fn open(
        &mut self,
        context: &mut Context<'_, '_>,
        user: Box<[u8]>,
        open: &connection::Open<'_>,
    ) -> Result<(), Fault> {
        let vhost = open.virtual_host.as_bytes();
        let key = context.hub.next_key();
        let opened = {
            let cancel_notify = self.client.cancel_notify;
            let open = OpenConnection { vhost, user: &user, key: key as u64, cancel_notify };
            let broker = &mut context.hub.broker;
            match &context.shared.config.authenticator {
                None => broker.open_connection_as_user(&open),
                Some(authenticator) => open_as_told(broker, &**authenticator, &open),
            }
        };
        let id = opened.map_err(|error| Fault::of_broker(&error, open.id()))?;
        let mut peer = Peer::new(context.transport.id(), id, self.frame_max);
        peer.block_notify = self.client.block_notify;
        context.hub.enter(peer);
        self.stage = Stage::Running(Running { key, id, user, vhost: vhost.into() });
        self.set_deadline(context, None);
        self.start_beating(context);
        context.send(0, self.frame_max, &connection::OpenOk::default());
        Ok(())
    }

    /// A token that runs out is replaced by a new one, which must be good. What the user may do is
    /// asked anew: consumers of queues that it may not read any more are cancelled.
    pub(crate) fn update_secret(
        &mut self,
        context: &mut Context<'_, '_>,
        update: &connection::UpdateSecret<'_>,
    ) -> Result<(), Fault> {
        let Stage::Running(running) = &self.stage else { return Ok(()) };
        let (user, password) = (&*running.user, update.new_secret.0);
        let login = Login { user, password, peer: self.peer.clone() };
        if let Err(reason) = authenticate(context, &login) {
            warn!(target: LOG, "{}: new secret refused: {reason}", self.peer);
            let text = "New secret was refused by one of the backends";
            return Err(Fault::new(ReplyCode::NotAllowed, update.id(), text));
        }
        let broker = &mut context.hub.broker;
        let entered = match &context.shared.config.authenticator {
            None => broker.check_entry(user, &running.vhost),
            Some(authenticator) => check_entry(&**authenticator, user, &running.vhost),
        };
        entered.map_err(|error| Fault::of_broker(&error, update.id()))?;
        if let Some(authenticator) = &context.shared.config.authenticator {
            match authenticator.permissions(user, &running.vhost) {
                Some(granted) => broker.set_permissions(running.id, Granted(granted)),
                None => broker.set_permissions(running.id, |_: Access, _: &[u8]| true),
            }
        }
        broker.recheck_consumers(running.id);
        context.send(0, self.frame_max, &connection::UpdateSecretOk {});
        Ok(())
    }
}

/// Whether the user is who it says, and may come from where it comes.
fn authenticate(context: &Context<'_, '_>, login: &Login<'_>) -> Result<(), String> {
    let config = &context.shared.config;
    match &config.authenticator {
        Some(authenticator) => authenticator.authenticate(login),
        None => authenticate_user(&context.hub.broker, &config.loopback_users, login),
    }
}

/// Opens a connection for a user of whom the broker knows nothing.
fn open_as_told(
    broker: &mut Broker,
    authenticator: &dyn Authenticator,
    open: &OpenConnection<'_>,
) -> ropewalk_broker::Result<ConnectionId> {
    broker.vhost(open.vhost)?;
    check_entry(authenticator, open.user, open.vhost)?;
    let id = broker.open_connection(open)?;
    if let Some(granted) = authenticator.permissions(open.user, open.vhost) {
        broker.set_permissions(id, Granted(granted));
    }
    Ok(id)
}

/// Asks an authenticator whether a user may enter a virtual host.
fn check_entry(
    authenticator: &dyn Authenticator,
    user: &[u8],
    vhost: &[u8],
) -> ropewalk_broker::Result<()> {
    if authenticator.may_enter(user, vhost) {
        return Ok(());
    }
    let (vhost, user) = (vhost.escape_ascii(), user.escape_ascii());
    let text = format!("access to vhost '{vhost}' refused for user '{user}'");
    Err(ropewalk_broker::Error::new(ErrorKind::NotAllowed, text))
}

/// What the client makes of a limit that the server proposed: not less than the least, not more
/// than proposed, and no limit only where the server has none either.
fn check_limit(name: &str, least: u32, proposed: u32, wanted: u32) -> Result<(), Fault> {
    let (than, limit) = if wanted != 0 && wanted < least {
        ("lower than the minimum", least)
    } else if proposed != 0 && (wanted == 0 || wanted > proposed) {
        ("higher than the maximum", proposed)
    } else {
        return Ok(());
    };
    let detail = if wanted == 0 { " (no limit)" } else { "" };
    let text = format!("negotiated {name} = {wanted}{detail} is {than} allowed value ({limit})");
    Err(Fault::new(ReplyCode::NotAllowed, connection::Tune::ID, text))
}

fn server_properties(config: &Config) -> TableBuf {
    let capabilities =
        CAPABILITIES.iter().fold(TableBuf::new(), |table, name| table.with(name, true));
    let mut properties = TableBuf::new()
        .with("capabilities", &capabilities)
        .with("product", "Ropewalk")
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("platform", "Rust")
        .with("copyright", "Copyright (c) The Ropewalk developers")
        .with("information", concat!("Licensed under ", env!("CARGO_PKG_LICENSE")));
    // Only a name of 4 GiB would be refused.
    let _ = properties.insert("cluster_name", config.cluster_name.as_str());
    properties
}

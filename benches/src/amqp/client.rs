//! A client for what comes before the hot loop: it logs in, declares, consumes, and waits for
//! each answer. Slow and plain.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use ropewalk_amqp::codec::method::{basic, channel, confirm, connection, exchange, queue};
use ropewalk_amqp::codec::{
    EncodeMethod, Encoder, FrameKind, Frames, Method, PROTOCOL_HEADER, Secret, ShortStr, TableBuf,
};

/// RabbitMQ takes seconds over some of what we ask for.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The channel that everything happens on.
pub(super) const CHANNEL: u16 = 1;

pub(super) struct Client {
    pub(super) stream: TcpStream,
    encoder: Encoder,
    input: BytesMut,
    /// Class and method of what came, not yet asked for.
    came: VecDeque<(u16, u16)>,
}

impl Client {
    /// A connection that is open, without a channel.
    pub(super) fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (encoder, input) = (Encoder::new(), BytesMut::new());
        let mut client = Client { stream, encoder, input, came: VecDeque::new() };
        client.stream.write_all(&PROTOCOL_HEADER)?;
        client.expect(&connection::Start::default())?;
        let response = Secret(b"\0guest\0guest");
        client.send(0, &connection::StartOk { response, ..Default::default() })?;
        client.expect(&connection::Tune::default())?;
        // No heartbeats: nothing is to come that we do not wait for.
        let tune_ok = connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 };
        client.send(0, &tune_ok)?;
        client.send(0, &connection::Open::default())?;
        client.expect(&connection::OpenOk::default())?;
        Ok(client)
    }

    /// A connection and its channel.
    pub(super) fn open(port: u16) -> io::Result<Client> {
        let mut client = Client::connect(port)?;
        client.open_channel()?;
        Ok(client)
    }

    pub(super) fn open_channel(&mut self) -> io::Result<()> {
        self.call(&channel::Open::default(), &channel::OpenOk::default())
    }

    pub(super) fn declare_queue(&mut self, name: &str) -> io::Result<()> {
        let declare = queue::Declare { queue: ShortStr::cut(name), ..Default::default() };
        self.call(&declare, &queue::DeclareOk::default())
    }

    /// A queue that outlives a restart, of one of RabbitMQ's types.
    pub(super) fn declare_durable(&mut self, name: &str, kind: &str) -> io::Result<()> {
        let arguments = TableBuf::new().with("x-queue-type", kind);
        let declare = queue::Declare {
            queue: ShortStr::cut(name),
            durable: true,
            arguments: arguments.as_table(),
            ..Default::default()
        };
        self.call(&declare, &queue::DeclareOk::default())
    }

    /// Deletes a queue, or says nothing if it is not there.
    pub(super) fn delete_queue(&mut self, name: &str) -> io::Result<()> {
        let delete = queue::Delete { queue: ShortStr::cut(name), ..Default::default() };
        self.call(&delete, &queue::DeleteOk::default())
    }

    pub(super) fn declare_exchange(&mut self, name: &str, kind: &'static str) -> io::Result<()> {
        let declare = exchange::Declare {
            exchange: ShortStr::cut(name),
            exchange_type: ShortStr::literal(kind),
            ..Default::default()
        };
        self.call(&declare, &exchange::DeclareOk {})
    }

    pub(super) fn delete_exchange(&mut self, name: &str) -> io::Result<()> {
        let delete = exchange::Delete { exchange: ShortStr::cut(name), ..Default::default() };
        self.call(&delete, &exchange::DeleteOk {})
    }

    /// Binds without waiting, but for the last of `keys`.
    pub(super) fn bind(&mut self, queue: &str, exchange: &str, keys: &[String]) -> io::Result<()> {
        for (i, key) in keys.iter().enumerate() {
            let last = i + 1 == keys.len();
            let bind = queue::Bind {
                queue: ShortStr::cut(queue),
                exchange: ShortStr::cut(exchange),
                routing_key: ShortStr::cut(key),
                nowait: !last,
                ..Default::default()
            };
            match last {
                true => self.call(&bind, &queue::BindOk {})?,
                false => self.send(CHANNEL, &bind)?,
            }
        }
        Ok(())
    }

    pub(super) fn confirm(&mut self) -> io::Result<()> {
        self.call(&confirm::Select::default(), &confirm::SelectOk {})
    }

    pub(super) fn prefetch(&mut self, count: u16) -> io::Result<()> {
        let qos = basic::Qos { prefetch_count: count, ..Default::default() };
        self.call(&qos, &basic::QosOk {})
    }

    pub(super) fn consume(&mut self, queue: &str, no_ack: bool) -> io::Result<()> {
        let consume = basic::Consume {
            queue: ShortStr::cut(queue),
            consumer_tag: ShortStr::cut(queue),
            no_ack,
            ..Default::default()
        };
        self.call(&consume, &basic::ConsumeOk::default())
    }

    /// Consumes, with acknowledgements, a queue that may have messages: nothing is awaited, and
    /// the first thing to be read is a delivery.
    pub(super) fn consume_backlog(&mut self, queue: &str) -> io::Result<()> {
        let consume = basic::Consume {
            queue: ShortStr::cut(queue),
            consumer_tag: ShortStr::cut(queue),
            nowait: true,
            ..Default::default()
        };
        self.send(CHANNEL, &consume)
    }

    pub(super) fn close(mut self) -> io::Result<()> {
        let close = connection::Close { reply_code: 200, ..Default::default() };
        self.send(0, &close)?;
        self.expect(&connection::CloseOk {})
    }

    fn call(&mut self, method: &impl EncodeMethod, answer: &impl EncodeMethod) -> io::Result<()> {
        self.send(CHANNEL, method)?;
        self.expect(answer)
    }

    fn send(&mut self, channel: u16, method: &impl EncodeMethod) -> io::Result<()> {
        let mut out = Vec::new();
        self.encoder.frames_to(&mut out, 0).method(channel, method);
        self.stream.write_all(&out)
    }

    /// Waits for a method, and refuses any other.
    fn expect(&mut self, method: &impl EncodeMethod) -> io::Result<()> {
        let id = method.id();
        loop {
            if let Some(came) = self.came.pop_front() {
                if came == (id.class_id, id.method_id) {
                    return Ok(());
                }
                let text = format!("{came:?} came instead of {id:?}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.input.extend_from_slice(&chunk[..count]),
            }
            self.cut()?;
        }
    }

    fn cut(&mut self) -> io::Result<()> {
        let mut frames = Frames::new(&mut self.input, 0);
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, format!("{error:?}"));
        while let Some(frame) = frames.next_frame().map_err(invalid)? {
            if frame.kind != FrameKind::Method {
                continue;
            }
            match Method::decode(&frame.payload).map_err(invalid)? {
                Method::ChannelClose(close) => {
                    return Err(io::Error::other(format!("the channel ended: {close:?}")));
                }
                Method::ConnectionClose(close) => {
                    return Err(io::Error::other(format!("the connection ended: {close:?}")));
                }
                method => self.came.push_back((method.id().class_id, method.id().method_id)),
            }
        }
        Ok(())
    }
}

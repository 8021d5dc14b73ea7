//! A client that blocks: one connection, one channel with confirms.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use ropewalk::amqp::codec::method::{basic, channel, confirm, connection, exchange, queue};
use ropewalk::amqp::codec::{
    Assembler, BasicProperties, EncodeMethod, Encoder, Frames, Method, PROTOCOL_HEADER, Secret,
    ShortStr, TableBuf,
};
use ropewalk::bytes::BytesMut;

use crate::PATIENCE;

pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    received: BytesMut,
    assembler: Assembler,
    sent_tag: u64,
}

/// What the server has said.
pub(crate) enum Told {
    Confirmed {
        tag: u64,
        multiple: bool,
    },
    Delivered {
        tag: u64,
        redelivered: bool,
        body: Vec<u8>,
    },
    /// Any other method.
    Answered(&'static str, u32),
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Client> {
        Client::connect_as(address, &TableBuf::new())
    }

    /// One that wants to be told when it is blocked.
    pub(crate) fn informed(address: SocketAddr) -> io::Result<Client> {
        let capabilities = TableBuf::new().with("connection.blocked", true);
        Client::connect_as(address, &TableBuf::new().with("capabilities", &capabilities))
    }

    fn connect_as(address: SocketAddr, properties: &TableBuf) -> io::Result<Client> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let (received, assembler) = (BytesMut::new(), Assembler::default());
        let mut client = Client { socket, received, assembler, sent_tag: 0 };
        client.socket.write_all(&PROTOCOL_HEADER)?;
        client.expect("connection.start")?;
        let start_ok = connection::StartOk {
            client_properties: properties.as_table(),
            mechanism: ShortStr::literal("PLAIN"),
            response: Secret(b"\0guest\0guest"),
            ..Default::default()
        };
        client.call(0, &start_ok, "connection.tune")?;
        client
            .send(0, &connection::TuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 0 })?;
        let open = connection::Open { virtual_host: ShortStr::literal("/"), ..Default::default() };
        client.call(0, &open, "connection.open-ok")?;
        client.call(1, &channel::Open::default(), "channel.open-ok")?;
        client.call(1, &confirm::Select::default(), "confirm.select-ok")?;
        Ok(client)
    }

    fn send(&mut self, channel: u16, method: &impl EncodeMethod) -> io::Result<()> {
        let mut octets = Vec::new();
        Encoder::new().frames_to(&mut octets, 131_072).method(channel, method);
        self.socket.write_all(&octets)
    }

    pub(crate) fn call(
        &mut self,
        channel: u16,
        method: &impl EncodeMethod,
        answer: &str,
    ) -> io::Result<u32> {
        self.send(channel, method)?;
        self.expect(answer)
    }

    fn expect(&mut self, answer: &str) -> io::Result<u32> {
        match self.read()? {
            Told::Answered(name, count) if name == answer => Ok(count),
            Told::Answered(name, _) => panic!("expected {answer}, not {name}"),
            _ => panic!("expected {answer}"),
        }
    }

    /// Waits for what comes next. An error is the end of the server.
    pub(crate) fn read(&mut self) -> io::Result<Told> {
        loop {
            let mut frames = Frames::new(&mut self.received, 131_072);
            let frame = frames.next_frame().expect("the server's frames are legal");
            if let Some(frame) = frame {
                let command = self.assembler.push(frame).expect("the server's frames fit");
                let Some(command) = command else { continue };
                let body = command.content.map(|content| content.body.to_vec());
                return Ok(match command.method {
                    Method::BasicAck(ack) => {
                        Told::Confirmed { tag: ack.delivery_tag, multiple: ack.multiple }
                    }
                    Method::BasicDeliver(deliver) => Told::Delivered {
                        tag: deliver.delivery_tag,
                        redelivered: deliver.redelivered,
                        body: body.unwrap_or_default(),
                    },
                    Method::QueueDeclareOk(ok) => {
                        Told::Answered("queue.declare-ok", ok.message_count)
                    }
                    method => Told::Answered(method.name(), 0),
                });
            }
            drop(frames);
            let mut buffer = [0; 65_536];
            match self.socket.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.received.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Declares a durable queue, or asks for one that has to be there; how many messages it has.
    pub(crate) fn declare(&mut self, name: &str, passive: bool) -> io::Result<u32> {
        let mut arguments = TableBuf::new();
        if name == "quorum" {
            arguments = arguments.with("x-queue-type", "quorum");
        }
        let declare = queue::Declare {
            queue: ShortStr::cut(name),
            durable: true,
            passive,
            arguments: arguments.as_table(),
            ..Default::default()
        };
        self.call(1, &declare, "queue.declare-ok")
    }

    /// Declares a durable fanout exchange and binds queues to it.
    pub(crate) fn fan_out(&mut self, name: &str, queues: &[&str]) -> io::Result<()> {
        let declare = exchange::Declare {
            exchange: ShortStr::cut(name),
            exchange_type: ShortStr::literal("fanout"),
            durable: true,
            ..Default::default()
        };
        self.call(1, &declare, "exchange.declare-ok")?;
        for queue in queues {
            let bind = queue::Bind {
                queue: ShortStr::cut(queue),
                exchange: ShortStr::cut(name),
                ..Default::default()
            };
            self.call(1, &bind, "queue.bind-ok")?;
        }
        Ok(())
    }

    pub(crate) fn purge(&mut self, name: &str) -> io::Result<()> {
        let purge = queue::Purge { queue: ShortStr::cut(name), ..Default::default() };
        self.call(1, &purge, "queue.purge-ok").map(drop)
    }

    /// The tag of the confirm of what is published next.
    pub(crate) fn next_tag(&self) -> u64 {
        self.sent_tag + 1
    }

    /// Returns the tag that its confirm will have.
    pub(crate) fn publish(&mut self, exchange: &str, key: &str, body: &[u8]) -> io::Result<u64> {
        let publish = basic::Publish {
            exchange: ShortStr::cut(exchange),
            routing_key: ShortStr::cut(key),
            ..Default::default()
        };
        let properties = BasicProperties { delivery_mode: Some(2), ..Default::default() };
        let properties = properties.to_vec();
        let mut octets = Vec::new();
        let mut encoder = Encoder::new();
        encoder.frames_to(&mut octets, 131_072).content_copied(1, &publish, &properties, body);
        self.socket.write_all(&octets)?;
        self.sent_tag += 1;
        Ok(self.sent_tag)
    }

    pub(crate) fn consume(&mut self, queue: &str, prefetch_count: u16) -> io::Result<()> {
        let qos = basic::Qos { prefetch_count, ..Default::default() };
        self.call(1, &qos, "basic.qos-ok")?;
        let queue = ShortStr::cut(queue);
        let consume = basic::Consume { queue, consumer_tag: queue, ..Default::default() };
        self.call(1, &consume, "basic.consume-ok").map(drop)
    }

    pub(crate) fn ack(&mut self, delivery_tag: u64, multiple: bool) -> io::Result<()> {
        self.send(1, &basic::Ack { delivery_tag, multiple })
    }

    pub(crate) fn give_back(&mut self, delivery_tag: u64) -> io::Result<()> {
        self.send(1, &basic::Reject { delivery_tag, requeue: true })
    }

    /// Ends the consumer of a queue; how many deliveries came before the answer.
    pub(crate) fn cancel(&mut self, queue: &str) -> io::Result<usize> {
        let cancel = basic::Cancel { consumer_tag: ShortStr::cut(queue), ..Default::default() };
        self.send(1, &cancel)?;
        self.skip_to("basic.cancel-ok")
    }

    /// Ends the connection: what it held is back in its queues when this returns.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.send(0, &connection::Close { reply_code: 200, ..Default::default() })?;
        self.skip_to("connection.close-ok").map(drop)
    }

    fn skip_to(&mut self, answer: &str) -> io::Result<usize> {
        let mut deliveries = 0;
        loop {
            match self.read()? {
                Told::Answered(name, _) if name == answer => return Ok(deliveries),
                Told::Answered(name, _) => panic!("expected {answer}, not {name}"),
                Told::Delivered { .. } => deliveries += 1,
                Told::Confirmed { .. } => {}
            }
        }
    }

    /// Publishes one more and waits for its confirm: then all that was sent before is safe.
    pub(crate) fn make_safe(&mut self, queue: &str, body: &[u8]) -> io::Result<()> {
        let published = self.publish("", queue, body)?;
        loop {
            if let Told::Confirmed { tag, .. } = self.read()?
                && tag >= published
            {
                return Ok(());
            }
        }
    }
}

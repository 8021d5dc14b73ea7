//! The least that can be called a broker: it counts publishes and acknowledgements, gives every
//! consumer the last message as often as its window allows, and confirms. It has no queue, routes
//! nothing and stores nothing, but moves the same octets in the same turns: no broker can beat it.

use std::io;

use ropewalk_amqp::codec::method::{basic, channel, confirm, connection, exchange, queue};
use ropewalk_amqp::codec::{EncodeMethod, Encoder, Method, PROTOCOL_HEADER};

use super::listen;
use super::raw::{self, Connection, Serve};

/// Deliveries are made in pieces of about so many octets: what a socket takes at once.
const PIECE: usize = 64 * 1024;
/// Type, channel, size.
const HEAD: usize = 7;
const FRAME_END: u8 = 0xCE;

pub(super) fn run() -> io::Result<()> {
    raw::serve(&listen()?, Limit::default())
}

#[derive(Default)]
struct Limit {
    /// By the connection's slot.
    seats: Vec<Seat>,
    /// Slots of those who are told or given something: a dozen at most.
    active: Vec<usize>,
    last: Message,
    out: Vec<u8>,
}

/// What is kept of a connection.
#[derive(Default)]
struct Seat {
    greeted: bool,
    confirms: bool,
    published: u64,
    confirmed: u64,
    prefetch: u64,
    consumer: Option<Consumer>,
}

struct Consumer {
    name: Vec<u8>,
    tag: u64,
    /// Messages that it has not got.
    waiting: u64,
    /// How many it may get without an acknowledgement.
    window: u64,
}

/// The last message that came.
#[derive(Default)]
struct Message {
    /// The exchange and the routing key, as a method has them.
    address: Vec<u8>,
    header: Vec<u8>,
    /// The header and the body, in their frames.
    content: Vec<u8>,
}

impl Serve for Limit {
    fn received(&mut self, connection: &mut Connection, data: &[u8]) -> io::Result<()> {
        let slot = connection.slot();
        if self.seats.len() <= slot {
            self.seats.resize_with(slot + 1, Seat::default);
        }
        self.out.clear();
        let mut kept = std::mem::take(&mut connection.kept);
        if kept.is_empty() {
            let taken = self.frames(slot, data)?;
            kept.extend_from_slice(&data[taken..]);
        } else {
            kept.extend_from_slice(data);
            let taken = self.frames(slot, &kept)?;
            kept.drain(..taken);
        }
        connection.kept = kept;
        if self.out.is_empty() { Ok(()) } else { connection.send(&self.out) }
    }

    fn turn_ended(&mut self, connections: &mut [Option<Connection>]) -> io::Result<()> {
        for &slot in &self.active {
            let (seat, out) = (&mut self.seats[slot], &mut self.out);
            let Some(connection) = &mut connections[slot] else { continue };
            if seat.confirms && seat.confirmed < seat.published {
                let multiple = seat.published - seat.confirmed > 1;
                seat.confirmed = seat.published;
                out.clear();
                write(out, 1, &basic::Ack { delivery_tag: seat.published, multiple });
                connection.send(out)?;
            }
            let Some(consumer) = &mut seat.consumer else { continue };
            while consumer.waiting.min(consumer.window) > 0 && !connection.is_blocked() {
                consumer.deliver(&self.last, out);
                connection.send(out)?;
            }
        }
        Ok(())
    }

    fn lost(&mut self, slot: usize) {
        self.active.retain(|&active| active != slot);
        if let Some(seat) = self.seats.get_mut(slot) {
            *seat = Seat::default();
        }
    }
}

impl Limit {
    /// Looks at every frame that is whole, and says how many octets they took.
    fn frames(&mut self, slot: usize, data: &[u8]) -> io::Result<usize> {
        let mut at = 0;
        if !self.seats[slot].greeted {
            self.seats[slot].greeted = data.len() >= PROTOCOL_HEADER.len();
            if !self.seats[slot].greeted {
                return Ok(0);
            }
            at = PROTOCOL_HEADER.len();
            write(&mut self.out, 0, &connection::Start::default());
        }
        let (mut published, mut acknowledged) = (0, 0);
        while let Some(&[kind, _, _, s3, s2, s1, s0]) = data[at..].first_chunk::<HEAD>() {
            let end = at + HEAD + u32::from_be_bytes([s3, s2, s1, s0]) as usize + 1;
            let Some(frame) = data.get(at..end) else { break };
            let payload = &frame[HEAD..frame.len() - 1];
            match (kind, payload) {
                (1, [0, 60, 0, 80, ..]) => acknowledged += 1,
                (1, [0, 60, 0, 40, _, _, address @ .., _]) => {
                    self.last.address.clear();
                    self.last.address.extend_from_slice(address);
                }
                (1, _) => self.method(slot, payload)?,
                (2, _) => {
                    self.last.header.clear();
                    self.last.header.extend_from_slice(frame);
                }
                _ => {
                    // No message of a benchmark has two.
                    self.last.content.clear();
                    self.last.content.extend_from_slice(&self.last.header);
                    self.last.content.extend_from_slice(frame);
                    published += 1;
                }
            }
            at = end;
        }
        self.seats[slot].published += published;
        if let Some(consumer) = &mut self.seats[slot].consumer {
            consumer.window = consumer.window.saturating_add(acknowledged);
        }
        if published > 0 {
            for &slot in &self.active {
                if let Some(consumer) = &mut self.seats[slot].consumer {
                    consumer.waiting += published;
                }
            }
        }
        Ok(at)
    }

    /// Agrees to whatever it is asked for.
    fn method(&mut self, slot: usize, payload: &[u8]) -> io::Result<()> {
        let (seat, out) = (&mut self.seats[slot], &mut self.out);
        match Method::decode(payload).map_err(io::Error::other)? {
            Method::ConnectionStartOk(_) => write(out, 0, &connection::Tune::default()),
            Method::ConnectionOpen(_) => write(out, 0, &connection::OpenOk::default()),
            Method::ConnectionClose(_) => write(out, 0, &connection::CloseOk {}),
            Method::ChannelOpen(_) => write(out, 1, &channel::OpenOk::default()),
            Method::ExchangeDeclare(_) => write(out, 1, &exchange::DeclareOk {}),
            Method::ExchangeDelete(_) => write(out, 1, &exchange::DeleteOk {}),
            Method::QueueDeclare(_) => write(out, 1, &queue::DeclareOk::default()),
            Method::QueueDelete(_) => write(out, 1, &queue::DeleteOk::default()),
            Method::QueueBind(bind) if !bind.nowait => write(out, 1, &queue::BindOk {}),
            Method::BasicQos(qos) => {
                seat.prefetch = qos.prefetch_count.into();
                write(out, 1, &basic::QosOk {});
            }
            Method::ConfirmSelect(_) => {
                seat.confirms = true;
                self.active.push(slot);
                write(out, 1, &confirm::SelectOk {});
            }
            Method::BasicConsume(consume) => {
                let name = consume.consumer_tag.as_bytes().to_vec();
                let window = if consume.no_ack { u64::MAX } else { seat.prefetch };
                seat.consumer = Some(Consumer { name, tag: 0, waiting: 0, window });
                self.active.push(slot);
                write(out, 1, &basic::ConsumeOk { consumer_tag: consume.consumer_tag });
            }
            _ => {} // tune-ok, and binding without an answer
        }
        Ok(())
    }
}

impl Consumer {
    /// Fills `out` with deliveries, as many as there may be, in one piece.
    fn deliver(&mut self, message: &Message, out: &mut Vec<u8>) {
        let size = 4 + 1 + self.name.len() + 8 + 1 + message.address.len();
        let mut delivery = vec![1, 0, 1];
        delivery.extend_from_slice(&(size as u32).to_be_bytes());
        delivery.extend_from_slice(&[0, 60, 0, 60, self.name.len() as u8]);
        delivery.extend_from_slice(&self.name);
        let tag_at = delivery.len();
        delivery.extend_from_slice(&[0; 9]); // the tag, and not redelivered
        delivery.extend_from_slice(&message.address);
        delivery.push(FRAME_END);
        delivery.extend_from_slice(&message.content);
        out.clear();
        while self.waiting.min(self.window) > 0 && out.len() < PIECE {
            self.tag += 1;
            self.waiting -= 1;
            self.window -= 1;
            delivery[tag_at..tag_at + 8].copy_from_slice(&self.tag.to_be_bytes());
            out.extend_from_slice(&delivery);
        }
    }
}

fn write(out: &mut Vec<u8>, channel: u16, method: &impl EncodeMethod) {
    Encoder::frames_in(out, 0).method(channel, method);
}

//! The side of AMQP: a connection with a queue of the bridge's own that is bound to the exchange, and
//! the way there.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use log::warn;
use ropewalk_amqp::client::{
    Channel, Client, Connection, ConsumeOptions, Consumer, Error, ExchangeDeclare, Notice,
    QueueDeclare, Result,
};
use ropewalk_redis::client::Message;

use crate::LOG;
use crate::bridge::{Shared, Warning};
use crate::buffer::Buffer;
use crate::names::routing_key;

/// Deliveries that are here and not answered for: with more, the broker waits.
const PREFETCH: u16 = 1000;

/// What goes to AMQP.
pub(crate) struct ToAmqp {
    waiting: Buffer<(String, Bytes)>,
    pub(crate) connection: Option<Connection>,
    /// There while the exchange is.
    channel: Option<Channel>,
    /// What waits goes on once the connection can take it.
    is_due: bool,
}

impl ToAmqp {
    pub(crate) fn new(limit: usize) -> Self {
        Self { waiting: Buffer::new(limit), connection: None, channel: None, is_due: false }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.bytes()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Connects, and begins anew whenever the broker has refused something.
pub(crate) async fn run(shared: Rc<Shared>) {
    let mut delay = shared.options.first_delay;
    loop {
        let why = match join(&shared).await {
            Ok(why) => why,
            Err(error) => error.to_string(),
        };
        let connection = {
            let mut to_amqp = shared.to_amqp.borrow_mut();
            to_amqp.channel = None;
            to_amqp.connection.take()
        };
        shared.note(&shared.has_amqp, false, "AMQP was lost");
        if let Some(connection) = connection {
            let _ = connection.close().await;
        }
        if shared.is_stopping.get() {
            return;
        }
        warn!(target: LOG, "{}: AMQP: {why}; trying again in {delay:?}", shared.options.name);
        if shared.local.sleep(delay).await.is_err() {
            return;
        }
        delay = (2 * delay).min(shared.options.max_delay);
    }
}

/// Joins the exchange, and answers why that is over.
async fn join(shared: &Rc<Shared>) -> Result<String> {
    let options = &shared.options;
    let amqp = options.amqp.clone().reconnect(shared.reconnect()).connection_name(&options.name);
    let connection = Client::connect_from(&shared.local, amqp).await?;
    shared.to_amqp.borrow_mut().connection = Some(connection.clone());
    let channel = connection.open_channel().await?;
    channel.exchange_declare(ExchangeDeclare::topic(&*options.exchange).durable()).await?;
    let (promise, ended) = shared.local.deferred::<String>();
    let ended_by = Rc::new(RefCell::new(Some(promise)));
    let end = move |why: String| {
        if let Some(promise) = ended_by.borrow_mut().take() {
            promise.succeed(why);
        }
    };
    let by_channel = end.clone();
    channel.on_close(move |_, error| by_channel(error.to_string()));
    // Before the first delivery can come.
    shared.to_amqp.borrow_mut().channel = Some(channel.clone());
    let consuming = match options.goes_to_redis() {
        true => {
            // It goes with the connection: nothing piles up while the bridge is away.
            let queue = QueueDeclare::server_named().exclusive().auto_delete();
            let queue = channel.queue_declare(queue).await?.name;
            channel.queue_bind(&queue, &options.exchange, &options.binding_key).await?;
            channel.qos(PREFETCH).await?;
            let consumer = channel.subscribe(&queue, ConsumeOptions::new()).await?;
            let (shared, end) = (shared.clone(), end.clone());
            let local = shared.local.clone();
            let consuming = local.spawn(async move {
                match consume(&shared, consumer).await {
                    Ok(()) => end("the consumer has ended".to_owned()),
                    Err(error) => end(error.to_string()),
                }
            });
            Some(consuming.cancel_on_drop())
        }
        false => None,
    };
    let weak = Rc::downgrade(shared);
    connection.on_notice(move |_, notice| {
        let Some(shared) = weak.upgrade() else { return };
        match notice {
            Notice::Lost(error) => {
                shared.note(&shared.has_amqp, false, &format!("AMQP was lost: {error}"));
            }
            Notice::Recovered => shared.amqp_is_there(),
            Notice::Closed(_) | Notice::RecoveryFailed { .. } => end(notice.to_string()),
            _ => {}
        }
    });
    shared.amqp_is_there();
    let why = ended.await?;
    drop(consuming);
    Ok(why)
}

async fn consume(shared: &Rc<Shared>, mut consumer: Consumer) -> Result {
    while let Some(delivery) = consumer.next().await? {
        if shared.is_stopping.get() {
            continue; // what is under way to AMQP still needs this connection
        }
        shared.delivered(delivery);
        if let Some(room) = shared.room() {
            room.await?;
        }
    }
    Ok(())
}

impl Shared {
    fn amqp_is_there(self: &Rc<Self>) {
        self.note(&self.has_amqp, true, "");
        self.publish_to_amqp();
    }

    /// The subscription has heard a message.
    pub(crate) fn heard(self: &Rc<Self>, message: Message) {
        let (channel, size) = (&message.channel, message.payload.len());
        let key = match routing_key(channel) {
            Ok(key) => key.to_owned(),
            Err(error) => {
                let start = channel[..channel.len().min(80)].escape_ascii();
                let why = format_args!("one came on channel {start}, and {error}");
                return self.dropped(Warning::Name, 1, why);
            }
        };
        if size > self.options.max_message {
            let why = format_args!(
                "one of {size} bytes came, and {} are taken",
                self.options.max_message
            );
            return self.dropped(Warning::Size, 1, why);
        }
        let size = size + key.len();
        let mut to_amqp = self.to_amqp.borrow_mut();
        to_amqp.waiting.push(size, (key, message.payload));
        let gone = to_amqp.waiting.trim();
        drop(to_amqp);
        self.dropped(Warning::ForAmqp, gone.len(), "too many wait for AMQP");
        self.publish_to_amqp();
    }

    /// Publishes what the connection takes, and goes on later with the rest.
    fn publish_to_amqp(self: &Rc<Self>) {
        let mut to_amqp = self.to_amqp.borrow_mut();
        let to_amqp = &mut *to_amqp;
        let (Some(connection), Some(channel)) = (&to_amqp.connection, &to_amqp.channel) else {
            return;
        };
        while let Some((_, (key, body))) = to_amqp.waiting.front() {
            if !connection.is_ready() {
                break;
            }
            let exchange = &self.options.exchange;
            match channel.publish(exchange, key, &self.properties, body.clone()) {
                Ok(()) => self.count(|counts| counts.to_amqp += 1),
                Err(Error::TooLong(_) | Error::TooLarge { .. }) => {
                    self.dropped(Warning::Size, 1, "the broker's frames are too small for one");
                }
                Err(error) => {
                    log::debug!(target: LOG, "{}: not published yet: {error}", self.options.name);
                    break;
                }
            }
            to_amqp.waiting.pop();
        }
        if !to_amqp.waiting.is_empty() && !std::mem::replace(&mut to_amqp.is_due, true) {
            let shared = self.clone();
            connection.ready().then(move |_, result| {
                shared.to_amqp.borrow_mut().is_due = false;
                if result.is_ok() {
                    shared.publish_to_amqp();
                }
            });
        }
        if to_amqp.waiting.is_empty() {
            self.is_over(Warning::ForAmqp);
            // Whoever stops looks at both sides.
            let shared = self.clone();
            self.local.call_soon(move |_| shared.look_whether_drained());
        }
    }
}

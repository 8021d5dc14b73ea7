//! A message: what a publisher said, stored once however many queues hold it.
//!
//! Exchange, routing key, properties and a small body lie in one buffer, in this order, which
//! is also how a log would write them; a large body stays the shared `Bytes` that it came in.
//! Nothing in a message changes after it was published.

use bytes::Bytes;

/// Bodies of this many bytes and more are kept as the `Bytes` that they came in; smaller ones
/// are copied, since a slice of a read buffer would pin the whole of it (4 KiB for 16 bytes).
pub const SHARED_BODY: usize = 4096;

/// What [`Broker::publish`](crate::Broker::publish) takes (`basic.publish` with its content).
#[derive(Debug, Clone)]
pub struct Publish<'a> {
    /// The exchange's name; empty for the default exchange.
    pub exchange: &'a [u8],
    /// The routing key, at most 255 bytes.
    pub routing_key: &'a [u8],
    /// Whether to send the message back if it reaches no queue.
    pub mandatory: bool,
    /// AMQP's `immediate`: refused, as RabbitMQ does.
    pub immediate: bool,
    /// The properties.
    pub properties: Properties<'a>,
    /// The body.
    pub body: Body<'a>,
}

impl<'a> Publish<'a> {
    /// A transient message without properties.
    pub fn new(exchange: &'a [u8], routing_key: &'a [u8], body: &'a [u8]) -> Publish<'a> {
        Publish {
            exchange,
            routing_key,
            mandatory: false,
            immediate: false,
            properties: Properties::default(),
            body: Body::Borrowed(body),
        }
    }
}

/// A message's properties: the bytes to hand on as they came, and the fields that the broker
/// acts on, which the protocol's codec has found in them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Properties<'a> {
    /// The properties as encoded; the broker never looks into them but through its
    /// [`PropertyCodec`](crate::PropertyCodec).
    pub raw: &'a [u8],
    /// Whether the message outlives a restart in a durable queue (`delivery-mode` 2).
    pub persistent: bool,
    /// The priority, 0 if there is none.
    pub priority: u8,
    /// The time to live, as the decimal text that AMQP carries.
    pub expiration: Option<&'a [u8]>,
    /// Who claims to publish it.
    pub user_id: Option<&'a [u8]>,
    /// Where replies shall go.
    pub reply_to: Option<&'a [u8]>,
    /// Whether `raw` has headers at all.
    pub has_headers: bool,
}

/// A body to publish.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    /// Copied.
    Borrowed(&'a [u8]),
    /// Shared if it has [`SHARED_BODY`] bytes or more, else copied.
    Shared(Bytes),
}

impl Body<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Body::Borrowed(body) => body,
            Body::Shared(body) => body,
        }
    }
}

/// A stored message.
#[derive(Default)]
pub struct Message {
    /// exchange ‖ routing key ‖ properties ‖ body, the body only if `shared` is `None`.
    packed: Vec<u8>,
    /// A large body. Boxed: the few messages that have one must not make all of them larger.
    shared: Option<Box<Bytes>>,
    properties_end: u32,
    exchange_len: u8,
    routing_key_len: u8,
    priority: u8,
    flags: u8,
    /// The message's own time to live in milliseconds, `u64::MAX` for none.
    ttl: u64,
    /// How many queue entries, unacknowledged deliveries and outbox events hold it.
    pub(crate) references: u32,
    /// The ticket with which its confirm waits for the store; 0 if it never did.
    pub(crate) ticket: u64,
}

const PERSISTENT: u8 = 1;
const HEADERS: u8 = 2;

/// A freed slot keeps its buffer up to this size for the next message, so that the steady state
/// of small messages allocates nothing.
pub(crate) const KEPT_BUFFER: usize = 2048;

/// A kept buffer that is longer than this, and than four times what its next message needs, is
/// exchanged for one that fits: small messages that stay must not pin the room of large ones that
/// have gone.
const LOOSE_BUFFER: usize = 256;

/// What a message takes beside its octets: its slot, and what the allocator adds to its buffer.
const SLOT: u64 = size_of::<Message>() as u64 + 16;

/// What a large body takes beside its octets: the box, the shared count, and what the allocator
/// adds to the three.
const SHARED: u64 = 112;

impl Message {
    /// The name of the exchange it was published to.
    pub fn exchange(&self) -> &[u8] {
        &self.packed[..usize::from(self.exchange_len)]
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> &[u8] {
        &self.packed[usize::from(self.exchange_len)..self.properties_start()]
    }

    /// The properties, as the bytes that came.
    pub fn properties(&self) -> &[u8] {
        &self.packed[self.properties_start()..self.properties_end as usize]
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        match &self.shared {
            Some(body) => body,
            None => &self.packed[self.properties_end as usize..],
        }
    }

    /// The body as shared bytes, if it is large enough to be kept so: cloning copies nothing.
    pub fn shared_body(&self) -> Option<&Bytes> {
        self.shared.as_deref()
    }

    /// All of it that is not shared: exchange, routing key, properties, and a small body.
    pub(crate) fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// Whether it outlives a restart in a durable queue.
    pub fn persistent(&self) -> bool {
        self.flags & PERSISTENT != 0
    }

    /// Its priority, 0 unless the publisher gave one.
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// Whether its properties have headers.
    pub fn has_headers(&self) -> bool {
        self.flags & HEADERS != 0
    }

    /// Its own time to live in milliseconds.
    pub fn ttl(&self) -> Option<u64> {
        (self.ttl != u64::MAX).then_some(self.ttl)
    }

    fn properties_start(&self) -> usize {
        usize::from(self.exchange_len) + usize::from(self.routing_key_len)
    }

    /// Writes `publish` into this slot. Names over 255 bytes cannot come from AMQP; they are cut.
    pub(crate) fn fill(&mut self, publish: &Publish<'_>, ttl: Option<u64>) {
        let exchange = cut(publish.exchange);
        let routing_key = cut(publish.routing_key);
        let body = publish.body.as_slice();
        let shared = match &publish.body {
            Body::Shared(bytes) if bytes.len() >= SHARED_BODY => Some(Box::new(bytes.clone())),
            Body::Borrowed(bytes) if bytes.len() >= SHARED_BODY => {
                Some(Box::new(Bytes::copy_from_slice(bytes)))
            }
            _ => None,
        };
        let packed_body = if shared.is_some() { &[] } else { body };
        let properties = publish.properties.raw;
        let prefix = exchange.len() + routing_key.len() + properties.len();
        let needed = prefix + packed_body.len();
        self.packed.clear();
        if self.packed.capacity() > LOOSE_BUFFER.max(4 * needed) {
            self.packed = Vec::new();
        }
        self.packed.reserve_exact(needed);
        self.packed.extend_from_slice(exchange);
        self.packed.extend_from_slice(routing_key);
        self.packed.extend_from_slice(properties);
        self.packed.extend_from_slice(packed_body);
        self.shared = shared;
        self.properties_end = u32::try_from(prefix).expect("properties fit one frame");
        self.exchange_len = exchange.len() as u8;
        self.routing_key_len = routing_key.len() as u8;
        self.priority = publish.properties.priority;
        self.flags = if publish.properties.persistent { PERSISTENT } else { 0 }
            | if publish.properties.has_headers { HEADERS } else { 0 };
        self.ttl = ttl.unwrap_or(u64::MAX);
        self.ticket = 0;
    }

    /// Empties the slot, and keeps its buffer if it may and the buffer is small.
    pub(crate) fn clear(&mut self, keep: bool) {
        self.shared = None;
        if !keep || self.packed.capacity() > KEPT_BUFFER {
            self.packed = Vec::new();
        }
    }

    /// The octets of its buffer.
    #[inline]
    pub(crate) fn buffer(&self) -> usize {
        self.packed.capacity()
    }

    /// The octets that it holds in all. A body that several messages share counts for each.
    #[inline]
    pub(crate) fn footprint(&self) -> u64 {
        let shared = self.shared.as_ref().map_or(0, |body| body.len() as u64 + SHARED);
        SLOT + self.packed.capacity() as u64 + shared
    }
}

fn cut(name: &[u8]) -> &[u8] {
    &name[..name.len().min(crate::names::MAX_NAME)]
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("exchange", &String::from_utf8_lossy(self.exchange()))
            .field("routing_key", &String::from_utf8_lossy(self.routing_key()))
            .field("body", &String::from_utf8_lossy(self.body()))
            .finish_non_exhaustive()
    }
}

//! Methods: every command of AMQP 0-9-1 with RabbitMQ's extensions.
//!
//! One file a class holds the table of its methods, and a struct each: the fields in the order
//! of the wire. [`Method`] is any of them. Nothing here says what a method does.
//!
//! The one rule: the structs borrow, for reading from the frame and for writing from whoever
//! writes, so that neither allocates.

pub mod access;
pub mod basic;
pub mod channel;
mod class;
pub mod confirm;
pub mod connection;
pub mod exchange;
pub mod queue;
pub mod tx;

use super::wire::{Fault, Reader, Writer};
use super::{Error, Result};
use class::class;
use std::fmt;

/// The numbers of a class and of a method in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MethodId {
    /// Such as 50 for `queue`.
    pub class_id: u16,
    /// Such as 10 for `queue.declare`.
    pub method_id: u16,
}

impl MethodId {
    /// 0/0: no method in particular.
    pub const NONE: MethodId = MethodId { class_id: 0, method_id: 0 };

    /// What the payload of a method frame begins with; `None` if it is too short for that.
    #[inline(always)]
    pub(super) fn of(payload: &[u8]) -> Option<MethodId> {
        let &[c1, c0, m1, m0] = payload.first_chunk()?;
        let (class_id, method_id) = (u16::from_be_bytes([c1, c0]), u16::from_be_bytes([m1, m0]));
        Some(MethodId { class_id, method_id })
    }

    /// Whether this is a method that content follows: `publish`, `return`, `deliver`, `get-ok`.
    pub(super) const fn carries_content(self) -> bool {
        self.class_id == basic::CLASS_ID && matches!(self.method_id, 40 | 50 | 60 | 71)
    }

    /// Whether this method is what a peer answers `request` with, if all is well.
    #[must_use]
    pub const fn answers(self, request: MethodId) -> bool {
        let MethodId { class_id, method_id } = request;
        let answer = match (class_id, method_id) {
            (exchange::CLASS_ID, 40) => 51,
            (basic::CLASS_ID, 70) if self.method_id == 72 => 72, // get-empty, not get-ok
            (basic::CLASS_ID, 10 | 20 | 30 | 70 | 110) => method_id + 1,
            (basic::CLASS_ID, _) | (connection::CLASS_ID, 60) => return false,
            _ if method_id.is_multiple_of(10) => method_id + 1,
            _ => return false,
        };
        self.class_id == class_id && self.method_id == answer
    }
}

/// Who may send a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// Only a client, to the server.
    Client,
    /// Only the server, to a client.
    Server,
    /// Either.
    Both,
}

impl Sender {
    /// Whether a client may send it.
    #[must_use]
    pub const fn is_client(self) -> bool {
        matches!(self, Self::Client | Self::Both)
    }

    /// Whether the server may send it.
    #[must_use]
    pub const fn is_server(self) -> bool {
        matches!(self, Self::Server | Self::Both)
    }
}

/// How a method stands in the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// Waits for its answer.
    Sync,
    /// Waits for nothing.
    Async,
    /// Waits for nothing, and content follows.
    Content,
}

/// What can be written as a method frame: any method's struct, and [`Method`] itself.
pub trait EncodeMethod {
    /// The class and the method.
    fn id(&self) -> MethodId;

    /// Appends the arguments, as they follow the class and the method.
    fn encode_arguments(&self, out: &mut Vec<u8>);
}

/// What can be read from a method frame: any method's struct.
pub trait DecodeMethod<'a>: Sized {
    /// Reads the payload of a method frame if it is this method's, and fails if the arguments are
    /// not exactly those of it. `None` if it is another's.
    fn of(payload: &'a [u8]) -> Option<Result<Self>>;
}

impl<'a, M: Arguments<'a>> DecodeMethod<'a> for M {
    #[inline(always)]
    fn of(payload: &'a [u8]) -> Option<Result<M>> {
        let (&id, arguments) = payload.split_first_chunk()?;
        (u32::from_be_bytes(id) == number(M::ID)).then(|| M::decode(arguments))
    }
}

/// What the table of a class makes of each method.
trait Arguments<'a>: Sized {
    const ID: MethodId;
    const SENDER: Sender;
    const SHAPE: Shape;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault>;
    fn write(&self, writer: &mut Writer<'_>);

    /// RabbitMQ demands UTF-8 of what clients name, but for speed not in methods with content.
    ///
    /// Not of what servers say: RabbitMQ cuts its reply-texts without regard to characters.
    const DEMANDS_UTF8: bool =
        matches!(Self::SENDER, Sender::Client) && !matches!(Self::SHAPE, Shape::Content);

    #[inline(always)]
    fn decode(arguments: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(arguments, Self::DEMANDS_UTF8);
        let result = Self::read(&mut reader).and_then(|method| reader.finish().map(|()| method));
        result.map_err(|fault| Self::error(fault, arguments))
    }

    #[cold]
    fn error(fault: Fault, arguments: &[u8]) -> Error {
        match fault {
            Fault::Length => Error::cannot_decode(Self::ID, arguments),
            Fault::Utf8 => Error::MalformedUtf8,
            Fault::Table(error) => Error::MalformedTable { method: Self::ID, error },
        }
    }
}

/// The enum of all methods, from the list of their variants.
macro_rules! methods {
    (<$a:lifetime> $($variant:ident($class:ident :: $method:ident $(<$lt:lifetime>)?),)*) => {
        /// Any method of AMQP 0-9-1.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Method<$a> {
            $(
                #[doc = concat!("`", stringify!($class), "`'s [`", stringify!($method), "`](",
                    stringify!($class), "::", stringify!($method), ").")]
                $variant($class::$method $(<$lt>)?),
            )*
        }

        impl<$a> Method<$a> {
            #[allow(non_upper_case_globals, reason = "a number is named as its variant")]
            fn decode_any(payload: &$a [u8]) -> Result<Method<$a>> {
                $(const $variant: u32 = number($class::$method::ID);)*

                let Some((&id, arguments)) = payload.split_first_chunk() else {
                    return Err(Error::unknown_frame(super::FrameKind::Method, payload));
                };
                match u32::from_be_bytes(id) {
                    $($variant => $class::$method::decode(arguments).map(Self::$variant),)*
                    unknown => Err(Error::UnknownMethod(MethodId {
                        class_id: (unknown >> 16) as u16,
                        method_id: unknown as u16,
                    })),
                }
            }

            /// The name, such as `queue.declare`.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $class::$method::NAME,)*
                }
            }

            /// Who may send it.
            #[must_use]
            pub const fn sender(&self) -> Sender {
                match self {
                    $(Self::$variant(_) => $class::$method::SENDER,)*
                }
            }

            const fn shape(&self) -> Shape {
                match self {
                    $(Self::$variant(_) => $class::$method::SHAPE,)*
                }
            }
        }

        impl EncodeMethod for Method<'_> {
            fn id(&self) -> MethodId {
                match self {
                    $(Self::$variant(_) => $class::$method::ID,)*
                }
            }

            fn encode_arguments(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant(method) => method.encode_arguments(out),)*
                }
            }
        }

        $(
            impl<$a> From<$class::$method $(<$lt>)?> for Method<$a> {
                fn from(method: $class::$method $(<$lt>)?) -> Method<$a> {
                    Method::$variant(method)
                }
            }
        )*
    };
}

methods! {
    <'a>
    ConnectionStart(connection::Start<'a>),
    ConnectionStartOk(connection::StartOk<'a>),
    ConnectionSecure(connection::Secure<'a>),
    ConnectionSecureOk(connection::SecureOk<'a>),
    ConnectionTune(connection::Tune),
    ConnectionTuneOk(connection::TuneOk),
    ConnectionOpen(connection::Open<'a>),
    ConnectionOpenOk(connection::OpenOk<'a>),
    ConnectionClose(connection::Close<'a>),
    ConnectionCloseOk(connection::CloseOk),
    ConnectionBlocked(connection::Blocked<'a>),
    ConnectionUnblocked(connection::Unblocked),
    ConnectionUpdateSecret(connection::UpdateSecret<'a>),
    ConnectionUpdateSecretOk(connection::UpdateSecretOk),
    ChannelOpen(channel::Open<'a>),
    ChannelOpenOk(channel::OpenOk<'a>),
    ChannelFlow(channel::Flow),
    ChannelFlowOk(channel::FlowOk),
    ChannelClose(channel::Close<'a>),
    ChannelCloseOk(channel::CloseOk),
    AccessRequest(access::Request<'a>),
    AccessRequestOk(access::RequestOk),
    ExchangeDeclare(exchange::Declare<'a>),
    ExchangeDeclareOk(exchange::DeclareOk),
    ExchangeDelete(exchange::Delete<'a>),
    ExchangeDeleteOk(exchange::DeleteOk),
    ExchangeBind(exchange::Bind<'a>),
    ExchangeBindOk(exchange::BindOk),
    ExchangeUnbind(exchange::Unbind<'a>),
    ExchangeUnbindOk(exchange::UnbindOk),
    QueueDeclare(queue::Declare<'a>),
    QueueDeclareOk(queue::DeclareOk<'a>),
    QueueBind(queue::Bind<'a>),
    QueueBindOk(queue::BindOk),
    QueuePurge(queue::Purge<'a>),
    QueuePurgeOk(queue::PurgeOk),
    QueueDelete(queue::Delete<'a>),
    QueueDeleteOk(queue::DeleteOk),
    QueueUnbind(queue::Unbind<'a>),
    QueueUnbindOk(queue::UnbindOk),
    BasicQos(basic::Qos),
    BasicQosOk(basic::QosOk),
    BasicConsume(basic::Consume<'a>),
    BasicConsumeOk(basic::ConsumeOk<'a>),
    BasicCancel(basic::Cancel<'a>),
    BasicCancelOk(basic::CancelOk<'a>),
    BasicPublish(basic::Publish<'a>),
    BasicReturn(basic::Return<'a>),
    BasicDeliver(basic::Deliver<'a>),
    BasicGet(basic::Get<'a>),
    BasicGetOk(basic::GetOk<'a>),
    BasicGetEmpty(basic::GetEmpty<'a>),
    BasicAck(basic::Ack),
    BasicReject(basic::Reject),
    BasicRecoverAsync(basic::RecoverAsync),
    BasicRecover(basic::Recover),
    BasicRecoverOk(basic::RecoverOk),
    BasicNack(basic::Nack),
    ConfirmSelect(confirm::Select),
    ConfirmSelectOk(confirm::SelectOk),
    TxSelect(tx::Select),
    TxSelectOk(tx::SelectOk),
    TxCommit(tx::Commit),
    TxCommitOk(tx::CommitOk),
    TxRollback(tx::Rollback),
    TxRollbackOk(tx::RollbackOk),
}

impl<'a> Method<'a> {
    /// Reads the payload of a method frame.
    ///
    /// Fails if it is shorter than the two numbers, if no method has them, and if the
    /// arguments are not exactly those of that method.
    #[inline(always)]
    pub fn decode(payload: &'a [u8]) -> Result<Method<'a>> {
        // What comes a million times a second is read in line; all else, by the whole list.
        match payload {
            [0, 60, 0, 40, arguments @ ..] => {
                basic::Publish::decode(arguments).map(Self::BasicPublish)
            }
            [0, 60, 0, 60, arguments @ ..] => {
                basic::Deliver::decode(arguments).map(Self::BasicDeliver)
            }
            [0, 60, 0, 80, arguments @ ..] => basic::Ack::decode(arguments).map(Self::BasicAck),
            _ => Self::decode_any(payload),
        }
    }

    /// Whether a content header, and a body, follow it.
    #[must_use]
    pub const fn carries_content(&self) -> bool {
        matches!(self.shape(), Shape::Content)
    }

    /// Whether its sender waits for an answer (`nowait` aside).
    #[must_use]
    pub const fn is_synchronous(&self) -> bool {
        matches!(self.shape(), Shape::Sync)
    }
}

/// Both numbers as one, as they lie on the wire.
const fn number(id: MethodId) -> u32 {
    (id.class_id as u32) << 16 | id.method_id as u32
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.class_id, self.method_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(class_id: u16, method_id: u16) -> MethodId {
        MethodId { class_id, method_id }
    }

    #[test]
    fn synchronous_methods_have_an_answer_and_no_others_do() {
        let mut known = Vec::new();
        for class_id in 0..=100 {
            for method_id in 0..=130 {
                let mut payload = number(id(class_id, method_id)).to_be_bytes().to_vec();
                // Zeroes are legal arguments of any method, if there are enough of them.
                for _ in 0..32 {
                    if let Ok(method) = Method::decode(&payload) {
                        assert_eq!(method.id(), id(class_id, method_id));
                        assert_eq!(MethodId::of(&payload), Some(method.id()));
                        assert_eq!(method.id().carries_content(), method.carries_content());
                        known.push((method.id(), method.is_synchronous()));
                    }
                    payload.push(0);
                }
            }
        }
        assert_eq!(known.len(), 66);
        for (request, is_synchronous) in &known {
            let answers: Vec<_> =
                known.iter().filter(|(answer, _)| answer.answers(*request)).collect();
            let expected = match request {
                MethodId { class_id: 60, method_id: 70 } => 2,
                _ => usize::from(*is_synchronous),
            };
            assert_eq!(answers.len(), expected, "{request}");
        }
        assert!(id(60, 72).answers(id(60, 70)) && id(60, 71).answers(id(60, 70)));
        assert!(id(40, 51).answers(id(40, 40)));
    }

    #[test]
    fn numbers_that_no_method_has_are_refused_by_name() {
        let refused = |payload: &[u8]| Method::decode(payload).expect_err("unknown").reply_text();
        assert_eq!(refused(&[0, 60, 0, 99]), "NOT_IMPLEMENTED - unknown method {60,99}");
        assert_eq!(
            refused(&[0, 60, 0]),
            "FRAME_ERROR - type 1, all octets = <<0,60,0>>: unknown_frame"
        );
    }

    #[test]
    fn what_a_client_names_must_be_utf8_but_not_in_publish_nor_what_a_server_says() {
        let purge = b"\0\x32\0\x1e\0\0\x02\xff\xff\0";
        assert_eq!(Method::decode(purge), Err(Error::MalformedUtf8));
        let publish = b"\0\x3c\0\x28\0\0\x02\xff\xff\0\0";
        assert!(Method::decode(publish).is_ok());
        let cut_text = b"\0\x14\0\x28\x01\x94\x04\xc3...\0\x32\0\x0a";
        assert!(Method::decode(cut_text).is_ok());
    }
}

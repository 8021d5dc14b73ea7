//! The wire format of AMQP 0-9-1: frames, methods, contents, field tables.
//!
//! It holds no socket, no channel table and no opinion on what a method does. The one rule:
//! decoding borrows from the input, so that a frame costs no allocation; what is to be kept,
//! the caller copies. What a peer can make large has a limit here.
//!
//! From bytes to commands: [`ProtocolHeader`], then [`Frames`] cuts the input into [`Frame`]s,
//! and a channel's [`Assembler`] makes [`Command`]s of them. From commands to bytes: an
//! [`Encoder`] writes methods and contents to a [`Sink`].
//!
//! Sources: the AMQP 0-9-1 specification (sections in the items' docs), and for everything it
//! leaves open, or that RabbitMQ does otherwise (the letters of field values above all),
//! RabbitMQ's behaviour.

mod assembler;
mod content;
mod encoder;
mod error;
mod frame;
pub mod method;
mod properties;
mod protocol_header;
mod reply_code;
mod string;
mod table;
mod table_buf;
mod table_check;
mod value;
mod whole;
mod wire;

pub use assembler::{Assembler, MAX_BODY_SIZE};
pub use content::{Command, Content, ContentHeader, RawCommand};
pub use encoder::{Encoder, FrameWriter, SHARED_OUTPUT_MIN, Sink};
pub use error::{Error, Snippet};
pub use frame::{
    FRAME_MAX_DEFAULT, FRAME_MIN_SIZE, FRAME_OVERHEAD, Frame, FrameKind, Frames, Payload,
    SHARED_INPUT_MIN,
};
pub use method::{DecodeMethod, EncodeMethod, Method, MethodId, Sender};
pub use properties::BasicProperties;
pub use protocol_header::{PROTOCOL_HEADER, ProtocolHeader};
pub use reply_code::ReplyCode;
pub use string::{LongStr, Secret, ShortStr};
pub use table::{Array, Table};
pub use table_buf::{ArrayBuf, TableBuf};
pub use table_check::{MAX_TABLE_DEPTH, MAX_TABLE_FIELDS, TableError};
pub use value::Value;
pub use whole::WholePublish;

/// What a codec's function gives back.
pub type Result<T, E = Error> = std::result::Result<T, E>;

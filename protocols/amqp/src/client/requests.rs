//! What a channel waits for: each request that the server has to answer, with whoever asked, and
//! what is to be remembered once it is granted.

use std::rc::Rc;

use ropewalk_reactor::Promise;

use super::Error;
use super::channel::Channel;
use super::consumer::Subscription;
use super::declare::{ExchangeDeclare, QueueDeclare};
use super::error::fail;
use super::message::{DeclaredQueue, Fetched};
use super::topology::Binding;
use crate::codec::MethodId;
use crate::codec::method::{basic, channel, confirm, exchange, queue, tx};

/// A request under way. The server answers those of one channel in their order.
pub(super) enum Request {
    OpenChannel(Promise<Channel>),
    DeclareExchange(ExchangeDeclare, Promise<()>),
    DeleteExchange(String, Promise<()>),
    BindExchange(Binding, Promise<()>),
    UnbindExchange(Binding, Promise<()>),
    DeclareQueue(QueueDeclare, Promise<DeclaredQueue>),
    DeleteQueue(String, Promise<u32>),
    PurgeQueue(Promise<u32>),
    BindQueue(Binding, Promise<()>),
    UnbindQueue(Binding, Promise<()>),
    Qos(Promise<()>),
    Consume(Rc<Subscription>, Consumed),
    /// `None`: the one who consumed has gone, and nobody waits.
    Cancel(Rc<str>, Option<Promise<()>>),
    Get {
        no_ack: bool,
        promise: Promise<Option<Fetched>>,
    },
    Recover(Promise<()>),
    /// `None`: it was sent because a message was to be confirmed.
    SelectConfirm(Option<Promise<()>>),
    SelectTx(Promise<()>),
    CommitTx(Promise<()>),
    RollbackTx(Promise<()>),
    /// A part of bringing back what was before the connection was lost.
    Replay(MethodId),
}

/// Who wants to hear of a consumer's start.
pub(super) enum Consumed {
    ByCallback(Promise<String>),
    ByStream(Promise<super::Consumer>),
}

impl Request {
    /// The method that was sent.
    pub(super) const fn id(&self) -> MethodId {
        match self {
            Self::OpenChannel(_) => channel::Open::ID,
            Self::DeclareExchange(..) => exchange::Declare::ID,
            Self::DeleteExchange(..) => exchange::Delete::ID,
            Self::BindExchange(..) => exchange::Bind::ID,
            Self::UnbindExchange(..) => exchange::Unbind::ID,
            Self::DeclareQueue(..) => queue::Declare::ID,
            Self::DeleteQueue(..) => queue::Delete::ID,
            Self::PurgeQueue(_) => queue::Purge::ID,
            Self::BindQueue(..) => queue::Bind::ID,
            Self::UnbindQueue(..) => queue::Unbind::ID,
            Self::Qos(_) => basic::Qos::ID,
            Self::Consume(..) => basic::Consume::ID,
            Self::Cancel(..) => basic::Cancel::ID,
            Self::Get { .. } => basic::Get::ID,
            Self::Recover(_) => basic::Recover::ID,
            Self::SelectConfirm(_) => confirm::Select::ID,
            Self::SelectTx(_) => tx::Select::ID,
            Self::CommitTx(_) => tx::Commit::ID,
            Self::RollbackTx(_) => tx::Rollback::ID,
            Self::Replay(id) => *id,
        }
    }

    /// There will be no answer.
    pub(super) fn fail(self, error: &Error) {
        match self {
            Self::OpenChannel(promise) => fail(promise, error),
            Self::DeclareExchange(_, promise)
            | Self::DeleteExchange(_, promise)
            | Self::BindExchange(_, promise)
            | Self::UnbindExchange(_, promise)
            | Self::BindQueue(_, promise)
            | Self::UnbindQueue(_, promise)
            | Self::Qos(promise)
            | Self::Cancel(_, Some(promise))
            | Self::Recover(promise)
            | Self::SelectConfirm(Some(promise))
            | Self::SelectTx(promise)
            | Self::CommitTx(promise)
            | Self::RollbackTx(promise) => fail(promise, error),
            Self::DeclareQueue(_, promise) => fail(promise, error),
            Self::DeleteQueue(_, promise) | Self::PurgeQueue(promise) => fail(promise, error),
            Self::Consume(_, Consumed::ByCallback(promise)) => fail(promise, error),
            Self::Consume(_, Consumed::ByStream(promise)) => fail(promise, error),
            Self::Get { promise, .. } => fail(promise, error),
            Self::Cancel(_, None) | Self::SelectConfirm(None) | Self::Replay(_) => {}
        }
    }

    /// Whether somebody waits for the answer.
    pub(super) const fn is_awaited(&self) -> bool {
        !matches!(self, Self::Cancel(_, None) | Self::SelectConfirm(None))
    }
}

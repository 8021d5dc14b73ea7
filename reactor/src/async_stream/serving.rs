//! Where what futures asked of their connections is done: in the turn's step for tasks, after them,
//! so that an answer leaves in the turn in which its question came.

use std::rc::Rc;

use log::warn;

use super::shared::{Failure, Request, Shared};
use crate::core::Core;
use crate::local::Local;
use crate::output::Written;
use crate::tasks::TaskId;
use crate::transport::Transport;
use crate::{ConnectionId, LOG, Reactor};

impl Local {
    /// Puts a connection on the list of those to be served, once.
    pub(crate) fn serve_later(&self, shared: &Rc<Shared>) {
        let in_list = shared.change(|state| std::mem::replace(&mut state.in_list, true));
        if !in_list {
            self.push_asking(shared.clone());
        }
    }
}

impl Reactor {
    /// The end of step 5: writes, closes and resumes what futures have asked for. None of this
    /// enters user code.
    pub(crate) fn serve_streams(&mut self) {
        if !self.core.local.is_anyone_asking() {
            return;
        }
        for shared in self.core.local.take_asking() {
            let (id, held_up, requests) = shared.change(|state| {
                (state.id, state.is_queue_full(), state.take_requests()) // in this order
            });
            // One that was dropped before its connection was made has no protocol to be made with.
            let Some(id) = id else { continue };
            for request in requests {
                self.core.serve(id, &shared, request);
            }
            if held_up && !shared.borrow().is_above() {
                shared.wake_waiters(); // the queue is empty again, and nothing else will tell
            }
        }
    }
}

impl Core {
    fn serve(&mut self, id: ConnectionId, shared: &Rc<Shared>, request: Request) {
        let mut transport = Transport { core: self, id };
        let written = match request {
            Request::Write(data) => transport.write_bytes(data.freeze()),
            Request::WriteBytes(data) => transport.write_bytes(data),
            Request::Resume => return transport.resume_reading(),
            #[cfg(feature = "_tls")]
            Request::StartTls(tls) => {
                if let Err(error) = transport.start_tls(*tls) {
                    self.failed(id, error.into());
                }
                return;
            }
            Request::LoseWrite => return transport.lose_write_connection(),
            Request::Lose => return transport.lose_connection(),
            Request::Abort => return transport.abort_connection(),
            Request::Ended(result) => return self.function_ended(id, shared, result),
        };
        // What the flush does not take is told by `resume_producing`, which is owed from now on.
        if written == Written::AboveHighWater {
            shared.set_above(true);
        }
    }

    /// Its end is the connection's.
    fn function_ended(
        &mut self,
        id: ConnectionId,
        shared: &Rc<Shared>,
        result: Result<(), Failure>,
    ) {
        self.function_gone(shared);
        match result {
            Ok(()) => Transport { core: self, id }.lose_connection(),
            Err(Failure::Error(error)) => self.failed(id, error),
            Err(Failure::Panic(message)) => self.panicked(id, message),
        }
    }

    /// Counts a function no more, and cancels what would have dropped it.
    fn function_gone(&mut self, shared: &Rc<Shared>) -> Option<TaskId> {
        let (task, grace) = shared.change(|state| (state.task.take(), state.grace.take()));
        if let Some(grace) = grace {
            self.cancel(grace);
        }
        self.functions -= usize::from(task.is_some());
        task
    }

    /// The connection has been gone for long enough: drops a function that did not come to its end.
    pub(crate) fn drop_function(&mut self, shared: &Rc<Shared>) {
        shared.change(|state| state.grace = None);
        if let Some(task) = self.function_gone(shared) {
            warn!(
                target: LOG,
                "{}: the connection is gone, and its function was dropped before its end",
                shared.borrow().peer,
            );
            self.stop_task(task);
        }
    }
}

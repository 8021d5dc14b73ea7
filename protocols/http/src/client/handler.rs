//! What a user of one connection implements to take a response as it comes.

use ropewalk_reactor::Result;

use super::{Exchange, Failure};
use crate::Headers;
use crate::codec::ResponseHead;

/// Follows one exchange: takes the response, and produces the request's body where that is streamed.
///
/// The story: any number of [`informational_received`](Self::informational_received), then
/// [`head_received`](Self::head_received), any number of [`body_received`](Self::body_received), and
/// [`body_ended`](Self::body_ended); or, at any point, [`exchange_lost`](Self::exchange_lost). One of
/// these two comes exactly once and last. All come from the loop, never from inside a call that the
/// handler, or whoever sent the request, makes.
///
/// An error that is returned is logged, and gives the exchange up with its connection:
/// [`exchange_lost`](Self::exchange_lost) has it as [`Failure::Handler`], unless it came from
/// `body_ended`.
pub trait ResponseHandler: 'static {
    /// A 1xx response came: it is not the answer yet. (101 to a request with an Upgrade field is, and
    /// comes as [`head_received`](Self::head_received).)
    fn informational_received(
        &mut self,
        exchange: &mut Exchange<'_>,
        head: &ResponseHead,
    ) -> Result {
        let _ = (exchange, head);
        Ok(())
    }

    /// The answer's head is here. After 101, or a 2xx to CONNECT, the connection is a tunnel: hand it
    /// over with [`Exchange::hand_over`], or go on here: what is written goes out as it is, and what
    /// comes is the body.
    fn head_received(&mut self, exchange: &mut Exchange<'_>, head: &ResponseHead) -> Result;

    /// Bytes of the answer's body arrived, never none; copy what you keep. To slow the server down,
    /// call [`Exchange::pause_reading`].
    fn body_received(&mut self, exchange: &mut Exchange<'_>, data: &[u8]) -> Result;

    /// The answer is whole; `trailers` are the fields behind a chunked body. The last call.
    /// [`Exchange::is_reusable`] tells whether the connection takes another request; one that does not
    /// is closed. A request's body that is not all written by now is not sent any more.
    fn body_ended(&mut self, exchange: &mut Exchange<'_>, trailers: &Headers) -> Result;

    /// The exchange ended before its answer was whole. The last call; its connection is closed.
    fn exchange_lost(&mut self, failure: &Failure);

    /// What was written of the request's body waits above the high-water mark: stop producing.
    fn pause_producing(&mut self, exchange: &mut Exchange<'_>) {
        let _ = exchange;
    }

    /// There is room for more of the request's body. Called once for a body that is streamed, when
    /// the head was sent (with `Expect: 100-continue`, when the server wants the body or says nothing),
    /// and again each time after a write answered
    /// [`AboveHighWater`](ropewalk_reactor::Written::AboveHighWater) or
    /// [`pause_producing`](Self::pause_producing) was called. To produce on demand, write here until a
    /// write answers anything but `Taken`, and end with [`Exchange::finish`].
    fn resume_producing(&mut self, exchange: &mut Exchange<'_>) -> Result {
        let _ = exchange;
        Ok(())
    }
}

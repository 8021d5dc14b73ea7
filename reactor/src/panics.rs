//! Keeps a user's panic where it happened: the loop and everything else go on.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `call`; a panic becomes its message.
///
/// `AssertUnwindSafe` is sound reasoning here because whatever `call` was in the middle of (one
/// protocol, one closure) is thrown away by the caller, never looked at again.
pub(crate) fn isolate<R>(call: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(message)
}

fn message(payload: Box<dyn Any + Send>) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    // A payload of another type may panic again when it is dropped: that is isolated as well.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

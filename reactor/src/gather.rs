//! Waiting for several results at once: all of them, the first success, or whatever ends first.
//!
//! The one rule: what is no longer waited for is dropped, which cancels it where dropping does
//! (a [`Deferred`] says when that is). Every one of these may be dropped itself at any time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::local::Local;
use crate::many_futures::Children;
use crate::{Deferred, Error, Reactor};

/// All results, in the order of the futures. The first error is the error of the whole, at once;
/// the other futures are dropped then.
///
/// ```
/// # use ropewalk_reactor::{Error, Simulation, gather};
/// # use std::time::Duration;
/// # let mut simulation = Simulation::calm();
/// # let local = simulation.reactor().local();
/// # let work = async move {
/// let sleeps = [3, 1, 2].map(|seconds| local.sleep(Duration::from_secs(seconds)));
/// gather(sleeps).await?; // three seconds later
/// # Ok::<_, Error>(()) };
/// # simulation.reactor().spawn(work).then(|_, result| assert!(matches!(result, Ok(Ok(())))));
/// # simulation.settle();
/// # assert!(simulation.elapsed() >= Duration::from_secs(3));
/// ```
#[doc(alias = "gatherResults")]
pub async fn gather<F, T, E>(futures: impl IntoIterator<Item = F>) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut children = Children::new(futures);
    let mut results: Vec<_> = (0..children.count()).map(|_| None).collect();
    while let Some((index, result)) = children.next().await {
        results[index] = Some(result?);
    }
    Ok(results.into_iter().flatten().collect())
}

/// What every future gave, in their order, errors among them: nothing is dropped before its end.
#[doc(alias = "DeferredList")]
pub async fn gather_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut children = Children::new(futures);
    let mut results: Vec<_> = (0..children.count()).map(|_| None).collect();
    while let Some((index, result)) = children.next().await {
        results[index] = Some(result);
    }
    results.into_iter().flatten().collect()
}

/// The first success, and its place among the futures; the others are dropped then. Failures only
/// count when nothing else is left: then they are the error, in the order of the futures. (Of none
/// at all, that is an empty list.)
#[doc(alias = "fireOnOneCallback")]
pub async fn race<F, T, E>(futures: impl IntoIterator<Item = F>) -> Result<(usize, T), Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut children = Children::new(futures);
    let mut errors: Vec<_> = (0..children.count()).map(|_| None).collect();
    while let Some((index, result)) = children.next().await {
        match result {
            Ok(value) => return Ok((index, value)),
            Err(error) => errors[index] = Some(error),
        }
    }
    Err(errors.into_iter().flatten().collect())
}

/// Whatever ends first, and its place among the futures; the others are dropped then. `None` of
/// none at all.
#[doc(alias = "select")]
pub async fn first_of<F: Future>(
    futures: impl IntoIterator<Item = F>,
) -> Option<(usize, F::Output)> {
    Children::new(futures).next().await
}

/// Which of two ended first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first one did.
    Left(A),
    /// The second one did.
    Right(B),
}

/// Whichever of two different futures ends first; the other one is dropped then. When both are
/// done, it is the first one.
#[doc(alias = "select")]
pub async fn either<A: Future, B: Future>(left: A, right: B) -> Either<A::Output, B::Output> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|context| {
        if let Poll::Ready(output) = left.as_mut().poll(context) {
            return Poll::Ready(Either::Left(output));
        }
        right.as_mut().poll(context).map(Either::Right)
    })
    .await
}

/// What two different futures give, when both are done.
#[doc(alias = "join")]
pub async fn both<A: Future, B: Future>(left: A, right: B) -> (A::Output, B::Output) {
    let (mut left, mut right) = (pin!(left), pin!(right));
    let (mut one, mut other) = (None, None);
    poll_fn(move |context| {
        if one.is_none()
            && let Poll::Ready(output) = left.as_mut().poll(context)
        {
            one = Some(output);
        }
        if other.is_none()
            && let Poll::Ready(output) = right.as_mut().poll(context)
        {
            other = Some(output);
        }
        match (one.take(), other.take()) {
            (Some(left), Some(right)) => Poll::Ready((left, right)),
            unfinished => {
                (one, other) = unfinished;
                Poll::Pending
            }
        }
    })
    .await
}

impl Local {
    /// All results, in the order of the deferreds. The first error fails it at once, and cancels
    /// the others (spawned futures among them: they are dropped). Cancelling it cancels them all.
    #[doc(alias = "gatherResults")]
    pub fn gather<T: 'static>(
        &self,
        deferreds: impl IntoIterator<Item = Deferred<T>>,
    ) -> Deferred<Vec<T>> {
        self.spawn_result(gather(cancelling(deferreds)))
    }

    /// The first success, and its place among the deferreds; the others are cancelled then. It
    /// fails with [`Error::AllFailed`] once all have. Cancelling it cancels them all.
    #[doc(alias = "fireOnOneCallback")]
    pub fn race<T: 'static>(
        &self,
        deferreds: impl IntoIterator<Item = Deferred<T>>,
    ) -> Deferred<(usize, T)> {
        let racing = race(cancelling(deferreds));
        self.spawn_result(async move { racing.await.map_err(Error::AllFailed) })
    }

    /// What every deferred gave, in their order, each error in its place: it fails only with the
    /// reactor. Cancelling it cancels those that have not fired.
    #[doc(alias = "DeferredList")]
    pub fn gather_all<T: 'static>(
        &self,
        deferreds: impl IntoIterator<Item = Deferred<T>>,
    ) -> Deferred<Vec<Result<T, Error>>> {
        self.spawn_result({
            let all = gather_all(cancelling(deferreds));
            async move { Ok(all.await) }
        })
    }
}

impl Reactor {
    /// As [`Local::gather`].
    #[doc(alias = "gatherResults")]
    pub fn gather<T: 'static>(
        &self,
        deferreds: impl IntoIterator<Item = Deferred<T>>,
    ) -> Deferred<Vec<T>> {
        self.core.local.gather(deferreds)
    }

    /// As [`Local::race`].
    #[doc(alias = "fireOnOneCallback")]
    pub fn race<T: 'static>(
        &self,
        deferreds: impl IntoIterator<Item = Deferred<T>>,
    ) -> Deferred<(usize, T)> {
        self.core.local.race(deferreds)
    }

    /// As [`Local::gather_all`].
    #[doc(alias = "DeferredList")]
    pub fn gather_all<T: 'static>(
        &self,
        deferreds: impl IntoIterator<Item = Deferred<T>>,
    ) -> Deferred<Vec<Result<T, Error>>> {
        self.core.local.gather_all(deferreds)
    }
}

/// They are taken from the iterator now: a future that is cancelled before it is polled would
/// otherwise never have had them, and they would be dropped as they are.
fn cancelling<T: 'static>(deferreds: impl IntoIterator<Item = Deferred<T>>) -> Vec<Deferred<T>> {
    deferreds.into_iter().map(Deferred::cancel_on_drop).collect()
}

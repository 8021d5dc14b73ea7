//! What is promised of results that cross threads: to whoever asks a reactor and awaits the answer,
//! and to a reactor that awaits one.

mod common;

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use common::{PATIENCE, sleep_until, spawn, turn_until, turn_while};
use ropewalk_reactor::{Answer, Error, Reactor, RemotePromise};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest runtime there is: the thread waits.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park_timeout(PATIENCE);
    }
}

fn is_send<T: Send>(_: &T) {}

#[test]
fn another_runtime_asks_and_awaits_the_answer() {
    let mut reactor = Reactor::new().expect("a poller");
    let (handle, here) = (reactor.handle(), std::thread::current().id());
    let (call, deferred, panic) = turn_while(&mut reactor, move || {
        let answer = handle.call(|_| std::thread::current().id());
        is_send(&answer);
        let deferred = handle.call_deferred(|reactor| {
            let nap = reactor.local().sleep(Duration::from_millis(1));
            reactor.local().spawn(async move { nap.await.map(|()| "later") })
        });
        let panic: Answer<()> = handle.call(|_| panic!("on purpose"));
        (block_on(answer), block_on(deferred), block_on(panic))
    });
    assert_eq!(call.expect("it was made"), here);
    assert!(matches!(deferred, Ok(Ok("later"))));
    assert!(matches!(panic, Err(Error::Panicked(message)) if message == "on purpose"));
}

#[test]
fn a_question_that_was_given_up_is_not_asked_and_its_deferred_is_cancelled() {
    let mut reactor = Reactor::new().expect("a poller");
    let handle = reactor.handle();
    let asked = Arc::new(AtomicBool::new(false));
    let told = asked.clone();
    drop(handle.call(move |_| told.store(true, Ordering::Relaxed)));
    let (began, begins) = channel();
    let answer = handle.call_deferred(move |reactor| {
        began.send(()).expect("the test waits");
        reactor.local().sleep(Duration::from_secs(3600))
    });
    turn_until(&mut reactor, |_| begins.try_recv().is_ok());
    turn_until(&mut reactor, |reactor| reactor.timer_count() == 1);
    let dropping = spawn(move || drop(answer));
    turn_until(&mut reactor, |reactor| reactor.timer_count() == 0);
    dropping.join().expect("no panic");
    assert!(!asked.load(Ordering::Relaxed));
}

#[test]
fn who_awaits_a_reactor_that_goes_or_has_gone_is_told() {
    let mut reactor = Reactor::new().expect("a poller");
    let handle = reactor.handle();
    let waiting = handle.call_deferred(|reactor| reactor.local().sleep(PATIENCE));
    let never_made = handle.clone();
    turn_until(&mut reactor, |reactor| reactor.timer_count() == 1);
    let never_made = never_made.call(|_| ());
    drop(reactor);
    assert!(matches!(block_on(waiting), Err(Error::Stopped)));
    assert!(matches!(block_on(never_made), Err(Error::Stopped)));
    assert!(matches!(block_on(handle.call(|_| ())), Err(Error::Stopped)));
}

#[test]
fn a_deferred_is_fired_from_another_thread_and_wakes_a_loop_that_sleeps() {
    let mut reactor = Reactor::new().expect("a poller");
    for _ in 0..100 {
        let (promise, deferred) = reactor.remote_deferred();
        let heard = Rc::new(Cell::new(None));
        let told = heard.clone();
        deferred.then(move |_, result| told.set(result.ok()));
        let firing = spawn(move || promise.succeed(42));
        sleep_until(&mut reactor, |_| heard.get().is_some());
        assert_eq!(heard.get(), Some(42));
        firing.join().expect("no panic");
    }
}

#[test]
fn a_remote_promise_that_is_dropped_or_fails_says_so() {
    let mut reactor = Reactor::new().expect("a poller");
    let (dropped, first) = reactor.remote_deferred::<()>();
    let (failed, second) = reactor.remote_deferred::<()>();
    let heard = Rc::new(Cell::new(0));
    for (deferred, expected) in [(first, "abandoned"), (second, "timed out")] {
        let heard = heard.clone();
        deferred.then(move |_, result| {
            let said = result.expect_err("it failed").to_string();
            assert!(said.starts_with(expected), "{said}");
            heard.set(heard.get() + 1);
        });
    }
    let ending = spawn(move || {
        drop(dropped);
        failed.fail(Error::TimedOut);
    });
    turn_until(&mut reactor, |_| heard.get() == 2);
    ending.join().expect("no panic");
}

#[test]
fn who_works_for_a_reactor_hears_that_it_waits_no_more() {
    let mut reactor = Reactor::new().expect("a poller");
    let (promise, mut deferred): (RemotePromise<()>, _) = reactor.remote_deferred();
    assert!(promise.is_wanted());
    let working = spawn(move || {
        block_on(promise.unwanted());
        assert!(!promise.is_wanted());
        promise.succeed(()); // nobody minds
    });
    deferred.cancel();
    turn_until(&mut reactor, |_| working.is_finished());
    working.join().expect("it was told");

    let (promise, _deferred) = reactor.remote_deferred::<()>();
    let working = spawn(move || block_on(promise.unwanted()));
    reactor.turn(Some(Duration::ZERO)).expect("the loop goes on");
    drop(reactor);
    working.join().expect("it was told");
}

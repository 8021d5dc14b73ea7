//! Small messages cost no allocation: a thousand of them in one read ask the allocator for no more
//! than one does.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use ropewalk_http::websocket::{Config, Message, WebSocket, WebSocketProtocol};
use ropewalk_reactor::Result;
use ropewalk_reactor::testing::Harness;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it is; the counter is a plain number.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn echo(socket: &mut WebSocket<'_>, message: Message<'_>) -> Result {
    socket.send(message);
    Ok(())
}

/// How often the allocator is asked while `wire` is received and answered.
fn count(harness: &mut Harness<WebSocketProtocol>, wire: &[u8]) -> usize {
    let before = ALLOCATIONS.get();
    harness.feed(wire);
    let count = ALLOCATIONS.get() - before;
    assert!(!harness.written().is_empty());
    count
}

#[test]
fn a_thousand_small_messages_allocate_no_more_than_a_few() {
    let text = [&[0x81, 0x85, 1, 2, 3, 4][..], &[b'h' ^ 1, b'e' ^ 2, b'l' ^ 3, b'l' ^ 4, b'o' ^ 1]];
    let message = text.concat();
    // As many octets in one read, as one message of text and as many.
    let many = message.repeat(1000);
    let length = u16::try_from(many.len() - 8).expect("eleven thousand");
    let mut one = vec![0x82, 0x80 | 126];
    one.extend_from_slice(&length.to_be_bytes());
    one.extend_from_slice(&[0; 4]);
    one.resize(many.len(), 0);

    let mut harness = Harness::new(WebSocketProtocol::server(Arc::new(Config::new()), echo));
    for _ in 0..3 {
        count(&mut harness, &one);
        count(&mut harness, &many);
    }
    let (one, many) = (count(&mut harness, &one), count(&mut harness, &many));
    assert!(many <= one + 20, "{many} allocations for a thousand messages, {one} for one");
}

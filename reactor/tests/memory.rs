//! What an idle connection costs: its slot and its protocol, and no buffer.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{dial, listen, spawn, turn_until};
use ropewalk_reactor::{Address, Protocol, Reactor, Result, Transport};

/// Counts the bytes that are allocated.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by our caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by our caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The request: its last byte is left unconsumed, as if another request began with it.
const REQUEST: usize = 100_000;
const REPLY: usize = 200_000;
const CONNECTIONS: usize = 200;

/// Waits for the whole request, which grows in a buffer; then replies, and leaves a byte.
struct Collector;

impl Protocol for Collector {
    fn data_received(
        &mut self,
        transport: &mut Transport<'_>,
        data: &mut bytes::BytesMut,
    ) -> Result {
        if data.len() == REQUEST {
            let _ = data.split_to(REQUEST - 1);
            transport.write(&[7; REPLY / 2]);
            transport.write(&[7; 10]);
            transport.write(&[7; REPLY / 2 - 10]);
        }
        Ok(())
    }
}

#[test]
fn an_idle_connection_holds_no_buffers() {
    let mut reactor = Reactor::new().expect("a poller");
    let address = listen(&mut reactor, |_: Address| Collector);
    // Whatever is allocated once, for all connections, is there after the first.
    let mut idle = Vec::with_capacity(CONNECTIONS);
    idle.push(exchange(&mut reactor, address));
    let before = LIVE.load(Ordering::Relaxed);
    for _ in 1..CONNECTIONS {
        idle.push(exchange(&mut reactor, address));
    }
    assert_eq!(reactor.connection_count(), CONNECTIONS);
    let each = LIVE.load(Ordering::Relaxed).saturating_sub(before) / CONNECTIONS;
    assert!(each < 1024, "{each} bytes for each connection");
}

fn exchange(reactor: &mut Reactor, address: std::net::SocketAddr) -> std::net::TcpStream {
    let client = spawn(move || {
        let mut client = dial(address);
        client.write_all(&vec![7; REQUEST]).expect("room");
        client.read_exact(&mut vec![0; REPLY]).expect("the reply");
        client
    });
    turn_until(reactor, |_| client.is_finished());
    client.join().expect("it has its reply")
}

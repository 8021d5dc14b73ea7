//! What an idle connection costs: its slot and its protocol, and no buffer.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{dial, spawn, turn_until};
use ropewalk_reactor::{Address, ListenOptions, Policy, Protocol, Reactor, Result, Transport};

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
    common::in_its_own_process("an_idle_connection_holds_no_buffers", || {
        let each = plain(ListenOptions::default());
        assert!(each < 1024, "{each} bytes for each connection");
    });
}

#[test]
fn a_policy_costs_an_idle_connection_little_and_nothing_where_there_is_none() {
    let name = "a_policy_costs_an_idle_connection_little_and_nothing_where_there_is_none";
    common::in_its_own_process(name, || {
        let without = plain(ListenOptions::default());
        let policy = Policy::new()
            .idle_timeout(Duration::from_secs(1000))
            .rate_in(1 << 30)
            .total_rate_in(1 << 30)
            .max_connections_per_peer(CONNECTIONS);
        let with = plain(ListenOptions::default().policy(policy));
        assert!(with - without < 400, "{with} bytes with a policy, {without} without");
    });
}

fn plain(options: ListenOptions) -> usize {
    let mut reactor = Reactor::new().expect("a poller");
    let listener = reactor.listen_with(options, "127.0.0.1:0", |_: Address| Collector);
    let address = reactor.address(listener.expect("a free port")).expect("it listens");
    let address = address.socket_addr().expect("it is TCP");
    // Whatever is allocated once, for all connections, is there after the first.
    let mut idle = Vec::with_capacity(CONNECTIONS);
    idle.push(exchange(&mut reactor, address));
    let before = LIVE.load(Ordering::Relaxed);
    for _ in 1..CONNECTIONS {
        idle.push(exchange(&mut reactor, address));
    }
    assert_eq!(reactor.connection_count(), CONNECTIONS);
    LIVE.load(Ordering::Relaxed).saturating_sub(before) / CONNECTIONS
}

/// Takes what comes, and keeps nothing.
#[cfg(feature = "_tls")]
struct Sink;

#[cfg(feature = "_tls")]
impl Protocol for Sink {
    fn handshake_completed(&mut self, transport: &mut Transport<'_>) -> Result {
        transport.write(&[7; 3000]);
        Ok(())
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &mut bytes::BytesMut) -> Result {
        // A byte is left, so that something is: as if another message began with it.
        if data.len() == 3000 {
            let _ = data.split_to(2999);
        }
        Ok(())
    }
}

/// With TLS the session is what is left: keys, and what was agreed on. A buffer for records alone
/// would be 16 KiB.
#[cfg(feature = "_tls")]
#[test]
fn an_idle_connection_with_tls_holds_no_buffers_either() {
    common::in_its_own_process("an_idle_connection_with_tls_holds_no_buffers_either", || {
        use common::certificates::{client, server};
        use ropewalk_reactor::ConnectOptions;

        let mut reactor = Reactor::new().expect("a poller");
        let options = ListenOptions::default().tls(server());
        let listener = reactor.listen_with(options, "127.0.0.1:0", |_: Address| Sink);
        let address = reactor.address(listener.expect("a free port")).expect("it listens");
        let options = ConnectOptions::default().tls(client());
        let connect = |reactor: &mut Reactor, all: usize| {
            reactor.connect_with(options.clone(), address.clone(), |_: Address| Sink).forget();
            turn_until(reactor, |reactor| reactor.connection_count() == 2 * all);
            for _ in 0..20 {
                reactor.turn(Some(std::time::Duration::from_millis(1))).expect("it goes on");
            }
        };
        connect(&mut reactor, 1);
        let before = LIVE.load(Ordering::Relaxed);
        for all in 2..=CONNECTIONS {
            connect(&mut reactor, all);
        }
        let each = LIVE.load(Ordering::Relaxed).saturating_sub(before) / CONNECTIONS / 2;

        assert!(each < 4096, "{each} bytes for each end of a connection");
    });
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

//! TLS over a Unix socket, to a peer that sends descriptors with its records.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use ropewalk_reactor::Reactor;
use ropewalk_reactor::tls::rustls::pki_types::ServerName;
use ropewalk_reactor::tls::rustls::{self, ClientConnection, version};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::common::{
    PATIENCE, Probe, Record, descriptors, in_its_own_process, once, turn_until, turn_while,
};
use crate::support::*;

/// Sends `data` in one message, with a descriptor if there is one.
fn send(stream: &UnixStream, data: &[u8], descriptor: Option<&OwnedFd>) {
    let carried = descriptor.map(|descriptor| [descriptor.as_fd()]);
    let mut space = [MaybeUninit::uninit(); 64];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(carried) = &carried {
        assert!(control.push(SendAncillaryMessage::ScmRights(carried)));
    }
    let sent = sendmsg(stream, &[IoSlice::new(data)], &mut control, SendFlags::empty());
    assert_eq!(sent.expect("room"), data.len());
}

fn wire(tls: &mut ClientConnection) -> Vec<u8> {
    let mut wire = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut wire).expect("memory");
    }
    wire
}

#[test]
fn descriptors_that_come_with_records_are_closed_and_stop_nothing() {
    const NAME_OF_TEST: &str =
        "unix::descriptors_that_come_with_records_are_closed_and_stop_nothing";
    in_its_own_process(NAME_OF_TEST, || {
        for takes in [0, 3] {
            let path = std::env::temp_dir().join(format!("ropewalk-tls-{}", std::process::id()));
            let mut reactor = Reactor::new().expect("a poller");
            let record = Record::new();
            let probe = Probe::echo(&record).on_made(move |transport| {
                transport.receive_descriptors(takes)?;
                transport.start_tls(&server())?;
                let refused = transport.receive_descriptors(1).expect_err("behind TLS");
                assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);
                Ok(())
            });
            let address = format!("unix:{}", path.display());
            reactor.listen(&address, once(probe)).expect("a free path");
            let mut stream = UnixStream::connect(&path).expect("it listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            turn_until(&mut reactor, |_| record.is_made());
            let before = descriptors();
            // The kernel ends a read behind a message with a descriptor: the other half of the
            // greeting comes without an edge of its own.
            let config = Arc::new(raw_config(&[&version::TLS13]));
            let name = ServerName::try_from(NAME).expect("a name");
            let mut tls = ClientConnection::new(config, name).expect("a session");
            let hello = wire(&mut tls);
            let carried: OwnedFd = std::fs::File::open("/dev/null").expect("it is there").into();
            let (one, other) = hello.split_at(hello.len() / 2);
            send(&stream, one, Some(&carried));
            send(&stream, other, None);
            let stream = turn_while(&mut reactor, move || {
                let mut reply = [0; 5];
                for round in 0..20 {
                    tls.writer().write_all(b"hello").expect("memory");
                    if tls.is_handshaking() {
                        rustls::Stream::new(&mut tls, &mut stream).flush().expect("a handshake");
                    } else {
                        send(&stream, &wire(&mut tls), Some(&carried));
                    }
                    rustls::Stream::new(&mut tls, &mut stream)
                        .read_exact(&mut reply)
                        .unwrap_or_else(|error| panic!("round {round}: {error}"));
                    assert_eq!(&reply, b"hello");
                }
                stream
            });
            assert_eq!(descriptors(), before, "with room for {takes}");
            drop(stream);
        }
    });
}

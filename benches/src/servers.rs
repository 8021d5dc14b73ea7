//! The servers that are measured. Each runs in a process of its own, on one core, says where
//! it listens, and then serves until it is killed.

mod amqp_epoll;
mod amqp_rabbitmq;
mod amqp_ropewalk;
mod echo_epoll;
mod echo_mio;
mod echo_ropewalk;
mod echo_tokio;
mod files_epoll;
mod files_ropewalk;
mod http_epoll;
mod http_files_nginx;
mod http_files_ropewalk;
mod http_hyper;
mod http_may;
mod http_nginx;
mod http_ropewalk;
mod raw;
mod redis_ropewalk;
mod redis_server;
mod tls_ropewalk;
mod tls_tokio;
mod udp_epoll;
mod udp_ropewalk;
mod udp_tokio;

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use ropewalk_reactor::{ListenerId, Reactor};

use crate::files::FILE;

/// What every HTTP server answers, with `Content-Length`, `Content-Type` and `Date`.
const HELLO: &str = "Hello, World!";

pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// What it is, for the table.
    pub(crate) what: &'static str,
    run: fn() -> io::Result<()>,
}

/// The first one is what the others are compared with.
pub(crate) const ECHO: &[Contender] = &[
    Contender {
        name: "echo-epoll",
        what: "a bare edge-triggered loop over epoll: the limit",
        run: echo_epoll::run,
    },
    Contender { name: "echo-ropewalk", what: "Ropewalk", run: echo_ropewalk::run },
    Contender { name: "echo-mio", what: "a bare loop over mio", run: echo_mio::run },
    Contender { name: "echo-tokio", what: "tokio, current_thread", run: echo_tokio::run },
];

/// The first one is what the others are compared with.
pub(crate) const TLS: &[Contender] = &[
    Contender { name: "tls-tokio", what: "tokio-rustls, current_thread", run: tls_tokio::run },
    Contender { name: "tls-ropewalk", what: "Ropewalk", run: tls_ropewalk::run },
];

/// The first one is what the others are compared with.
pub(crate) const UDP: &[Contender] = &[
    Contender {
        name: "udp-epoll",
        what: "a bare loop of recvmmsg and sendmmsg: the limit",
        run: udp_epoll::run,
    },
    Contender { name: "udp-ropewalk", what: "Ropewalk", run: udp_ropewalk::run },
    Contender { name: "udp-tokio", what: "tokio, current_thread", run: udp_tokio::run },
];

/// The first one is what the others are compared with.
pub(crate) const REDIS: &[Contender] = &[
    Contender { name: "redis-server", what: "Redis", run: redis_server::run },
    Contender { name: "redis-ropewalk", what: "Ropewalk", run: redis_ropewalk::run },
];

/// The first one is what the others are compared with.
pub(crate) const HTTP: &[Contender] = &[
    Contender {
        name: "http-epoll",
        what: "a bare loop that looks for blank lines: the limit",
        run: http_epoll::run,
    },
    Contender { name: "http-ropewalk", what: "Ropewalk", run: http_ropewalk::run },
    Contender { name: "http-hyper", what: "hyper on tokio, current_thread", run: http_hyper::run },
    Contender { name: "http-may_minihttp", what: "may_minihttp, one worker", run: http_may::run },
    Contender { name: "http-nginx", what: "nginx, one process", run: http_nginx::run },
];

/// A directory, whose place the environment tells; the first one is what the others are compared with.
pub(crate) const HTTP_FILES: &[Contender] = &[
    Contender {
        name: "http_files-nginx",
        what: "nginx with sendfile, one process",
        run: http_files_nginx::run,
    },
    Contender { name: "http_files-ropewalk", what: "Ropewalk", run: http_files_ropewalk::run },
];

/// The first one is what the others are compared with.
pub(crate) const FILES: &[Contender] = &[
    Contender {
        name: "files-epoll",
        what: "a bare loop of sendfile over epoll: the limit",
        run: files_epoll::run,
    },
    Contender { name: "files-ropewalk", what: "Ropewalk, write_file", run: files_ropewalk::run },
    Contender {
        name: "files-ropewalk-copying",
        what: "Ropewalk, the file read by the protocol",
        run: files_ropewalk::run_copying,
    },
];

/// The first one is what the others are compared with.
pub(crate) const AMQP: &[Contender] = &[
    Contender { name: "amqp-rabbitmq", what: "RabbitMQ, one scheduler", run: amqp_rabbitmq::run },
    Contender {
        name: "amqp-epoll",
        what: "a bare loop that stores and routes nothing: the limit",
        run: amqp_epoll::run,
    },
    Contender { name: "amqp-ropewalk", what: "Ropewalk", run: amqp_ropewalk::run },
];

/// What is measured with durable queues, beside RabbitMQ.
pub(crate) const AMQP_DURABLE: &[Contender] = &[Contender {
    name: "amqp-ropewalk-durable",
    what: "Ropewalk, with a store",
    run: amqp_ropewalk::run_durable,
}];

/// Serves until killed.
pub(crate) fn serve(name: &str) -> io::Result<()> {
    let suites = [ECHO, TLS, UDP, REDIS, HTTP, HTTP_FILES, FILES, AMQP, AMQP_DURABLE];
    let mut all = suites.into_iter().flatten();
    match all.find(|contender| contender.name == name) {
        Some(contender) => (contender.run)(),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no server {name}"))),
    }
}

/// The directory that is to be served.
fn root_of_files() -> io::Result<PathBuf> {
    let told = std::env::var_os(crate::child::DATA).map(PathBuf::from);
    told.ok_or_else(|| io::Error::other("no directory was named"))
}

/// Tells the parent where we listen.
fn announce(port: u16) {
    println!("listening {port}");
    let _ = io::stdout().flush();
}

/// Tells the parent where we take datagrams: there is nothing to connect to.
fn announce_datagrams(port: u16) {
    println!("bound {port}");
    let _ = io::stdout().flush();
}

/// Tells the parent that this server cannot run here.
fn announce_absent(why: &str) {
    println!("absent {why}");
    let _ = io::stdout().flush();
}

fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    announce(listener.local_addr()?.port());
    Ok(listener)
}

/// As `listen`, for a reactor that does.
fn announce_reactor(reactor: &mut Reactor, listener: ListenerId) -> io::Result<()> {
    let address = reactor.address(listener).ok_or(io::ErrorKind::NotConnected)?;
    announce(address.port().ok_or(io::ErrorKind::AddrNotAvailable)?);
    Ok(())
}

/// A file without a name, of the length that is served, with no hole in it.
fn scratch_file() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("ropewalk-bench-{}", std::process::id()));
    let mut open = File::options();
    let mut file = open.read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    let piece: Vec<u8> = (0..1 << 20).map(|place: u32| (place >> 8) as u8).collect();
    for _ in 0..FILE >> 20 {
        file.write_all(&piece)?;
    }
    Ok(file)
}

/// A port that was free a moment ago, for servers that insist on binding it themselves.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

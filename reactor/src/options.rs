//! What can be set on reactors, listeners and connections: every limit is named here, with its
//! default and the reason for it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::policy::Policy;
use crate::setters::setters;
#[cfg(feature = "_tls")]
use crate::tls::{TlsClient, TlsServer};

/// Above this much buffered output the producer is paused: a few round trips' worth on a LAN,
/// and what asyncio and Twisted use.
pub(crate) const HIGH_WATER_MARK: usize = 64 * 1024;
/// A quarter of it, so that a producer wakes before the socket runs dry and not for each packet.
pub(crate) const LOW_WATER_MARK: usize = HIGH_WATER_MARK / 4;
/// Sixteen times high water: replies to requests already taken fit, a flood of them does not.
const STOP_READING_MARK: usize = 16 * HIGH_WATER_MARK;
/// One's own writes are never refused below this; above it the peer is not worth the memory.
pub(crate) const OUTPUT_LIMIT: usize = 64 * 1024 * 1024;
/// Sixteen read buffers. Whoever collects more should consume it in pieces.
pub(crate) const RECEIVE_LIMIT: usize = 1024 * 1024;
/// nginx's `send_timeout` is 60 s; half of it, since only closing connections wait for it.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a closed connection waits for the peer's FIN: some round trips on a bad line.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// Twisted's default for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// RFC 8305, section 8: the recommended Connection Attempt Delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// A proxy sends its header at once; the protocol's specification asks for 3 s at least, in which
/// TCP sends again what was lost. nginx waits 30 s, but whoever says nothing has a descriptor.
const PROXY_TIMEOUT: Duration = Duration::from_secs(5);
/// Linux cuts it to `net.core.somaxconn`, which is 4096 since 5.4.
const BACKLOG: u32 = 1024;

/// Marks, limits and timeouts of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionOptions {
    pub(crate) high_water_mark: usize,
    pub(crate) low_water_mark: usize,
    pub(crate) stop_reading_mark: usize,
    pub(crate) output_limit: usize,
    pub(crate) receive_limit: usize,
    pub(crate) flush_timeout: Duration,
    pub(crate) linger_timeout: Duration,
    pub(crate) no_delay: bool,
    pub(crate) keep_alive: Option<Duration>,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            high_water_mark: HIGH_WATER_MARK,
            low_water_mark: LOW_WATER_MARK,
            stop_reading_mark: STOP_READING_MARK,
            output_limit: OUTPUT_LIMIT,
            receive_limit: RECEIVE_LIMIT,
            flush_timeout: FLUSH_TIMEOUT,
            linger_timeout: LINGER_TIMEOUT,
            no_delay: true,
            keep_alive: None,
        }
    }
}

impl ConnectionOptions {
    setters! {
        /// Bytes of buffered output above which `pause_producing` is called (64 KiB).
        high_water_mark: usize;
        /// Bytes of buffered output at which `resume_producing` is called (16 KiB).
        low_water_mark: usize;
        /// Bytes of buffered output above which the reactor reads no more from the connection
        /// (1 MiB), until it has fallen to the low-water mark. Keep it well above high water: a
        /// client that acknowledges with blocking writes would be deadlocked otherwise.
        stop_reading_mark: usize;
        /// Bytes of buffered output above which the connection is aborted (64 MiB), with
        /// [`Reason::OutputLimit`](crate::Reason::OutputLimit); judged after sending was tried.
        output_limit: usize;
        /// Bytes of input that `data_received` may leave unconsumed (1 MiB); above it the
        /// connection is closed with [`Reason::ReceiveLimit`](crate::Reason::ReceiveLimit).
        receive_limit: usize;
        /// How long a closing connection may make no progress in flushing (30 s).
        flush_timeout: Duration;
        /// How long a closed connection reads and discards until the peer closes too (2 s).
        linger_timeout: Duration;
        /// Whether small writes go out at once (`TCP_NODELAY`, true): the reactor already joins
        /// the writes of a turn, and Nagle's algorithm would only delay them.
        no_delay: bool;
        /// Idle time before the kernel probes the peer (`SO_KEEPALIVE`; none).
        keep_alive: Option<Duration>;
    }
}

/// How to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOptions {
    pub(crate) connection: ConnectionOptions,
    pub(crate) backlog: u32,
    pub(crate) reuse_port: bool,
    pub(crate) mode: Option<u32>,
    pub(crate) proxy: bool,
    pub(crate) proxy_timeout: Duration,
    pub(crate) policy: Option<Policy>,
    #[cfg(feature = "_tls")]
    pub(crate) tls: Option<TlsServer>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            connection: ConnectionOptions::default(),
            backlog: BACKLOG,
            reuse_port: false,
            mode: None,
            proxy: false,
            proxy_timeout: PROXY_TIMEOUT,
            policy: None,
            #[cfg(feature = "_tls")]
            tls: None,
        }
    }
}

impl ListenOptions {
    setters! {
        /// What the accepted connections begin with.
        connection: ConnectionOptions;
        /// How many connections the kernel holds until they are accepted (1024).
        backlog: u32;
        /// Whether several sockets may share the address (`SO_REUSEPORT`, false): one reactor a
        /// core, each with a listener of its own.
        reuse_port: bool;
        /// Whether each connection begins with a header of the PROXY protocol, version 1 or 2, in
        /// which a proxy names the client (false). The connection is made when the header is
        /// there, and [`Transport::peer`](crate::Transport::peer) is the client then; the host
        /// address stays the socket's own. A header that tells of no client (a proxy's own health
        /// check: `LOCAL`, `UNKNOWN`) leaves the proxy as the peer.
        ///
        /// A connection without a header, with a wrong one, or with one of more than 107 bytes
        /// (version 1) or 4096 (version 2) is closed, and the log says why. Whoever can connect
        /// can say what he likes in a header: only the proxy should be able to.
        proxy: bool;
        /// How long the header may take (5 s).
        proxy_timeout: Duration;
    }

    /// Who may connect to a Unix socket: the permissions of its path, as for chmod(2) (what the
    /// umask leaves; without `w`, nobody can connect). They are set before anyone can.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode & 0o777);
        self
    }

    /// Timeouts, rates and limits for all connections of this listener, and of others with the same
    /// policy.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Speaks TLS on every connection, from its beginning.
    #[cfg(feature = "_tls")]
    #[must_use]
    pub fn tls(mut self, server: TlsServer) -> Self {
        self.tls = Some(server);
        self
    }
}

/// How to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    pub(crate) connection: ConnectionOptions,
    pub(crate) timeout: Duration,
    pub(crate) attempt_delay: Duration,
    pub(crate) bind: Option<SocketAddr>,
    pub(crate) policy: Option<Policy>,
    #[cfg(feature = "_tls")]
    pub(crate) tls: Option<TlsClient>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connection: ConnectionOptions::default(),
            timeout: CONNECT_TIMEOUT,
            attempt_delay: ATTEMPT_DELAY,
            bind: None,
            policy: None,
            #[cfg(feature = "_tls")]
            tls: None,
        }
    }
}

impl ConnectOptions {
    setters! {
        /// What the connection begins with.
        connection: ConnectionOptions;
        /// How long it may take until the connection is there, resolving included (30 s).
        timeout: Duration;
        /// How long the attempt at one address of a name has until the next one begins beside
        /// it (250 ms); when it fails, that begins at once.
        attempt_delay: Duration;
        /// The local address to connect from (the system's choice); port 0 leaves that to the
        /// system. Addresses of the other family are not tried then.
        bind: Option<SocketAddr>;
    }

    /// Timeouts and rates of the connection, once it is there, and of others with the same policy. It
    /// counts as one of theirs, and is never refused.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Speaks TLS from the beginning, with a server that proves to be who the address names. The
    /// deferred then fires after the handshake, or fails with it.
    #[cfg(feature = "_tls")]
    #[must_use]
    pub fn tls(mut self, client: TlsClient) -> Self {
        self.tls = Some(client);
        self
    }
}

/// What can be set on a reactor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReactorOptions {
    pub(crate) threads: usize,
    pub(crate) queued_jobs: usize,
    pub(crate) hold_timeout: Duration,
    pub(crate) shutdown_timeout: Duration,
}

impl Default for ReactorOptions {
    fn default() -> Self {
        Self {
            threads: 8,
            queued_jobs: 1024,
            hold_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

impl ReactorOptions {
    setters! {
        /// The most threads that the pool starts (8); they start when there is work for them.
        threads: usize;
        /// The most jobs that wait for a thread (1024); one more is refused.
        queued_jobs: usize;
        /// How long triggers before shutdown may hold it (30 s).
        hold_timeout: Duration;
        /// How long connections may take to flush at shutdown (10 s); then they are aborted.
        shutdown_timeout: Duration;
    }
}

//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::amqp::Amqp;
use crate::data::DataTool;
use crate::http::Http;
use crate::privileges::Who;
use crate::redis::Redis;
use crate::service::{Echo, Line};

/// Event-driven servers: a message queue for every RabbitMQ client, publish/subscribe for every Redis
/// client, HTTP, lines, echo.
#[derive(Debug, Parser)]
#[command(name = "ropewalk", version, after_help = MORE)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const MORE: &str = "\
Each listener that is bound prints a line on standard output, `listening KIND ADDRESS`; the log
goes to standard error (RUST_LOG=info is the default, debug shows connections, trace every event).
SIGINT (Ctrl-C) and SIGTERM stop in order: what is under way is flushed, for 10 seconds at most. A
second one stops at once. SIGHUP reads certificates again, and the file of `serve --config`, and opens
access logs anew.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start every service on its usual loopback port, or those that a file lists
    #[command(after_help = CONFIG)]
    Serve(Serve),
    /// Start the message queue: AMQP 0-9-1, as RabbitMQ speaks it
    #[command(after_help = AMQP, args_conflicts_with_subcommands = true)]
    Amqp(Box<MessageQueue>),
    /// Start a publish/subscribe server, as Redis speaks it
    #[command(after_help = REDIS)]
    Redis(Box<Redis>),
    /// Start an HTTP/1.1 server: of the files in a directory, in front of another server, or else one
    /// that answers with the request it saw, and echoes WebSockets
    #[command(after_help = HTTP)]
    Http(Box<Http>),
    /// Start a server that sends each line back
    #[command(after_help = ADDRESSES)]
    Line(Line),
    /// Start a server that sends each byte back (RFC 862), or each datagram (udp://127.0.0.1:7007)
    #[command(after_help = ADDRESSES)]
    Echo(Echo),
}

/// Several services.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// A TOML file that lists the services; it is read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Tell what is wrong with the file, and start nothing
    #[arg(long, requires = "config")]
    pub(crate) check: bool,
    /// Once everything is bound, go on as this user and not as root any more
    #[arg(long, value_name = "NAME[:GROUP]")]
    pub(crate) user: Option<Who>,
}

/// The message queue, or a tool for what it left on the disk.
#[derive(Debug, Args)]
pub(crate) struct MessageQueue {
    #[command(flatten)]
    pub(crate) options: Amqp,
    #[command(subcommand)]
    pub(crate) tool: Option<DataTool>,
}

/// What stands for ADDRESS; `macro_rules` because `concat!` takes literals alone.
macro_rules! addresses {
    () => {
        "\
An ADDRESS is one of
    tcp://127.0.0.1:8080      TCP; tcp:// may be left out, and a name may stand for the address
    tcp://[::1]:8080          TCP over IPv6: the address stands in brackets
    tls://0.0.0.0:8443?cert=FILE&key=FILE
                              TLS, with a certificate and its key in PEM; they are read again when
                              they change
    udp://127.0.0.1:7007      UDP, for `echo` alone
    unix:/run/app.sock        a Unix socket; a path that a crash has left behind is replaced
    unix:@app                 a Unix socket in Linux's abstract namespace
    systemd:0                 the first socket that systemd passed, or by its name: systemd:web
Options follow a ?, with & between them (quote both from the shell):
    backlog=N                 connections that the kernel holds until they are accepted [1024]
    reuse-port=true           several processes share the address (TCP)
    proxy=true                each connection begins with a PROXY protocol header (v1 or v2): who its
                              client really is, as a proxy in front of the service says
    client-ca=FILE            clients must show a certificate that one of these signed (tls://)
    mode=660                  who may connect: the path's permissions, in octal (unix:) [umask]"
    };
}

const ADDRESSES: &str = addresses!();

const HTTP: &str = concat!(
    addresses!(),
    "

With --root, GET and HEAD bring the files beneath a directory, with ranges, conditions and validators.
Symbolic links are followed as far as they stay beneath it. What begins with a dot is not served, but
for what is in /.well-known. Who may read it decides: the files are those of the user that this runs as.

With --proxy, another server answers: both bodies are streamed, it is told who asked (X-Forwarded-For,
Forwarded), and WebSockets become a tunnel. When it cannot be reached the answer is 502, when it takes too
long 504.

At the end, and after a signal, requests that are under way are answered first, for 10 seconds at most.
In the file of `serve --config` the options have the same names:

    [[service]]
    kind = \"http\"
    root = \"/srv/www\"
    index = [\"index.html\"]
    compress = true
    access-log = \"/var/log/ropewalk/access.log\""
);

const AMQP: &str = concat!(
    addresses!(),
    "

Durable exchanges, queues, bindings and users, and persistent messages in durable queues, are kept in
a directory: that of --data, or else ropewalk/amqp in $XDG_DATA_HOME or ~/.local/share; the log says
where. One broker at a time uses a directory. `ropewalk amqp check DIR` tells what is in it.

Without --user, --user-file and --definitions there is one user, `guest` with the password `guest`,
who can only connect from this machine. Other users have to be listed, and then guest is none of
them.

The users of --user and --user-file are administrators, and may do everything in `/` and in every
--vhost. Passwords on the command line can be seen by everybody on this machine; --user-file has one
NAME:PASSWORD a line, and lines that begin with # are skipped. Users who may do less, and queues,
exchanges and bindings to begin with, come from --definitions: a file as RabbitMQ's
`rabbitmqctl export_definitions` writes it. Either all of it is imported or, if there is a mistake
in it, nothing starts.

The memory of --memory-limit is what messages take: their bytes, 80 more for
each, and 48 for each queue that holds it. Beyond the limit, connections that publish are told (connection.blocked)
and not read any more, and those that only consume go on; it ends by itself once messages are down
to seven eighths of the limit. A share is one of the memory that this machine has, or the control
group of this process if that has less; where neither is told, it stands for 1GiB.

The disk of --disk-limit is the one of the data directory. With less than that free, and on a disk
that is really full, publishers are blocked in the same way, consumers go on, and it ends by itself
once there is more. How much is free is looked at every 10 seconds, near the limit ten times a second.

In the file of `serve --config` the options have the same names; those that can be repeated are
lists there:

    [[service]]
    kind = \"amqp\"
    vhost = [\"shop\"]
    user-file = \"users.txt\"
    max-connections = 1000
    memory-limit = \"2GiB\"
    disk-limit = \"1GB\""
);

const REDIS: &str = concat!(
    addresses!(),
    "

It speaks RESP2 and RESP3, and has the commands of publish/subscribe and of connections; there are no
keys. Try it with redis-cli: SUBSCRIBE news in one, PUBLISH news hello in another.

A subscriber that does not read as fast as others publish is closed, and the log says so: at once when
more than --subscriber-limit is waiting for it, or when more than --subscriber-soft-limit has been for
--subscriber-soft-time. In the file of `serve --config` the options have the same names:

    [[service]]
    kind = \"redis\"
    password-file = \"redis-password.txt\"
    subscriber-limit = \"64MiB\""
);

const CONFIG: &str = "\
The file begins with what concerns the process, all of which may be left out:

    user = \"ropewalk:ropewalk\"     # who it goes on as once root has bound everything
    shutdown-timeout = 10           # seconds that connections may take to flush at the end
    log = \"info\"                    # error, warn, info, debug, trace; RUST_LOG goes before it
    pid-file = \"/run/ropewalk/pid\"

Then come the services, any number of each kind. Their options are named as on the command line, and
`name` is for the log and for errors:

    [[service]]
    kind = \"amqp\"
    listen = [\"tcp://127.0.0.1:5672\", \"tcp://[::1]:5672\"]

    [[service]]
    kind = \"line\"
    name = \"upper-floor\"
    listen = [\"tcp://127.0.0.1:7000\"]
    max-length = 4096
    max-connections-per-peer = 10

Limits of connections that all services have (idle-timeout, max-lifetime, rate-in, rate-out,
total-rate-in, total-rate-out, max-connections-per-peer, traffic-log-size) hold for each service that has
none of its own if they stand under [policy]:

    [policy]
    idle-timeout = \"10m\"

A bridge joins the channels of a Redis server that match a pattern to a topic exchange of a message queue;
each of the two is a service of the file, by its name, or elsewhere (redis://HOST, amqp://HOST):

    [[bridge]]
    redis = \"redis\"
    amqp = \"amqp\"
    channels = \"news.*\"
    exchange = \"news\"
    direction = \"both\"            # or to-amqp, to-redis

SIGHUP reads the file again. What is new in it is listened on, what is gone no more, and connections
go on; changed options are for new connections. What needs a restart is told in the log, and so is a
mistake, which changes nothing. Under systemd (Type=notify-reload) the unit is ready when everything is
bound and the message queues have their data back.

`user` needs root to start with. Data directories have to be the user's, who must be able to read
certificates and keys when they change.";

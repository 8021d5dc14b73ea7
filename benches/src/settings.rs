//! What the command line asks for.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: ropewalk-bench [echo|tls|udp|redis|http|http_files|files|slowloris|idle|timers|amqp|durable|store|all] [options]

  echo     64 connections, 64 bytes, 1 and 16 requests in flight on each
  tls      as echo, over TLS 1.3 with AES-128-GCM
  udp      datagrams of 64 bytes there and back: 64 sockets with 1 in flight, 8 with 16
  redis    PING, and publishes to 1, 10, 100 and 1,000 subscribers, 64 in flight
  http     64 connections, 'Hello, World!', 1 and 16 requests in flight on each
  http_files
           a file of 1 GiB to one fast reader, and to a hundred slow ones
  slowloris
           how soon others are answered beside 10,000 heads that never end
  files    a file of 64 MiB over and over, to 1 and to 8 readers
  idle     memory that 10,000 idle connections take
  timers   a million timers set, cancelled, fired, moved
  amqp     a message queue: one to one, fan-out, confirms, acknowledgements, topics, memory
  durable  a message queue that keeps what it confirms: persistent messages, synced
  store    a message log: appending and acknowledging with syncs, restart with a million messages
  all      all of these (the default)

  --rounds N      alternating runs of each server (8)
  --seconds S     measured time of a run (1)
  --server-core N, --load-core N
                  which cores (the last and the first allowed)
  --only A,B,…    only these contenders, and the first, which is the measure
  --shapes A,B,…  of amqp, durable and store, only the shapes whose names contain one of these
  --backlog N     messages that a durable queue is left with (1000000)
  --json FILE     the same figures, all runs of them, as JSON
  --quick         a smoke run of some seconds: its figures mean nothing
";

pub(crate) struct Settings {
    pub(crate) suites: Vec<Suite>,
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    pub(crate) idle_connections: usize,
    pub(crate) timers: usize,
    /// That a store holds when it is opened.
    pub(crate) stored_messages: u64,
    /// In a durable queue that is killed over them; a fifth of it where more pass.
    pub(crate) backlog_messages: u64,
    /// Bytes of the file that is served.
    pub(crate) large_file: u64,
    pub(crate) server_core: Option<usize>,
    pub(crate) load_core: Option<usize>,
    pub(crate) only: Option<Vec<String>>,
    /// Of the suites `amqp`, `durable` and `store`.
    pub(crate) shapes: Option<Vec<String>>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) quick: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Suite {
    Echo,
    Tls,
    Udp,
    Redis,
    Http,
    HttpFiles,
    Slowloris,
    Files,
    Idle,
    Timers,
    Amqp,
    Durable,
    Store,
}

const ALL: [Suite; 13] = [
    Suite::Echo,
    Suite::Tls,
    Suite::Udp,
    Suite::Redis,
    Suite::Http,
    Suite::HttpFiles,
    Suite::Slowloris,
    Suite::Files,
    Suite::Idle,
    Suite::Timers,
    Suite::Amqp,
    Suite::Durable,
    Suite::Store,
];

impl Settings {
    /// Reads the arguments; `cores` are those that we may run on. `Err` is for the user.
    pub(crate) fn parse(
        mut arguments: impl Iterator<Item = String>,
        cores: &[usize],
    ) -> Result<Self, String> {
        let mut settings = Settings::full(cores);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
            match argument.as_str() {
                "echo" => settings.suites.push(Suite::Echo),
                "tls" => settings.suites.push(Suite::Tls),
                "redis" => settings.suites.push(Suite::Redis),
                "udp" => settings.suites.push(Suite::Udp),
                "http" => settings.suites.push(Suite::Http),
                "slowloris" => settings.suites.push(Suite::Slowloris),
                "http_files" => settings.suites.push(Suite::HttpFiles),
                "files" => settings.suites.push(Suite::Files),
                "idle" => settings.suites.push(Suite::Idle),
                "timers" => settings.suites.push(Suite::Timers),
                "amqp" => settings.suites.push(Suite::Amqp),
                "durable" => settings.suites.push(Suite::Durable),
                "store" => settings.suites.push(Suite::Store),
                "all" => settings.suites.extend(ALL),
                "--quick" => settings.make_quick(),
                "--rounds" => settings.rounds = number::<usize>(&value()?)?.max(1),
                "--seconds" => {
                    let seconds = number::<f64>(&value()?)?.clamp(0.01, 3600.0);
                    settings.duration = Duration::from_secs_f64(seconds);
                }
                "--server-core" => settings.server_core = Some(number(&value()?)?),
                "--load-core" => settings.load_core = Some(number(&value()?)?),
                "--only" => {
                    settings.only = Some(value()?.split(',').map(str::to_owned).collect());
                }
                "--shapes" => {
                    settings.shapes = Some(value()?.split(',').map(str::to_owned).collect());
                }
                "--backlog" => settings.backlog_messages = number::<u64>(&value()?)?.max(1000),
                "--json" => settings.json = Some(value()?.into()),
                other => return Err(format!("{other}: what is that?\n\n{USAGE}")),
            }
        }
        if settings.suites.is_empty() {
            settings.suites.extend(ALL);
        }
        Ok(settings)
    }

    fn full(cores: &[usize]) -> Self {
        // On a single core pinning would only tell the scheduler what it knows.
        let (first, last) = match cores {
            [first, .., last] => (Some(*first), Some(*last)),
            _ => (None, None),
        };
        Settings {
            suites: Vec::new(),
            rounds: 8,
            warm_up: Duration::from_millis(300),
            duration: Duration::from_secs(1),
            idle_connections: 10_000,
            timers: 1_000_000,
            stored_messages: 1_000_000,
            backlog_messages: 1_000_000,
            large_file: 1 << 30,
            server_core: last,
            load_core: first,
            only: None,
            shapes: None,
            json: None,
            quick: false,
        }
    }

    fn make_quick(&mut self) {
        self.quick = true;
        self.rounds = 2;
        self.warm_up = Duration::from_millis(20);
        self.duration = Duration::from_millis(100);
        self.idle_connections = 200;
        self.timers = 10_000;
        self.stored_messages = 10_000;
        self.backlog_messages = 50_000;
        self.large_file = 64 << 20;
    }

    /// Whether a contender takes part; the first always does, being the measure.
    pub(crate) fn wants(&self, place: usize, name: &str) -> bool {
        place == 0 || self.only.as_ref().is_none_or(|only| only.iter().any(|n| n == name))
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

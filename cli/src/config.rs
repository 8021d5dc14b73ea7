//! The configuration file: TOML, what concerns the process at the top, then a list of services, and one of
//! bridges between them.
//! Whatever is wrong with it is told with the line that it stands in.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use crate::bridge::{Bridge, BridgeError, NamedBridge};
use crate::policies::{Limits, Number, take_limits, take_number};
use crate::process::Process;
use crate::service::Service;

/// All that a file says.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    pub(crate) process: Process,
    /// The top of the file, by key: to tell what has changed.
    pub(crate) settings: Settings,
    pub(crate) services: Vec<Named>,
    pub(crate) bridges: Vec<NamedBridge>,
}

/// What was written, by its key.
pub(crate) type Settings = BTreeMap<String, Setting>;

/// A value as it was written, and where.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) line: usize,
    pub(crate) value: toml::Value,
}

/// A service, and what it is called in the log and in errors.
#[derive(Debug)]
pub(crate) struct Named {
    /// Its own, or else its kind (`echo`, then `echo-2`); no other one has it.
    pub(crate) name: String,
    pub(crate) service: Service,
    pub(crate) settings: Settings,
}

impl Named {
    /// The line that a key of it stands in; its first one's, if the key is not there.
    pub(crate) fn line_of(&self, key: &str) -> usize {
        let first = || self.settings.values().map(|setting| setting.line).min();
        self.settings.get(key).map(|setting| setting.line).or_else(first).unwrap_or(0)
    }
}

impl Configuration {
    /// Services with no file.
    pub(crate) fn of(services: Vec<Service>) -> Self {
        let named = services.into_iter().map(|service| Named {
            name: service.kind().to_owned(),
            service,
            settings: Settings::new(),
        });
        Self { services: named.collect(), ..Self::default() }
    }
}

/// The keys whose values are others in `new`, with the line to look at: that of the new one, or of the
/// former one if it has gone.
pub(crate) fn differences<'a>(old: &'a Settings, new: &'a Settings) -> Vec<(&'a str, usize)> {
    let changed = new
        .iter()
        .filter(|(key, setting)| old.get(*key).is_none_or(|before| before.value != setting.value));
    let gone = old.iter().filter(|(key, _)| !new.contains_key(*key));
    changed.chain(gone).map(|(key, setting)| (key.as_str(), setting.line)).collect()
}

/// Why a configuration file cannot be used.
#[derive(Debug)]
pub(crate) struct ConfigError {
    path: PathBuf,
    line: Option<usize>,
    problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}, line {line}: {}", self.path.display(), self.problem),
            None => write!(f, "{}: {}", self.path.display(), self.problem),
        }
    }
}

/// Reads the file.
pub(crate) fn read(path: &Path) -> Result<Configuration, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
        path: path.to_owned(),
        line: None,
        problem: error.to_string(),
    })?;
    parse(&text).map_err(|Problem { at, problem }| ConfigError {
        path: path.to_owned(),
        line: at.map(|at| line_of(&text, at)),
        problem,
    })
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}

/// What is wrong, and at which byte.
#[derive(Debug)]
struct Problem {
    at: Option<usize>,
    problem: String,
}

impl Problem {
    fn at(span: Range<usize>, problem: impl Into<String>) -> Self {
        Self { at: Some(span.start), problem: problem.into() }
    }
}

impl From<toml::de::Error> for Problem {
    fn from(error: toml::de::Error) -> Self {
        Self { at: error.span().map(|span| span.start), problem: error.message().to_owned() }
    }
}

/// What may stand at the top.
const TOP: &str = "user, group, shutdown-timeout, log, pid-file, a [policy], and lists of [[service]] and [[bridge]]";

fn parse(text: &str) -> Result<Configuration, Problem> {
    let file = DeTable::parse(text)?;
    let values: toml::Table = toml::from_str(text)?;
    let span = file.span();
    let mut top = file.into_inner();
    let mut configuration = Configuration::default();
    let defaults = match top.remove("policy") {
        None => Limits::default(),
        Some(policy) => {
            let span = policy.span();
            let DeValue::Table(table) = policy.into_inner() else {
                return Err(Problem::at(span, "write what holds for all services under [policy]"));
            };
            if let Some(file) = table.get("traffic-log") {
                let problem = "`traffic-log` is a file of one service: write it there";
                return Err(Problem::at(file.span(), problem));
            }
            options_of(Spanned::new(span, table))?
        }
    };
    if let Some(list) = top.remove("service") {
        let span = list.span();
        let DeValue::Array(list) = list.into_inner() else {
            return Err(Problem::at(span, "write each service under [[service]]"));
        };
        let values = values.get("service").and_then(|list| list.as_array());
        for (index, entry) in list.into_iter().enumerate() {
            let values = values.and_then(|list| list.get(index)?.as_table());
            let named = service(entry, &defaults, &configuration.services, |table| {
                settings(text, table, values)
            })?;
            configuration.services.push(named);
        }
    }
    let bridges = top.remove("bridge");
    if let Some((key, _)) =
        top.iter().find(|(key, _)| !Process::KEYS.contains(&key.get_ref().as_ref()))
    {
        let problem = format!("unknown key `{}`: the file has {TOP}", key.get_ref());
        return Err(Problem::at(key.span(), problem));
    }
    configuration.settings = settings(text, &top, Some(&values));
    if let (Some((key, _)), None) = (top.get_key_value("group"), top.get("user")) {
        return Err(Problem::at(key.span(), "`group` goes with a `user`"));
    }
    configuration.process = options_of(Spanned::new(span, top))?;
    if configuration.services.is_empty() && bridges.is_none() {
        return Err(Problem { at: None, problem: "it lists no [[service]]".to_owned() });
    }
    let mut taken: Vec<_> = configuration.services.iter().map(|named| named.name.clone()).collect();
    for named in &mut configuration.services {
        if named.name.is_empty() {
            let kind = named.service.kind();
            let mut names = (1..).map(|number| match number {
                1 => kind.to_owned(),
                number => format!("{kind}-{number}"),
            });
            named.name = names.find(|name| !taken.contains(name)).unwrap_or_default();
            taken.push(named.name.clone());
        }
    }
    if let Some(list) = bridges {
        let span = list.span();
        let DeValue::Array(list) = list.into_inner() else {
            return Err(Problem::at(span, "write each bridge under [[bridge]]"));
        };
        let values = values.get("bridge").and_then(|list| list.as_array());
        for (index, entry) in list.into_iter().enumerate() {
            let values = values.and_then(|list| list.get(index)?.as_table());
            let named = bridge(entry, &configuration, |table| settings(text, table, values))?;
            configuration.bridges.push(named);
        }
    }
    Ok(configuration)
}

fn bridge(
    entry: Spanned<DeValue<'_>>,
    configuration: &Configuration,
    settings: impl FnOnce(&DeTable<'_>) -> Settings,
) -> Result<NamedBridge, Problem> {
    let span = entry.span();
    let DeValue::Table(mut table) = entry.into_inner() else {
        return Err(Problem::at(span, "a bridge is a table of options"));
    };
    let settings = settings(&table);
    let services = configuration.services.iter().map(|named| &*named.name);
    let others = configuration.bridges.iter().map(|named| &*named.name);
    let taken: Vec<_> = services.chain(others).collect();
    let mut name = name(table.remove("name"), &taken)?;
    if name.is_empty() {
        let mut names = (1..).map(|number| match number {
            1 => "bridge".to_owned(),
            number => format!("bridge-{number}"),
        });
        name = names.find(|name| !taken.contains(&&**name)).unwrap_or_default();
    }
    let spans = table.iter().map(|(key, value)| (key.get_ref().to_string(), value.span()));
    let spans: BTreeMap<_, _> = spans.collect();
    let bridge: Bridge = options_of(Spanned::new(span.clone(), table))?;
    bridge.check(&configuration.services).map_err(|error| {
        let at = match &error {
            BridgeError::Key(key, _) => spans.get(*key).cloned(),
            _ => None,
        };
        Problem::at(at.unwrap_or(span.clone()), error.to_string())
    })?;
    if let Some(other) = configuration.bridges.iter().find(|other| other.bridge.is_like(&bridge)) {
        let problem = format!("`{}` joins the same: each message would cross twice", other.name);
        return Err(Problem::at(span, problem));
    }
    Ok(NamedBridge { name, bridge, settings })
}

fn settings(text: &str, table: &DeTable<'_>, values: Option<&toml::Table>) -> Settings {
    let settings = table.iter().filter_map(|(key, _)| {
        let value = values?.get(&**key.get_ref())?.clone();
        let line = line_of(text, key.span().start);
        Some((key.get_ref().to_string(), Setting { line, value }))
    });
    settings.collect()
}

/// One that has no name of its own gets its kind's, once all are read.
fn name(value: Option<Spanned<DeValue<'_>>>, others: &[&str]) -> Result<String, Problem> {
    let Some(value) = value else { return Ok(String::new()) };
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match value.get_ref().as_str() {
        Some(name) if others.contains(&name) => {
            Err(Problem::at(value.span(), format!("another service has the name `{name}`")))
        }
        Some(name) if !name.is_empty() && name.bytes().all(known) => Ok(name.to_owned()),
        _ => Err(Problem::at(value.span(), "a name is made of letters, digits, `-`, `_` and `.`")),
    }
}

fn service(
    entry: Spanned<DeValue<'_>>,
    defaults: &Limits,
    others: &[Named],
    settings: impl FnOnce(&DeTable<'_>) -> Settings,
) -> Result<Named, Problem> {
    let span = entry.span();
    let DeValue::Table(mut table) = entry.into_inner() else {
        return Err(Problem::at(span, "a service is a table of options"));
    };
    let settings = settings(&table);
    let taken: Vec<_> = others.iter().map(|named| &*named.name).collect();
    let name = name(table.remove("name"), &taken)?;
    let Some(kind) = table.remove("kind") else {
        return Err(Problem::at(span, "`kind` is missing: amqp, redis, http, line or echo"));
    };
    if let Some(listen) = table.get("listen")
        && let DeValue::Array(list) = listen.get_ref()
        && list.is_empty()
    {
        let problem = "`listen` names no address; leave it out for the usual one";
        return Err(Problem::at(listen.span(), problem));
    }
    let log = table.get("traffic-log").map(Spanned::span);
    let limits: Limits = options_of(Spanned::new(span.clone(), take_limits(&mut table)))?;
    let number: Number = match kind.get_ref().as_str() {
        Some("amqp") => Number::default(), // it has an option of that name, with RabbitMQ's meaning
        _ => options_of(Spanned::new(span.clone(), take_number(&mut table)))?,
    };
    let options = Spanned::new(span, table);
    let mut service = match kind.get_ref().as_str() {
        Some("amqp") => options_of(options).map(Box::new).map(Service::Amqp),
        Some("redis") => options_of(options).map(Box::new).map(Service::Redis),
        Some("http") => options_of(options).map(Service::Http),
        Some("line") => options_of(options).map(Service::Line),
        Some("echo") => options_of(options).map(Service::Echo),
        Some(other) => {
            let problem =
                format!("unknown kind `{other}`: it is one of amqp, redis, http, line, echo");
            Err(Problem::at(kind.span(), problem))
        }
        None => {
            Err(Problem::at(kind.span(), "`kind` is a string: amqp, redis, http, line or echo"))
        }
    }?;
    service.set_policies(limits.or(defaults), number);
    let policies = service.policies();
    let same_log = |other: &&Named| other.service.policies().same_log(&policies);
    if let (Some(at), Some(other)) = (log, others.iter().find(same_log)) {
        let other = match &*other.name {
            "" => other.service.kind(),
            name => name,
        };
        let problem = format!("`{other}` has this file for its traffic, too: each needs its own");
        return Err(Problem::at(at, problem));
    }
    Ok(Named { name, service, settings })
}

fn options_of<T: DeserializeOwned>(table: Spanned<DeTable<'_>>) -> Result<T, Problem> {
    Ok(T::deserialize(Deserializer::from(table))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read_in_their_order_with_their_options() {
        let services = parse(
            "[[service]]\nkind = 'echo'\nlisten = ['127.0.0.1:1', 'tcp://[::1]:1']\n\
             [[service]]\nkind = 'line'\nmax-length = 10\n\
             [[service]]\nkind = 'amqp'\nmemory-limit = 1000000\n\
             [[service]]\nkind = 'amqp'\nmemory-limit = '40%'\ndisk-limit = '1 GB'\n",
        )
        .expect("a good file")
        .services;
        let kinds: Vec<_> = services.iter().map(|named| named.service.kind()).collect();
        assert_eq!(kinds, ["echo", "line", "amqp", "amqp"]);
        assert_eq!(services[0].service.listen().len(), 2);
    }

    #[test]
    fn each_service_has_a_name_and_the_top_is_for_the_process() {
        let text = "user = 'www:web'\nshutdown-timeout = 3\nlog = 'debug'\npid-file = '/run/x'\n\
                    [[service]]\nkind = 'echo'\n[[service]]\nkind = 'echo'\nname = 'echo-2'\n\
                    [[service]]\nkind = 'echo'\n[[service]]\nkind = 'line'\nname = 'a.b'\n";
        let configuration = parse(text).expect("a good file");
        let names: Vec<_> = configuration.services.iter().map(|named| &*named.name).collect();
        assert_eq!(names, ["echo", "echo-2", "echo-3", "a.b"]);
        assert_eq!(configuration.settings.len(), 4);
        assert_eq!(configuration.settings["log"].line, 3);
        assert_eq!(configuration.process.user().map(|who| who.to_string()), Some("www:web".into()));
    }

    #[test]
    fn what_has_changed_is_told_by_its_key_and_line() {
        let settings = |text: &str| parse(text).map(|mut all| all.services.remove(0).settings);
        let file = |options: &str| settings(&format!("[[service]]\nkind = 'amqp'\n{options}"));
        let old = file("data = 'a'\nheartbeat = 1\nvhost = ['x', 'y']\n").expect("good");
        let new = file("vhost = [ 'x','y' ]\n\nheartbeat = 2\nmax-queues = 1\n").expect("good");
        let found = differences(&old, &new);
        assert_eq!(found, [("heartbeat", 5), ("max-queues", 6), ("data", 3)]);
        assert!(differences(&old, &old).is_empty());
    }

    #[test]
    fn a_service_keeps_to_the_limits_of_all_unless_it_has_its_own() {
        let services = parse(
            "[policy]\nidle-timeout = '5m'\nrate-out = 1000\n\
             [[service]]\nkind = 'echo'\nmax-connections = 3\nrate-out = '1MiB'\n\
             [[service]]\nkind = 'amqp'\nmax-connections = 0\n",
        )
        .expect("a good file")
        .services;
        let told =
            services.iter().map(|named| format!("{:?}", named.service.policies().policy(None)));
        let told: Vec<_> = told.collect();
        assert!(told[0].contains("idle_timeout: Some(300s)"), "{}", told[0]);
        assert!(told[0].contains("per_second: 1048576"), "{}", told[0]);
        assert!(told[0].contains("max_connections: Some(3)"), "{}", told[0]);
        assert!(told[1].contains("idle_timeout: Some(300s)"), "{}", told[1]);
        assert!(told[1].contains("per_second: 1000"), "{}", told[1]);
        assert!(told[1].contains("max_connections: None"), "{}", told[1]);
    }

    const BOTH: &str = "[[service]]\nkind = 'redis'\n[[service]]\nkind = 'amqp'\n";
    const JOINS: &str = "amqp = 'amqp'\nchannels = 'news.*'\nexchange = 'news'\n";

    #[test]
    fn bridges_have_names_and_join_services_or_servers_elsewhere() {
        let text = format!(
            "{BOTH}[[bridge]]\n{JOINS}redis = 'redis'\n[[bridge]]\nredis = 'rediss://cache:1'\n\
             amqp = 'amqp://a:b@rabbit/vhost'\nchannels = '*'\nexchange = 'x'\nname = 'away'\n\
             direction = 'to-amqp'\nbuffer = '1MiB'\n"
        );
        let bridges = parse(&text).expect("a good file").bridges;
        let names: Vec<_> = bridges.iter().map(|named| &*named.name).collect();
        assert_eq!(names, ["bridge", "away"]);
        assert_eq!(bridges[0].bridge.services().collect::<Vec<_>>(), ["redis", "amqp"]);
        assert_eq!(bridges[1].bridge.services().count(), 0);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, problem) in [
            ("[[service]]\nkind = 'echo'\nport = 1\n", 3, "unknown field `port`"),
            ("\nlisten = []\n", 2, "unknown key `listen`"),
            ("[[service]]\nkind = 'gopher'\n", 2, "unknown kind `gopher`"),
            ("[[service]]\nlisten = []\n", 1, "`kind` is missing"),
            ("[[service]]\nkind = 'echo'\nlisten = ['x']\n", 3, "the port is missing"),
            ("[[service]]\nkind = 'echo'\nlisten = []\n", 3, "names no address"),
            ("[[service]]\nkind = 'line'\nmax-length = 0\n", 3, "nonzero"),
            ("[[service]]\nkind = 'line'\nmax-length = 'x'\n", 3, "invalid type"),
            ("[[service]]\nkind = 'amqp'\nmemory-limit = 'lots'\n", 3, "a size as 512MiB"),
            ("[[service]]\nkind = 'amqp'\nmemory-limit = true\n", 3, "expected a size"),
            ("[[service]]\nkind = 'amqp'\ndisk-limit = '1%'\n", 3, "or a size as 512MiB"),
            ("[[service]]\nkind = 'amqp'\ndisk-limit = -1\n", 3, "expected a size"),
            ("[[service]]\nkind = 'echo'\nname = 'a b'\n", 3, "a name is made of letters"),
            ("[[service]]\nkind = 'echo'\nname = ''\n", 3, "a name is made of letters"),
            (
                "[[service]]\nkind = 'echo'\nname = 'x'\n[[service]]\nkind = 'line'\nname = 'x'\n",
                6,
                "another service has the name `x`",
            ),
            ("group = 'x'\n[[service]]\nkind = 'echo'\n", 1, "`group` goes with a `user`"),
            ("log = 'loud'\n[[service]]\nkind = 'echo'\n", 1, "off, error, warn, info"),
            ("\nshutdown-timeout = -1\n[[service]]\nkind = 'echo'\n", 2, "invalid value"),
            ("user = ':x'\n[[service]]\nkind = 'echo'\n", 1, "write NAME or NAME:GROUP"),
            ("[[service]]\nkind = 'echo'\nidle-timeout = 'soon'\n", 3, "a time as 500ms, 90s, 5m"),
            ("[[service]]\nkind = 'http'\nrate-in = 0\n", 3, "leave it out for no limit"),
            ("[[service]]\nkind = 'line'\nmax-connections = 0\n", 3, "nonzero"),
            ("[[service]]\nkind = 'amqp'\nmax-connections-per-peer = 'x'\n", 3, "invalid type"),
            ("[policy]\nmax-connections = 1\n[[service]]\nkind = 'echo'\n", 2, "unknown field"),
            ("[policy]\ntraffic-log = 'x'\n[[service]]\nkind = 'echo'\n", 2, "of one service"),
            (
                "[[service]]\nkind = 'echo'\ntraffic-log = 'x'\n\
                 [[service]]\nkind = 'line'\ntraffic-log = './x'\n",
                6,
                "`echo` has this file for its traffic, too",
            ),
            ("policy = 1\n[[service]]\nkind = 'echo'\n", 1, "under [policy]"),
            ("[[service]]\nkind = 'redis'\nmax-clients = 0\n", 3, "nonzero"),
            ("[[service]\n", 1, ""),
            ("bridge = 1\n[[service]]\nkind = 'echo'\n", 1, "under [[bridge]]"),
            (&format!("{BOTH}[[bridge]]\nredis = 'redis'\n"), 5, "missing field `amqp`"),
            (&format!("{BOTH}[[bridge]]\n{JOINS}redis = 'amqp'\n"), 9, "is of kind amqp"),
            (&format!("{BOTH}[[bridge]]\n{JOINS}redis = 'cache'\n"), 9, "no service `cache`"),
            (&format!("{BOTH}[[bridge]]\n{JOINS}redis = 'redis://x@y'\n"), 9, "`redis-user`"),
            (&format!("{BOTH}[[bridge]]\n{JOINS}redis = 'redis'\nloud = 1\n"), 10, "unknown field"),
            (
                &format!(
                    "{BOTH}[[bridge]]\n{JOINS}redis = 'redis'\n[[bridge]]\n{JOINS}redis = 'redis'\n"
                ),
                10,
                "`bridge` joins the same",
            ),
            (
                &format!("{BOTH}[[bridge]]\n{JOINS}redis = 'redis'\nname = 'amqp'\n"),
                10,
                "another service has the name `amqp`",
            ),
            (
                &format!("{BOTH}[[bridge]]\n{JOINS}redis = 'redis'\ndirection = 'up'\n"),
                10,
                "unknown variant `up`",
            ),
            (
                "[[service]]\nkind = 'redis'\nlisten = ['tls://[::]:1?cert=a&key=b']\n[[bridge]]\n\
                 redis = 'redis'\namqp = 'amqp://h'\nchannels = '*'\nexchange = 'x'\n",
                5,
                "no address that a bridge can connect to",
            ),
        ] {
            let found = parse(text).expect_err(text);
            let at = found.at.map(|at| 1 + text[..at].matches('\n').count());
            assert_eq!(at, Some(line), "{text:?}: {found:?}");
            assert!(found.problem.contains(problem), "{text:?}: {found:?}");
        }
    }
}

//! The configuration file: TOML, a list of services. Whatever is wrong with it is told with the
//! line that it stands in.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use crate::service::Service;

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

/// Reads the services that the file lists, in its order.
pub(crate) fn read(path: &Path) -> Result<Vec<Service>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
        path: path.to_owned(),
        line: None,
        problem: error.to_string(),
    })?;
    parse(&text).map_err(|Problem { at, problem }| ConfigError {
        path: path.to_owned(),
        line: at.map(|at| 1 + text[..at.min(text.len())].matches('\n').count()),
        problem,
    })
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

fn parse(text: &str) -> Result<Vec<Service>, Problem> {
    let file = DeTable::parse(text)?;
    let mut services = Vec::new();
    for (key, value) in file.into_inner() {
        if key.get_ref() != "service" {
            let problem =
                format!("unknown key `{}`: the file is a list of [[service]]", key.get_ref());
            return Err(Problem::at(key.span(), problem));
        }
        let span = value.span();
        let DeValue::Array(list) = value.into_inner() else {
            return Err(Problem::at(span, "write each service under [[service]]"));
        };
        for entry in list {
            services.push(service(entry)?);
        }
    }
    if services.is_empty() {
        return Err(Problem { at: None, problem: "it lists no [[service]]".to_owned() });
    }
    Ok(services)
}

fn service(entry: Spanned<DeValue<'_>>) -> Result<Service, Problem> {
    let span = entry.span();
    let DeValue::Table(mut table) = entry.into_inner() else {
        return Err(Problem::at(span, "a service is a table of options"));
    };
    let Some(kind) = table.remove("kind") else {
        return Err(Problem::at(span, "`kind` is missing: amqp, http, line or echo"));
    };
    if let Some(listen) = table.get("listen")
        && let DeValue::Array(list) = listen.get_ref()
        && list.is_empty()
    {
        let problem = "`listen` names no address; leave it out for the usual one";
        return Err(Problem::at(listen.span(), problem));
    }
    let options = Spanned::new(span, table);
    match kind.get_ref().as_str() {
        Some("amqp") => options_of(options).map(Box::new).map(Service::Amqp),
        Some("http") => options_of(options).map(Service::Http),
        Some("line") => options_of(options).map(Service::Line),
        Some("echo") => options_of(options).map(Service::Echo),
        Some(other) => {
            let problem = format!("unknown kind `{other}`: it is one of amqp, http, line, echo");
            Err(Problem::at(kind.span(), problem))
        }
        None => Err(Problem::at(kind.span(), "`kind` is a string: amqp, http, line or echo")),
    }
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
        .expect("a good file");
        let kinds: Vec<_> = services.iter().map(Service::kind).collect();
        assert_eq!(kinds, ["echo", "line", "amqp", "amqp"]);
        assert_eq!(services[0].listen().len(), 2);
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
            ("[[service]\n", 1, ""),
        ] {
            let found = parse(text).expect_err(text);
            let at = found.at.map(|at| 1 + text[..at].matches('\n').count());
            assert_eq!(at, Some(line), "{text:?}: {found:?}");
            assert!(found.problem.contains(problem), "{text:?}: {found:?}");
        }
    }
}

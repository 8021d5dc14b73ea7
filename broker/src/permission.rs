//! Permissions as RabbitMQ grants them: patterns of the names that a user may configure, write to
//! and read from, in one virtual host.
//!
//! A pattern matches anywhere in a name unless it is anchored; the empty one matches only the
//! empty name, which nothing has. Matching takes time linear in the name, whoever wrote the
//! pattern: look-around and back-references, which RabbitMQ's engine has, are refused.

use std::collections::BTreeMap;
use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use crate::access::{Access, Permissions};
use crate::names::Name;

/// Bytes that a compiled pattern may take: enough for a few hundred names spelled out.
const COMPILED_LIMIT: usize = 1 << 20;
/// Bytes of automaton that a pattern may build while it matches; what does not fit is made again.
const AUTOMATON_LIMIT: usize = 256 << 10;

/// A regular expression for names, which are bytes.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    matcher: Matcher,
}

#[derive(Clone)]
enum Matcher {
    /// `.*` and its kin, the patterns of nearly all users.
    Everything,
    /// The empty pattern.
    Empty,
    Regex(Regex),
}

impl Pattern {
    /// The pattern that matches every name, `.*`.
    pub fn everything() -> Pattern {
        Pattern { text: ".*".to_owned(), matcher: Matcher::Everything }
    }

    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in words: its syntax, look-around or a back-reference, or its size.
    pub fn new(text: &str) -> Result<Pattern, String> {
        Pattern::compiled_from(text, text)
    }

    /// A pattern that is shown as `text` and matches what `source` says.
    fn compiled_from(text: &str, source: &str) -> Result<Pattern, String> {
        let matcher = match source {
            "" => Matcher::Empty,
            ".*" | "^.*" | ".*$" | "^.*$" => Matcher::Everything,
            _ => {
                let mut builder = RegexBuilder::new(source);
                builder.unicode(false).size_limit(COMPILED_LIMIT).dfa_size_limit(AUTOMATON_LIMIT);
                Matcher::Regex(builder.build().map_err(|error| problem(source, &error))?)
            }
        };
        Ok(Pattern { text: text.to_owned(), matcher })
    }

    /// A pattern in which `{username}` and `{vhost}` stand for those names, to the letter.
    fn with_names(text: &str, user: &[u8], vhost: &[u8]) -> Result<Pattern, String> {
        let escaped = |name: &[u8]| regex::escape(&String::from_utf8_lossy(name));
        let source = text.replace("{username}", &escaped(user)).replace("{vhost}", &escaped(vhost));
        Pattern::compiled_from(text, &source)
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches a name.
    #[inline]
    pub fn matches(&self, name: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Everything => true,
            Matcher::Empty => name.is_empty(),
            Matcher::Regex(regex) => regex.is_match(name),
        }
    }
}

fn problem(text: &str, error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("the pattern '{text}' takes more than {limit} bytes when compiled")
        }
        error => {
            // The last line says what is wrong; those above draw the place.
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("the pattern '{text}' cannot be used: {reason}")
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// What a user may do in a virtual host (`rabbitmqctl set_permissions`).
#[derive(Debug, Clone)]
pub struct Permission {
    /// The queues and exchanges that it may declare and delete.
    pub configure: Pattern,
    /// Those that it may publish to, or bind as a destination.
    pub write: Pattern,
    /// Those that it may consume from, purge, or bind as a source.
    pub read: Pattern,
}

impl Permission {
    /// Everything.
    pub fn everything() -> Permission {
        let all = Pattern::everything();
        Permission { configure: all.clone(), write: all.clone(), read: all }
    }
}

/// The routing keys that a user may use with a topic exchange
/// (`rabbitmqctl set_topic_permissions`).
#[derive(Debug, Clone)]
pub struct TopicPermission {
    write: Pattern,
    read: Pattern,
}

impl TopicPermission {
    /// The routing keys that it may publish with.
    pub fn write(&self) -> &Pattern {
        &self.write
    }

    /// Those that it may bind with.
    pub fn read(&self) -> &Pattern {
        &self.read
    }

    /// Compiles two patterns, in which `{username}` and `{vhost}` stand for those of this user
    /// and virtual host.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn new(
        write: &str,
        read: &str,
        user: &[u8],
        vhost: &[u8],
    ) -> Result<TopicPermission, String> {
        Ok(TopicPermission {
            write: Pattern::with_names(write, user, vhost)?,
            read: Pattern::with_names(read, user, vhost)?,
        })
    }
}

/// All that a user was granted in one virtual host, for a connection of its.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) permission: Permission,
    /// By exchange.
    pub(crate) topics: BTreeMap<Name, TopicPermission>,
}

impl Permissions for Grant {
    #[inline]
    fn allows(&self, access: Access, name: &[u8]) -> bool {
        match access {
            Access::Configure => self.permission.configure.matches(name),
            Access::Write => self.permission.write.matches(name),
            Access::Read => self.permission.read.matches(name),
        }
    }

    #[inline]
    fn allows_topic(&self, access: Access, exchange: &[u8], routing_key: &[u8]) -> bool {
        match (self.topics.get(exchange), access) {
            (Some(topic), Access::Write) => topic.write.matches(routing_key),
            (Some(topic), Access::Read) => topic.read.matches(routing_key),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).expect(pattern).matches(name.as_bytes())
    }

    #[test]
    fn a_pattern_matches_anywhere_unless_it_is_anchored() {
        for (pattern, name, expected) in [
            (".*", "anything", true),
            ("b", "abc", true),
            ("^b", "abc", false),
            ("^(shop\\.|amq\\.default$)", "shop.orders", true),
            ("^(shop\\.|amq\\.default$)", "amq.default", true),
            ("^(shop\\.|amq\\.default$)", "amq.default2", false),
            ("^a$|^b$", "b", true),
            ("^$", "a", false),
            ("Gr.{4}e", "Grüße", true), // names are bytes: ü and ß are two each
            ("", "a", false),
            ("", "amq.default", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern:?} {name:?}");
        }
        assert!(Pattern::new("^.$").expect("good").matches(b"\xff"));
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        for (pattern, reason) in [
            ("(", "unclosed group"),
            ("^(?!amq\\.).*", "look-ahead"),
            ("(a)\\1", "backreferences"),
            ("(a{1000}){1000}", "when compiled"),
        ] {
            let told = Pattern::new(pattern).expect_err(pattern);
            assert!(told.contains(pattern) && told.contains(reason), "{told}");
            assert_eq!(told.lines().count(), 1);
        }
    }

    #[test]
    fn a_topics_pattern_names_its_user_to_the_letter() {
        let topic = TopicPermission::new("^{vhost}\\.{username}$", "", b"a.b", b"v").expect("good");
        assert!(topic.write.matches(b"v.a.b"));
        assert!(!topic.write.matches(b"v.axb"));
        assert!(!topic.read.matches(b"v.a.b"));
        assert_eq!(topic.write.as_str(), "^{vhost}\\.{username}$");
    }
}

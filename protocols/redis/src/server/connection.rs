//! The commands that have to do with this connection, and the small ones: `HELLO`, `AUTH`,
//! `RESET`, `SELECT`, `TIME`, `FLUSHALL`.

use std::time::UNIX_EPOCH;

use subtle::ConstantTimeEq;

use super::clients::{BAD_NAME, LONG_NAME, MAX_NAME, is_plain};
use super::dispatch::Call;
use super::session::Replies;
use crate::codec::{Request, Version, parse_integer};

/// The version of Redis whose commands and replies these are; clients decide by it.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

impl Call<'_, '_> {
    pub(crate) fn auth(&mut self, request: &Request<'_>) {
        let (user, password) = match request.len() {
            2 if self.hub.config.password.is_none() => {
                return self.refuse(
                    "ERR AUTH <password> called without any password configured for the default \
                     user. Are you sure your configuration is correct?",
                );
            }
            2 => (&b"default"[..], &request[1]),
            3 => (&request[1], &request[2]),
            _ => return self.refuse("ERR syntax error"),
        };
        match self.is_user(user, password) {
            true => {
                self.state.is_authenticated = true;
                self.reply().simple("OK");
            }
            false => self.refuse(WRONG_PASSWORD),
        }
    }

    /// Without a password, the one user has any.
    fn is_user(&self, user: &[u8], password: &[u8]) -> bool {
        let right = match &self.hub.config.password {
            Some(wanted) => bool::from(wanted.ct_eq(password)),
            None => true,
        };
        right && user == b"default"
    }

    pub(crate) fn hello(&mut self, request: &Request<'_>) {
        let version = match request.get(1).map(parse_integer) {
            None => None,
            Some(Some(2)) => Some(Version::Resp2),
            Some(Some(3)) => Some(Version::Resp3),
            Some(Some(_)) => return self.refuse("NOPROTO unsupported protocol version"),
            Some(None) => {
                return self.refuse("ERR Protocol version is not an integer or out of range");
            }
        };
        let (mut login, mut name) = (None, None);
        let mut at = 2;
        while let Some(option) = request.get(at) {
            let left = request.len() - 1 - at;
            if option.eq_ignore_ascii_case(b"auth") && left >= 2 {
                login = Some((&request[at + 1], &request[at + 2]));
                at += 3;
            } else if option.eq_ignore_ascii_case(b"setname") && left >= 1 {
                name = Some(&request[at + 1]);
                at += 2;
            } else {
                let text = [b"ERR Syntax error in HELLO option '", option, b"'"].concat();
                return self.refuse(text);
            }
        }
        if let Some((user, password)) = login {
            if !self.is_user(user, password) {
                return self.refuse(WRONG_PASSWORD);
            }
            self.state.is_authenticated = true;
        }
        if !self.state.is_authenticated {
            return self.refuse(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
                 HELLO AUTH <user> <pass> option can be used to authenticate the client and select \
                 the RESP protocol version at the same time",
            );
        }
        if let Some(name) = name {
            if !is_plain(name) {
                return self.refuse(BAD_NAME);
            }
            if name.len() > MAX_NAME {
                return self.refuse(LONG_NAME);
            }
            if let Some(client) = self.hub.clients.get_mut(&self.state.client) {
                client.name = name.to_vec();
            }
        }
        if let Some(version) = version {
            self.set_version(version);
        }
        let (id, version) = (self.state.client as i64, self.state.version);
        let mut reply = self.reply();
        reply.map(7);
        reply.bulk("server");
        reply.bulk("redis");
        reply.bulk("version");
        reply.bulk(REDIS_VERSION);
        reply.bulk("proto");
        reply.integer(if version == Version::Resp3 { 3 } else { 2 });
        reply.bulk("id");
        reply.integer(id);
        reply.bulk("mode");
        reply.bulk("standalone");
        reply.bulk("role");
        reply.bulk("master");
        reply.bulk("modules");
        reply.array(0);
    }

    fn set_version(&mut self, version: Version) {
        self.state.version = version;
        self.hub.set_version(self.state.client, version);
    }

    pub(crate) fn reset(&mut self) {
        self.hub.unsubscribe_all(self.state.client);
        self.set_version(Version::Resp2);
        self.state.is_subscribed = false;
        self.state.replies = Replies::On;
        self.state.is_authenticated = self.hub.config.password.is_none();
        if let Some(client) = self.hub.clients.get_mut(&self.state.client) {
            client.name.clear();
            client.no_evict = false;
        }
        self.reply().simple("RESET");
    }

    pub(crate) fn select(&mut self, request: &Request<'_>) {
        match parse_integer(&request[1]) {
            Some(0) => self.reply().simple("OK"),
            Some(number) if i32::try_from(number).is_ok() => {
                self.refuse("ERR DB index is out of range");
            }
            Some(_) => self
                .refuse("ERR value is out of range, value must between -2147483648 and 2147483647"),
            None => self.refuse("ERR value is not an integer or out of range"),
        }
    }

    pub(crate) fn time(&mut self) {
        let now = self.transport.wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut reply = self.reply();
        reply.array(2);
        reply.bulk(now.as_secs().to_string());
        reply.bulk(now.subsec_micros().to_string());
    }

    /// There is nothing to flush, in the background or not.
    pub(crate) fn flush(&mut self, request: &Request<'_>) {
        let how = request.get(1).unwrap_or(b"sync");
        if request.len() > 2 || !is_one_of(how, &["sync", "async"]) {
            return self.refuse("ERR syntax error");
        }
        self.reply().simple("OK");
    }
}

/// Whether it is one of these words, whatever its letters.
pub(crate) fn is_one_of(given: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| given.eq_ignore_ascii_case(word.as_bytes()))
}

//! `CLIENT`: who is connected, under which name, and how to get rid of one.

use std::fmt::Write;

use ropewalk_reactor::Address;

use super::connection::is_one_of;
use super::dispatch::Call;
use super::hub::{Client, ClientId};
use super::session::Replies;
use crate::codec::{Request, Version, parse_integer};

pub(crate) const BAD_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

/// What a client may call itself or its library, in bytes: the list of clients has it of each, and
/// Redis has no limit but that of an argument.
pub(crate) const MAX_NAME: usize = 1024;
/// The names or numbers that one command may ask about: each has its part of the reply, which is
/// much longer than the name. Redis has no limit.
pub(crate) const MAX_ASKED: usize = 1000;

pub(crate) const LONG_NAME: &str = "ERR a name may have 1024 bytes";
pub(crate) const MUCH_ASKED: &str = "ERR one command may ask about 1000";

/// Whether a text fits into the list of clients: printable, and no space.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// Which connections `CLIENT KILL` is about; what is not given does not matter.
#[derive(Debug, Default)]
struct Filter<'a> {
    id: Option<i64>,
    peer: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    is_subscribed: Option<bool>,
    /// Of replicas and of masters, which there are not here.
    none: bool,
    spares_self: bool,
}

impl Filter<'_> {
    fn finds(&self, id: ClientId, client: &Client) -> bool {
        !self.none
            && self.id.is_none_or(|wanted| wanted == id as i64)
            && self.peer.is_none_or(|wanted| address(&client.peer).as_bytes() == wanted)
            && self.host.is_none_or(|wanted| address(&client.host).as_bytes() == wanted)
            && self.is_subscribed.is_none_or(|wanted| wanted == client.is_subscribed())
    }

    /// Takes a type as `CLIENT LIST` and `CLIENT KILL` know them.
    fn set_type(&mut self, given: &[u8]) -> bool {
        match given.to_ascii_lowercase().as_slice() {
            b"normal" => self.is_subscribed = Some(false),
            b"pubsub" => self.is_subscribed = Some(true),
            b"master" | b"replica" | b"slave" => self.none = true,
            _ => return false,
        }
        true
    }
}

/// As Redis writes addresses.
fn address(address: &Address) -> String {
    match (address.socket_addr(), address) {
        (Some(address), _) => address.to_string(),
        (None, Address::Unix(address)) => {
            let path = address.path().map(|path| path.to_string_lossy().into_owned());
            format!("{}:0", path.unwrap_or_default())
        }
        (None, _) => String::new(),
    }
}

impl Call<'_, '_> {
    fn own(&mut self) -> Option<&mut Client> {
        self.hub.clients.get_mut(&self.state.client)
    }

    pub(crate) fn client_getname(&mut self) {
        let name = self.own().map(|client| client.name.clone()).unwrap_or_default();
        let mut reply = self.reply();
        if name.is_empty() { reply.null() } else { reply.bulk(name) }
    }

    pub(crate) fn client_setname(&mut self, request: &Request<'_>) {
        if !is_plain(&request[2]) {
            return self.refuse(BAD_NAME);
        }
        if request[2].len() > MAX_NAME {
            return self.refuse(LONG_NAME);
        }
        if let Some(client) = self.own() {
            client.name = request[2].to_vec();
        }
        self.reply().simple("OK");
    }

    pub(crate) fn client_setinfo(&mut self, request: &Request<'_>) {
        let (attribute, value) = (&request[2], &request[3]);
        let is_name = attribute.eq_ignore_ascii_case(b"lib-name");
        if !is_name && !attribute.eq_ignore_ascii_case(b"lib-ver") {
            let text = [b"ERR Unrecognized option '", attribute, b"'"].concat();
            return self.refuse(text);
        }
        if !is_plain(value) {
            let text = [attribute, b" cannot contain spaces, newlines or special characters."];
            return self.refuse([b"ERR ", &text.concat()[..]].concat());
        }
        if value.len() > MAX_NAME {
            return self.refuse(LONG_NAME);
        }
        if let Some(client) = self.own() {
            let field = if is_name { &mut client.library } else { &mut client.library_version };
            *field = value.to_vec();
        }
        self.reply().simple("OK");
    }

    pub(crate) fn client_no_evict(&mut self, request: &Request<'_>) {
        let on = is_one_of(&request[2], &["on"]);
        if !on && !is_one_of(&request[2], &["off"]) {
            return self.refuse("ERR syntax error");
        }
        // Nobody is evicted here, so there is nothing more to it.
        if let Some(client) = self.own() {
            client.no_evict = on;
        }
        self.reply().simple("OK");
    }

    pub(crate) fn client_reply(&mut self, request: &Request<'_>) {
        let mode = &request[2];
        if is_one_of(mode, &["on"]) {
            self.state.replies = Replies::On;
            self.reply().simple("OK");
        } else if is_one_of(mode, &["off"]) {
            self.state.replies = Replies::Off;
        } else if is_one_of(mode, &["skip"]) {
            if self.state.replies != Replies::Off {
                self.state.replies = Replies::SkipNext;
            }
        } else {
            self.refuse("ERR syntax error");
        }
    }

    pub(crate) fn client_info(&mut self) {
        let mut text = String::new();
        self.describe(self.state.client, &mut text);
        self.reply().verbatim(text);
    }

    pub(crate) fn client_list(&mut self, request: &Request<'_>) {
        let mut filter = Filter::default();
        let mut ids: Vec<ClientId> = Vec::new();
        match request.get(2) {
            None => ids.extend(self.hub.clients.keys()),
            Some(word) if word.eq_ignore_ascii_case(b"type") && request.len() == 4 => {
                if !filter.set_type(&request[3]) {
                    return self.unknown_type(&request[3]);
                }
                ids.extend(self.hub.clients.keys());
            }
            Some(word) if word.eq_ignore_ascii_case(b"id") && request.len() > 3 => {
                if request.len() - 3 > MAX_ASKED {
                    return self.refuse(MUCH_ASKED);
                }
                for id in request.from(3) {
                    let id = parse_integer(id).filter(|&id| id > 0);
                    let Some(id) = id else { return self.refuse("ERR Invalid client ID") };
                    ids.push(id as u64);
                }
            }
            Some(_) => return self.refuse("ERR syntax error"),
        }
        let mut text = String::new();
        for id in ids {
            if self.hub.clients.get(&id).is_some_and(|client| filter.finds(id, client)) {
                self.describe(id, &mut text);
            }
        }
        self.reply().verbatim(text);
    }

    fn unknown_type(&mut self, given: &[u8]) {
        self.refuse([b"ERR Unknown client type '", given, b"'"].concat());
    }

    /// A client's line in the list. What only Redis has (its descriptor, how its buffers are laid
    /// out) is zero.
    fn describe(&mut self, id: ClientId, text: &mut String) {
        let Some(client) = self.hub.clients.get(&id) else { return };
        let (connection, now) = (client.connection, self.transport.now());
        let waiting = self.transport.connection(connection).map_or(0, |other| other.buffered());
        let flags = if client.is_subscribed() { "P" } else { "N" };
        let flags = if client.no_evict { format!("{flags}e") } else { flags.to_owned() };
        let command = client.vitals.last_command.get().map_or("NULL", |spec| spec.name);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "id={id} addr={} laddr={} fd=0 name={} age={} idle={} flags={flags} db=0 sub={} psub={} \
             ssub={} multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 \
             omem={waiting} tot-mem={waiting} events=r cmd={command} user=default redir=-1 resp={} \
             lib-name={} lib-ver={}",
            address(&client.peer),
            address(&client.host),
            String::from_utf8_lossy(&client.name),
            now.duration_since(client.made).as_secs(),
            now.duration_since(client.vitals.active.get()).as_secs(),
            client.channels.len(),
            client.patterns.len(),
            client.shards.len(),
            if client.version == Version::Resp3 { 3 } else { 2 },
            String::from_utf8_lossy(&client.library),
            String::from_utf8_lossy(&client.library_version),
        );
    }

    pub(crate) fn client_kill(&mut self, request: &Request<'_>) {
        if request.len() == 3 {
            // The old form: one address, and this connection is not spared.
            let filter = Filter { peer: Some(&request[2]), ..Filter::default() };
            return match self.kill(&filter) {
                0 => self.refuse("ERR No such client"),
                _ => self.reply().simple("OK"),
            };
        }
        let mut filter = Filter { spares_self: true, ..Filter::default() };
        let mut at = 2;
        while let Some(option) = request.get(at) {
            let Some(value) = request.get(at + 1) else {
                return self.refuse("ERR syntax error");
            };
            match option.to_ascii_lowercase().as_slice() {
                b"id" => match parse_integer(value).filter(|&id| id > 0) {
                    Some(id) => filter.id = Some(id),
                    None => return self.refuse("ERR client-id should be greater than 0"),
                },
                b"type" if !filter.set_type(value) => return self.unknown_type(value),
                b"type" => {}
                b"addr" => filter.peer = Some(value),
                b"laddr" => filter.host = Some(value),
                b"user" if value != b"default" => {
                    return self.refuse([b"ERR No such user '", value, b"'"].concat());
                }
                b"user" => {}
                b"skipme" if is_one_of(value, &["yes"]) => filter.spares_self = true,
                b"skipme" if is_one_of(value, &["no"]) => filter.spares_self = false,
                _ => return self.refuse("ERR syntax error"),
            }
            at += 2;
        }
        let killed = self.kill(&filter);
        self.reply().integer(killed);
    }

    /// Closes all that the filter finds, and counts them.
    fn kill(&mut self, filter: &Filter<'_>) -> i64 {
        let found = self.hub.clients.iter().filter(|(id, client)| {
            filter.finds(**id, client) && !(filter.spares_self && **id == self.state.client)
        });
        let found: Vec<_> = found.map(|(id, client)| (*id, client.connection)).collect();
        for &(id, connection) in &found {
            if id == self.state.client {
                self.state.is_closing = true; // once it has its reply
                continue;
            }
            self.hub.forget(id);
            if let Some(mut other) = self.transport.connection(connection) {
                log::debug!(target: crate::LOG, "{}: killed by client {}", other.peer(), self.state.client);
                other.lose_connection();
            }
        }
        found.len() as i64
    }
}

//! The beginning of a connection: which form of the protocol, who this is, and the end of what the
//! connection before it may have left behind.

use bytes::Bytes;
use log::debug;
use ropewalk_reactor::{Result, Transport};

use super::core::Left;
use super::{ClientError, ClientOptions};
use crate::LOG;
use crate::codec::{Value, encode_command};

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// `HELLO 3` is sent.
    Hello,
    /// The server does not know it; so many replies to what RESP2 has for it are still to come.
    Older(usize),
    /// It is asked whether it knows the former connection.
    Finding(Left),
    /// It is told to close that one.
    Killing,
}

/// A greeting under way.
#[derive(Debug)]
pub(crate) struct Greeting {
    stage: Stage,
    /// What this connection is called.
    name: Vec<u8>,
    left: Option<Left>,
    /// How the server calls this connection, once it has said so.
    pub(crate) own: Option<Left>,
}

/// The random end of a name, in bytes.
const CHANCE: usize = 8;

impl Greeting {
    /// Begins it; `left` is a connection that is to be closed first.
    pub(crate) fn begin(
        options: &ClientOptions,
        left: Option<Left>,
        transport: &mut Transport<'_>,
    ) -> Result<Self> {
        let mut name = options.name.clone();
        if options.without_own {
            let mut chance = [0; CHANCE];
            transport.random(&mut chance)?;
            name = if name.is_empty() { b"ropewalk".to_vec() } else { name };
            name.push(b'-');
            name.extend(chance.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()));
        }
        let mut words: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = &options.password {
            let user = options.user.as_deref().unwrap_or(b"default");
            words.extend([b"AUTH", user, password]);
        }
        if !name.is_empty() {
            words.extend([&b"SETNAME"[..], &name]);
        }
        say(transport, &words);
        Ok(Self { stage: Stage::Hello, name, left, own: None })
    }

    /// Takes a reply; whether the greeting is over.
    pub(crate) fn heard(
        &mut self,
        options: &ClientOptions,
        transport: &mut Transport<'_>,
        value: &Value,
    ) -> Result<bool> {
        let error = match value {
            Value::Error(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        };
        match (&mut self.stage, error) {
            (Stage::Hello, None) => {
                let name = Bytes::copy_from_slice(&self.name);
                let id = value.get(b"id").and_then(Value::as_integer);
                self.own = id.map(|id| Left { id, name });
                let Some(left) = self.left.take() else { return Ok(true) };
                let id = left.id.to_string();
                say(transport, &[b"CLIENT", b"LIST", b"ID", id.as_bytes()]);
                self.stage = Stage::Finding(left);
                Ok(false)
            }
            (Stage::Hello, Some(text)) if is_too_new(&text) && !options.without_own => {
                debug!(target: LOG, "{}: RESP2, since it says {text}", transport.peer());
                let replies = self.older(options, transport);
                self.stage = Stage::Older(replies);
                Ok(replies == 0)
            }
            (Stage::Older(replies), None) => {
                *replies -= 1;
                Ok(*replies == 0)
            }
            (Stage::Hello | Stage::Older(_), Some(text)) => Err(ClientError::Server(text).into()),
            // Another server, or one that has begun anew, may have given the number to another client.
            (Stage::Finding(left), None) if is_there(value, left) => {
                let id = left.id.to_string();
                say(transport, &[b"CLIENT", b"KILL", b"ID", id.as_bytes()]);
                self.stage = Stage::Killing;
                Ok(false)
            }
            (Stage::Finding(_) | Stage::Killing, error) => {
                if let Some(text) = error {
                    debug!(
                        target: LOG,
                        "{}: what the former connection has published may be heard: {text}",
                        transport.peer()
                    );
                }
                Ok(true)
            }
        }
    }

    /// Says it all in RESP2; how many replies that makes.
    fn older(&self, options: &ClientOptions, transport: &mut Transport<'_>) -> usize {
        let mut replies = 0;
        if let Some(password) = &options.password {
            match &options.user {
                Some(user) => say(transport, &[b"AUTH", user, password]),
                None => say(transport, &[b"AUTH", password]),
            }
            replies += 1;
        }
        if !self.name.is_empty() {
            say(transport, &[b"CLIENT", b"SETNAME", &self.name]);
            replies += 1;
        }
        replies
    }
}

fn say(transport: &mut Transport<'_>, words: &[&[u8]]) {
    let mut wire = Vec::new();
    encode_command(&mut wire, words);
    transport.write(&wire);
}

/// Whether the error is that of a server that does not know RESP3.
fn is_too_new(error: &str) -> bool {
    error.starts_with("NOPROTO") || error.contains("unknown command")
}

/// Whether a list of clients has this one.
fn is_there(list: &Value, left: &Left) -> bool {
    let Some(list) = list.as_bytes() else { return false };
    let wanted = [b"name=", &left.name[..]].concat();
    list.split(|byte| *byte == b' ').any(|field| *field == wanted)
}

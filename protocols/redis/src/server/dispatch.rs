//! Carrying out one command: whether it may be called, and what answers it.

use ropewalk_reactor::Transport;

use super::command::{Action, Spec, Unknown, lookup};
use super::hub::{Hub, Kind};
use super::session::State;
use crate::codec::{Encoder, Request};

/// What a command may use.
pub(crate) struct Call<'a, 'b> {
    pub(crate) hub: &'a mut Hub,
    pub(crate) state: &'a mut State,
    pub(crate) transport: &'a mut Transport<'b>,
}

/// What an error repeats of an unknown command's name, and then of its arguments, in bytes.
const QUOTED: usize = 128;

impl Call<'_, '_> {
    pub(crate) fn run(&mut self, request: &Request<'_>) {
        self.hub.totals.commands += 1;
        let spec = match lookup(request) {
            Ok(spec) => spec,
            Err(unknown) => return self.unknown(request, unknown),
        };
        if !spec.takes(request.len()) {
            let text = format!("ERR wrong number of arguments for '{}' command", spec.name);
            return self.refuse(&text);
        }
        self.state.vitals.last_command.set(Some(spec));
        if !self.state.is_authenticated && !spec.command.is_open() {
            return self.refuse("NOAUTH Authentication required.");
        }
        if self.state.is_subscribed
            && self.state.version == crate::codec::Version::Resp2
            && !spec.command.is_allowed_while_subscribed()
        {
            return self.not_while_subscribed(spec);
        }
        let before = self.hub.out.len();
        self.answer(spec.command, request);
        if self.state.replies.is_muted() && !spec.command.pushes() {
            self.hub.out.truncate(before);
        }
    }

    fn answer(&mut self, command: Action, request: &Request<'_>) {
        match command {
            Action::Ping => self.ping(request),
            Action::Publish => self.publish(Kind::Channel, request),
            Action::Spublish => self.publish(Kind::Shard, request),
            Action::Subscribe => self.subscribe(Kind::Channel, request),
            Action::Unsubscribe => self.unsubscribe(Kind::Channel, request),
            Action::Psubscribe => self.subscribe(Kind::Pattern, request),
            Action::Punsubscribe => self.unsubscribe(Kind::Pattern, request),
            Action::Ssubscribe => self.subscribe(Kind::Shard, request),
            Action::Sunsubscribe => self.unsubscribe(Kind::Shard, request),
            Action::PubsubChannels => self.channels(Kind::Channel, request),
            Action::PubsubShardchannels => self.channels(Kind::Shard, request),
            Action::PubsubNumsub => self.subscriber_counts(Kind::Channel, request),
            Action::PubsubShardnumsub => self.subscriber_counts(Kind::Shard, request),
            Action::PubsubNumpat => {
                let count = self.hub.patterns.len() as i64;
                self.reply().integer(count);
            }
            Action::Echo => self.reply().bulk(&request[1]),
            Action::Quit => {
                self.state.is_closing = true;
                self.reply().simple("OK");
            }
            Action::Auth => self.auth(request),
            Action::Hello => self.hello(request),
            Action::Reset => self.reset(),
            Action::Select => self.select(request),
            Action::Time => self.time(),
            Action::Flushall | Action::Flushdb => self.flush(request),
            Action::ClientId => {
                let id = self.state.client as i64;
                self.reply().integer(id);
            }
            Action::ClientGetname => self.client_getname(),
            Action::ClientSetname => self.client_setname(request),
            Action::ClientSetinfo => self.client_setinfo(request),
            Action::ClientInfo => self.client_info(),
            Action::ClientList => self.client_list(request),
            Action::ClientKill => self.client_kill(request),
            Action::ClientNoEvict => self.client_no_evict(request),
            Action::ClientReply => self.client_reply(request),
            Action::Info => self.info(request),
            Action::ConfigGet => self.config_get(request),
            Action::ConfigResetstat => {
                self.hub.totals = Default::default();
                self.reply().simple("OK");
            }
            Action::Command => self.command(),
            Action::CommandCount => self.command_count(),
            Action::CommandDocs => self.command_docs(request),
            Action::CommandInfo => self.command_info(request),
            Action::CommandList => self.command_list(request),
            Action::ClientHelp | Action::CommandHelp | Action::ConfigHelp | Action::PubsubHelp => {
                self.help(command)
            }
            // Those have an arity that asks for a subcommand, which was found then.
            Action::Client | Action::Config | Action::Pubsub => self.refuse("ERR syntax error"),
        }
    }

    /// Where replies go.
    pub(crate) fn reply(&mut self) -> Encoder<'_> {
        Encoder::new(&mut self.hub.out, self.state.version)
    }

    /// An error, unless replies are off.
    pub(crate) fn refuse(&mut self, text: impl AsRef<[u8]>) {
        if !self.state.replies.is_muted() {
            self.reply().error(text);
        }
    }

    #[cold]
    fn unknown(&mut self, request: &Request<'_>, unknown: Unknown) {
        let name = &request[0];
        if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
            return self.cross_protocol();
        }
        let mut text = Vec::new();
        match unknown {
            Unknown::Subcommand(command) => {
                text.extend_from_slice(b"ERR unknown subcommand '");
                text.extend_from_slice(cut(&request[1], QUOTED));
                text.extend_from_slice(b"'. Try ");
                text.extend_from_slice(command.to_ascii_uppercase().as_bytes());
                text.extend_from_slice(b" HELP.");
            }
            Unknown::Command => {
                text.extend_from_slice(b"ERR unknown command '");
                text.extend_from_slice(cut(name, QUOTED));
                text.extend_from_slice(b"', with args beginning with: ");
                let mut left = QUOTED;
                for argument in request.from(1) {
                    let shown = cut(argument, left);
                    text.push(b'\'');
                    text.extend_from_slice(shown);
                    text.extend_from_slice(b"' ");
                    // As Redis counts: with what stands around it.
                    left = left.saturating_sub(shown.len() + 3);
                    if left == 0 {
                        break;
                    }
                }
            }
        }
        self.refuse(text);
    }

    /// A browser was made to send a request here, whose body somebody else has chosen.
    fn cross_protocol(&mut self) {
        log::warn!(
            target: crate::LOG,
            "{}: closed: it sends HTTP, as a browser would that somebody misuses",
            self.transport.peer(),
        );
        self.hub.out.clear();
        self.state.is_closing = true;
    }

    #[cold]
    fn not_while_subscribed(&mut self, spec: &Spec) {
        let text = format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
             are allowed in this context",
            spec.name,
        );
        self.refuse(&text);
    }
}

/// At most so much of it, and nothing behind a NUL: Redis prints it as a C string.
fn cut(text: &[u8], most: usize) -> &[u8] {
    let end = text.iter().take(most).position(|&byte| byte == 0);
    &text[..end.unwrap_or(text.len().min(most))]
}

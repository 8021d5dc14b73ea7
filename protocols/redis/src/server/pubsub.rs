//! The commands of publish/subscribe.

use super::dispatch::Call;
use super::hub::Kind;
use crate::codec::{Request, Version, matches};

impl Call<'_, '_> {
    pub(crate) fn publish(&mut self, kind: Kind, request: &Request<'_>) {
        let delivered = self.hub.publish(self.transport, kind, &request[1], &request[2]);
        if !self.state.replies.is_muted() {
            self.reply().integer(delivered);
        }
    }

    pub(crate) fn subscribe(&mut self, kind: Kind, request: &Request<'_>) {
        let word = match kind {
            Kind::Channel => "subscribe",
            Kind::Pattern => "psubscribe",
            Kind::Shard => "ssubscribe",
        };
        for name in request.from(1) {
            if !self.hub.subscribe(self.state.client, kind, name) {
                let limit = self.hub.config.subscriptions;
                let text = format!("ERR the subscriptions of a client may take {limit} bytes");
                self.refuse(&text);
                break;
            }
            self.confirm(word, Some(name), kind);
        }
        self.note_subscriptions();
    }

    pub(crate) fn unsubscribe(&mut self, kind: Kind, request: &Request<'_>) {
        let word = match kind {
            Kind::Channel => "unsubscribe",
            Kind::Pattern => "punsubscribe",
            Kind::Shard => "sunsubscribe",
        };
        if request.len() > 1 {
            for name in request.from(1) {
                self.hub.unsubscribe(self.state.client, kind, name);
                self.confirm(word, Some(name), kind);
            }
        } else {
            let all = self.hub.subscriptions(self.state.client, kind);
            for name in &all {
                self.hub.unsubscribe(self.state.client, kind, name);
                self.confirm(word, Some(name), kind);
            }
            if all.is_empty() {
                self.confirm(word, None, kind);
            }
        }
        self.note_subscriptions();
    }

    /// Tells the client what was done, and how many subscriptions it has now.
    fn confirm(&mut self, word: &str, name: Option<&[u8]>, kind: Kind) {
        let client = self.hub.clients.get(&self.state.client);
        let count = client.map_or(0, |client| client.count(kind));
        let mut reply = self.reply();
        reply.push(3);
        reply.bulk(word);
        match name {
            Some(name) => reply.bulk(name),
            None => reply.null(),
        }
        reply.integer(count as i64);
    }

    pub(crate) fn note_subscriptions(&mut self) {
        let client = self.hub.clients.get(&self.state.client);
        self.state.is_subscribed = client.is_some_and(|client| client.is_subscribed());
    }

    pub(crate) fn channels(&mut self, kind: Kind, request: &Request<'_>) {
        if request.len() > 3 {
            let word = String::from_utf8_lossy(&request[1]);
            let text = format!(
                "ERR unknown subcommand or wrong number of arguments for '{word}'. Try PUBSUB HELP."
            );
            return self.refuse(&text);
        }
        let channels = match kind {
            Kind::Shard => &self.hub.shards,
            Kind::Channel | Kind::Pattern => &self.hub.channels,
        };
        let mut names = channels.names();
        if let Some(pattern) = request.get(2) {
            names.retain(|name| matches(pattern, name));
        }
        let mut reply = crate::codec::Encoder::new(&mut self.hub.out, self.state.version);
        reply.array(names.len());
        for name in names {
            reply.bulk(name);
        }
    }

    pub(crate) fn subscriber_counts(&mut self, kind: Kind, request: &Request<'_>) {
        // An array in RESP3 as well, as in Redis.
        self.reply().array(2 * (request.len() - 2));
        for name in request.from(2) {
            let channels = match kind {
                Kind::Shard => &self.hub.shards,
                Kind::Channel | Kind::Pattern => &self.hub.channels,
            };
            let count = channels.subscribers(name).len() as i64;
            let mut reply = self.reply();
            reply.bulk(name);
            reply.integer(count);
        }
    }

    pub(crate) fn ping(&mut self, request: &Request<'_>) {
        let message = request.get(1);
        if request.len() > 2 {
            return self.refuse("ERR wrong number of arguments for 'ping' command");
        }
        if self.state.is_subscribed && self.state.version == Version::Resp2 {
            let mut reply = self.reply();
            reply.array(2);
            reply.bulk("pong");
            return reply.bulk(message.unwrap_or_default());
        }
        match message {
            Some(message) => self.reply().bulk(message),
            None => self.hub.out.extend_from_slice(b"+PONG\r\n"),
        }
    }
}

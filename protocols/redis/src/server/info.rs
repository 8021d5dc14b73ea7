//! `INFO` and `CONFIG GET`: how the server is, and how it was set up.

use std::fmt::Write;

use super::connection::REDIS_VERSION;
use super::dispatch::Call;
use crate::codec::{Request, matches};

/// The sections of `INFO`, in their order.
const SECTIONS: [&str; 8] =
    ["server", "clients", "memory", "stats", "replication", "cpu", "cluster", "keyspace"];

impl Call<'_, '_> {
    pub(crate) fn info(&mut self, request: &Request<'_>) {
        let wanted: Vec<_> = request.from(1).map(<[u8]>::to_ascii_lowercase).collect();
        let all = wanted.is_empty()
            || wanted.iter().any(|it| matches!(&it[..], b"all" | b"default" | b"everything"));
        let mut text = String::new();
        for section in SECTIONS {
            if all || wanted.iter().any(|it| it == section.as_bytes()) {
                if !text.is_empty() {
                    text.push_str("\r\n");
                }
                self.section(section, &mut text);
            }
        }
        self.reply().verbatim(text);
    }

    fn section(&mut self, section: &str, text: &mut String) {
        let mut title = section.to_owned();
        title[..1].make_ascii_uppercase();
        if section == "cpu" {
            title.make_ascii_uppercase();
        }
        // Writing to a string does not fail.
        let _ = write!(text, "# {title}\r\n");
        let mut put = |name: &str, value: &dyn std::fmt::Display| {
            let _ = write!(text, "{name}:{value}\r\n");
        };
        match section {
            "server" => {
                let run_id = self.run_id();
                let began = self.hub.began.unwrap_or(self.transport.now());
                let up = self.transport.now().duration_since(began).as_secs();
                put("redis_version", &REDIS_VERSION);
                put("ropewalk_version", &env!("CARGO_PKG_VERSION"));
                put("redis_mode", &"standalone");
                put("os", &std::env::consts::OS);
                put("arch_bits", &usize::BITS);
                put("run_id", &run_id);
                put("tcp_port", &self.port());
                put("uptime_in_seconds", &up);
                put("uptime_in_days", &(up / 86_400));
            }
            "clients" => {
                put("connected_clients", &self.hub.clients.len());
                put("cluster_connections", &0);
                put("maxclients", &self.hub.config.max_clients);
                put("blocked_clients", &0);
                let subscribed = self.hub.clients.values().filter(|it| it.is_subscribed());
                put("pubsub_clients", &subscribed.count());
            }
            "memory" => put("maxmemory", &0),
            "stats" => {
                let totals = &self.hub.totals;
                put("total_connections_received", &totals.connections);
                put("total_commands_processed", &totals.commands);
                put("rejected_connections", &totals.refused);
                put("client_output_buffer_limit_disconnections", &totals.slow);
                put("pubsub_channels", &self.hub.channels.len());
                put("pubsub_patterns", &self.hub.patterns.len());
                put("pubsubshard_channels", &self.hub.shards.len());
            }
            "replication" => {
                put("role", &"master");
                put("connected_slaves", &0);
            }
            "cluster" => put("cluster_enabled", &0),
            _ => {}
        }
    }

    /// 40 letters, another name for each server.
    fn run_id(&mut self) -> String {
        if let Some(id) = &self.hub.run_id {
            return id.clone();
        }
        let mut chance = [0; 20];
        if self.transport.random(&mut chance).is_err() {
            return "0".repeat(40); // it is no secret, and need not be
        }
        let id: String = chance.iter().map(|byte| format!("{byte:02x}")).collect();
        self.hub.run_id.insert(id).clone()
    }

    /// Where this connection came in.
    fn port(&self) -> u16 {
        self.transport.host().socket_addr().map_or(0, |address| address.port())
    }

    pub(crate) fn config_get(&mut self, request: &Request<'_>) {
        let config = &self.hub.config;
        let bind = self.transport.host().socket_addr().map(|address| address.ip().to_string());
        // As it is set: 0 is no limit.
        let written = |limit| if limit == usize::MAX { 0 } else { limit };
        let (hard, soft) = (written(config.hard_limit), written(config.soft_limit));
        let seconds = config.soft_time.as_secs();
        let settings: [(&str, String); 14] = [
            ("appendonly", "no".to_owned()),
            ("bind", bind.unwrap_or_default()),
            (
                "client-output-buffer-limit",
                format!("normal 0 0 0 slave 0 0 0 pubsub {hard} {soft} {seconds}"),
            ),
            ("cluster-enabled", "no".to_owned()),
            ("databases", "1".to_owned()),
            ("maxclients", config.max_clients.to_string()),
            ("maxmemory", "0".to_owned()),
            ("maxmemory-policy", "noeviction".to_owned()),
            ("notify-keyspace-events", String::new()),
            ("port", self.port().to_string()),
            ("proto-max-bulk-len", config.requests.bulk.to_string()),
            ("save", String::new()),
            ("tcp-keepalive", "0".to_owned()),
            ("timeout", "0".to_owned()),
        ];
        // In the order in which they were asked for, each of them once.
        let mut found: Vec<&(&str, String)> = Vec::new();
        for pattern in request.from(2).map(<[u8]>::to_ascii_lowercase) {
            let matching = settings.iter().filter(|it| matches(&pattern, it.0.as_bytes()));
            for setting in matching {
                if !found.iter().any(|it| it.0 == setting.0) {
                    found.push(setting);
                }
            }
        }
        let mut reply = self.reply();
        reply.map(found.len());
        for (name, value) in found {
            reply.bulk(name);
            reply.bulk(value);
        }
    }
}

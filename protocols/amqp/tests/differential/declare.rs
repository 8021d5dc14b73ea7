//! Steps that declare, bind and delete.

use ropewalk_amqp::codec::method::{exchange, queue};
use ropewalk_amqp::codec::{ArrayBuf, ShortStr, TableBuf, Value};

use crate::script::{Maker, short};
use crate::theme::Theme;

impl Maker {
    pub(crate) fn declare_any_queue(&mut self, c: usize, n: u16) {
        let name = self.queue_name();
        self.declare_queue(c, n, &name);
    }

    pub(crate) fn declare_queue(&mut self, c: usize, n: u16, name: &str) {
        let mut arguments = TableBuf::new();
        for _ in 0..self.chance.below(3) {
            arguments = self.queue_argument(arguments, name);
        }
        let is_quorum = arguments.as_table().get("x-queue-type") == Some(Value::from("quorum"));
        // What comes back to a quorum queue without a limit goes to the tail in RabbitMQ 3.10, and
        // to the head in 4: see `known`. Only the theme for them has quorum queues that work.
        let works = self.theme == Theme::Quorum && name.ends_with("q0");
        if is_quorum {
            arguments = arguments.with("x-delivery-limit", 20);
        }
        let declare = queue::Declare {
            queue: short(name),
            passive: self.chance.once_in(5),
            durable: (works || !is_quorum) && self.chance.once_in(2),
            exclusive: self.chance.once_in(6),
            auto_delete: self.chance.once_in(6),
            nowait: self.chance.once_in(12),
            arguments: arguments.as_table(),
            ..Default::default()
        };
        self.method(c, n, &declare);
    }

    fn queue_argument(&mut self, table: TableBuf, name: &str) -> TableBuf {
        let exchange = self.exchange_name();
        match self.chance.below(24) {
            0 => table.with("x-message-ttl", self.chance.of(&[0_i32, 600_000, -1])),
            1 => table.with("x-expires", self.chance.of(&[600_000_i32, 0, -5])),
            2 => table.with("x-max-length", self.chance.of(&[0_i32, 1, 2, 3, -1])),
            3 => table.with("x-max-length-bytes", self.chance.of(&[0_i32, 10, 100])),
            4 => table.with("x-overflow", self.chance.of(&["drop-head", "reject-publish", "no"])),
            5 => table.with("x-overflow", "reject-publish-dlx"),
            // Two queues that give messages up at once may do so in any order.
            6..=8 if !name.ends_with("q0") => table,
            6..=8 => table.with("x-dead-letter-exchange", exchange.as_str()),
            9 => table.with("x-dead-letter-routing-key", "a.b"),
            10 => table.with("x-max-priority", self.chance.of(&[1_i32, 5, 10, 300, -1])),
            11 => table.with("x-single-active-consumer", true),
            12 => table.with("x-message-ttl", "soon"),
            // A queue without a name and of no known type ends the connection with 541.
            13 if !name.is_empty() => table.with("x-queue-type", "heap"),
            13 | 14 => table.with("x-queue-type", self.chance.of(&["quorum", "classic"])),
            15 => table.with("x-delivery-limit", self.chance.of(&[0_i32, 1, 2])),
            16 => table.with("x-dead-letter-exchange", 7_i32),
            17 => table.with("x-queue-mode", self.chance.of(&["lazy", "default", "swift"])),
            18 => table.with("x-queue-version", self.chance.of(&[1_i32, 2, 3, -1])),
            19 => table.with("x-message-ttl", self.chance.of(&[600_000_i64, 1 << 33, 1 << 50])),
            20 => table.with("x-max-length", self.chance.of(&[2_i16, 3])),
            21 => table.with("x-single-active-consumer", 1_i32),
            22 => table.with("x-max-age", "1D"),
            _ => table.with("x-unknown", 7_i32),
        }
    }

    pub(crate) fn declare_any_exchange(&mut self, c: usize, n: u16) {
        let name = self.exchange_name();
        self.declare_exchange(c, n, &name);
    }

    pub(crate) fn declare_exchange(&mut self, c: usize, n: u16, name: &str) {
        let routing = self.theme == Theme::Routing;
        let alternate = self.exchange_name();
        let mut arguments = TableBuf::new();
        if self.chance.once_in(if routing { 2 } else { 5 }) {
            arguments = arguments.with("alternate-exchange", alternate.as_str());
        }
        if self.chance.once_in(40) {
            arguments = arguments.with("alternate-exchange", 7_i32);
        }
        if self.chance.once_in(12) {
            arguments = arguments.with("x-unknown", true);
        }
        let types: &[&str] = match routing {
            true => &["direct", "fanout", "topic", "headers", "headers", "headers"],
            false => &["direct", "fanout", "topic", "topic", "headers"],
        };
        let declare = exchange::Declare {
            exchange: short(name),
            exchange_type: ShortStr::literal(self.chance.of(types)),
            passive: self.chance.once_in(6),
            durable: self.chance.once_in(2),
            auto_delete: self.chance.once_in(5),
            internal: self.chance.once_in(12),
            nowait: self.chance.once_in(12),
            arguments: arguments.as_table(),
            ..Default::default()
        };
        self.method(c, n, &declare);
    }

    /// What a headers exchange matches by, now and then.
    fn binding_arguments(&mut self) -> TableBuf {
        let mut table = TableBuf::new();
        if self.chance.once_in(3) {
            let how = ["all", "any", "all-with-x", "any-with-x", "all", "any", "some"];
            table = table.with("x-match", self.chance.of(&how));
        }
        if self.chance.once_in(60) {
            table = table.with("x-match", self.chance.of(&[1_i32, 2]));
        }
        if self.chance.once_in(3) {
            table = table.with("colour", self.chance.of(&["red", "blue"]));
        }
        if self.chance.once_in(4) {
            table = table.with("size", self.chance.of(&[1_i32, 2]));
        }
        if self.chance.once_in(8) {
            table = table.with("x-shape", self.chance.of(&["round", "square"]));
        }
        if self.chance.once_in(8) {
            let list = ArrayBuf::new().with("one").with(2_i32);
            table = match self.chance.below(7) {
                0 => table.with("size", Value::Void),
                1 => table.with("size", 1.0_f64),
                2 => table.with("size", Value::Timestamp(2)),
                3 => table.with("colour", &b"red"[..]),
                4 => table.with("colour", Value::Void),
                5 => table.with("flag", self.chance.once_in(2)),
                _ => table.with("list", &list),
            };
        }
        table
    }

    pub(crate) fn bind_any(&mut self, c: usize, n: u16) {
        let (queue, exchange) = (self.queue_name(), self.exchange_name());
        self.bind(c, n, &queue, &exchange);
    }

    pub(crate) fn bind(&mut self, c: usize, n: u16, queue: &str, exchange: &str) {
        let (key, arguments) = (self.pattern(), self.binding_arguments());
        let bind = queue::Bind {
            queue: short(queue),
            exchange: short(exchange),
            routing_key: short(&key),
            nowait: self.chance.once_in(12),
            arguments: arguments.as_table(),
            ..Default::default()
        };
        self.method(c, n, &bind);
    }

    pub(crate) fn unbind(&mut self, c: usize, n: u16) {
        let (queue, exchange, key) = (self.queue_name(), self.exchange_name(), self.pattern());
        let arguments = match self.chance.once_in(3) {
            true => self.binding_arguments(),
            false => TableBuf::new(),
        };
        let unbind = queue::Unbind {
            queue: short(&queue),
            exchange: short(&exchange),
            routing_key: short(&key),
            arguments: arguments.as_table(),
            ..Default::default()
        };
        self.method(c, n, &unbind);
    }

    pub(crate) fn exchange_binding(&mut self, c: usize, n: u16) {
        let (destination, mut source) = (self.exchange_name(), self.exchange_name());
        if destination.starts_with("amq.") && source.starts_with("amq.") {
            source.clone_from(&self.script.exchanges[0]); // or it would outlive the script
        }
        let (key, arguments) = (self.pattern(), self.binding_arguments());
        let nowait = self.chance.once_in(12);
        if self.chance.once_in(4) {
            let unbind = exchange::Unbind {
                destination: short(&destination),
                source: short(&source),
                routing_key: short(&key),
                nowait,
                arguments: arguments.as_table(),
                ..Default::default()
            };
            self.method(c, n, &unbind);
        } else {
            let bind = exchange::Bind {
                destination: short(&destination),
                source: short(&source),
                routing_key: short(&key),
                nowait,
                arguments: arguments.as_table(),
                ..Default::default()
            };
            self.method(c, n, &bind);
        }
    }

    pub(crate) fn delete(&mut self, c: usize, n: u16) {
        let nowait = self.chance.once_in(12);
        if self.chance.once_in(3) {
            let exchange = self.exchange_name();
            let delete = exchange::Delete {
                exchange: short(&exchange),
                if_unused: self.chance.once_in(2),
                nowait,
                ..Default::default()
            };
            self.method(c, n, &delete);
        } else {
            let queue = self.queue_name();
            let delete = queue::Delete {
                queue: short(&queue),
                if_unused: self.chance.once_in(3),
                if_empty: self.chance.once_in(3),
                nowait,
                ..Default::default()
            };
            self.method(c, n, &delete);
        }
    }

    pub(crate) fn purge(&mut self, c: usize, n: u16) {
        let queue = self.queue_name();
        let nowait = self.chance.once_in(12);
        self.method(c, n, &queue::Purge { queue: short(&queue), nowait, ..Default::default() });
    }
}

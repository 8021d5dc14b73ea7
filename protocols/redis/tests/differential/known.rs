//! What differs on purpose, each told in docs/differences-from-redis.md.

/// A script, and what is in the answer to its last step.
pub(crate) struct Known {
    pub(crate) script: &'static str,
    pub(crate) redis: &'static str,
    pub(crate) ours: &'static str,
}

pub(crate) const KNOWN: &[Known] = &[
    Known { script: "0 GET x", redis: "$-1", ours: "-ERR unknown command 'GET'" },
    Known {
        script: "0 SUBSCRIBE a\n0 GET x",
        redis: "-ERR Can't execute 'get'",
        ours: "-ERR unknown command 'GET'",
    },
    Known { script: "0 MULTI", redis: "+OK", ours: "-ERR unknown command 'MULTI'" },
    Known { script: "0 SELECT 1", redis: "+OK", ours: "-ERR DB index is out of range" },
    Known {
        script: "0 CLIENT SETINFO LIB-NAME x",
        redis: "-ERR unknown subcommand 'SETINFO'",
        ours: "+OK",
    },
    Known { script: "0 CLIENT TRACKINGINFO", redis: "flags", ours: "-ERR unknown subcommand" },
    Known { script: "0 CLIENT INFO", redis: "resp=2\n", ours: "resp=2 lib-name= lib-ver=\n" },
    Known {
        script: "0 CONFIG SET maxclients 10",
        redis: "+OK",
        ours: "-ERR unknown subcommand 'SET'. Try CONFIG HELP.",
    },
    Known { script: "0 CONFIG GET databases", redis: "$2\r\n16", ours: "$1\r\n1" },
    Known { script: "0 CONFIG GET proto-max-bulk-len", redis: "536870912", ours: "67108864" },
    Known {
        script: "0r *1\\r\\n$67108865\\r\\n",
        redis: "",
        ours: "-ERR Protocol error: invalid bulk length\r\n<end>",
    },
    Known {
        script: "0r *1048577\\r\\n",
        redis: "",
        ours: "-ERR Protocol error: invalid multibulk length\r\n<end>",
    },
    Known {
        script: "0 COMMAND DOCS time",
        redis: "complexity",
        ours: "Tells the time in seconds and microseconds",
    },
    Known { script: "0 COMMAND GETKEYS GET x", redis: "$1\r\nx", ours: "-ERR unknown subcommand" },
    Known { script: "0 INFO server", redis: "redis_build_id", ours: "ropewalk_version" },
    Known { script: "0 MONITOR", redis: "+OK", ours: "-ERR unknown command 'MONITOR'" },
    Known { script: "0 SLOWLOG LEN", redis: ":", ours: "-ERR unknown command 'SLOWLOG'" },
    Known { script: "0 LATENCY LATEST", redis: "*0", ours: "-ERR unknown command 'LATENCY'" },
    Known { script: "0 ACL WHOAMI", redis: "default", ours: "-ERR unknown command 'ACL'" },
    Known { script: "0 CLIENT PAUSE 1", redis: "+OK", ours: "-ERR unknown subcommand 'PAUSE'" },
    Known {
        script: "0 CONFIG REWRITE",
        redis: "without a config file",
        ours: "-ERR unknown subcommand 'REWRITE'",
    },
    // It refuses these arguments, and so goes on.
    Known {
        script: "0 SHUTDOWN LATER",
        redis: "-ERR syntax error",
        ours: "-ERR unknown command 'SHUTDOWN'",
    },
];

//! Scripts: what which connection sends. A written one has a step a line: the connection's number, then
//! an inline command; with an `r` behind the number the bytes themselves, escaped.

use ropewalk_redis::codec::encode_command;

#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) connection: usize,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) const WRITTEN: &[&str] = &[
    "0 PING\n0 ping x\n0 PING a b\n0 PING 'a b'\n0 PING \"a\\x41\\n\"\n0 ECHO\n0 ECHO x\n0 echo x y",
    "0 \n0    \n0r *0\\r\\n\n0r *-1\\r\\nPING\\r\\n\n0r ping\\n",
    "0 PING 'a",
    "0 PING 'a'b",
    "0 PING \"a",
    "0r *x\\r\\n",
    "0r *01\\r\\n",
    "0r *+1\\r\\n",
    "0r *\\r\\n",
    "0r *2147483648\\r\\n",
    "0r *1\\r\\nPING\\r\\n",
    "0r *1\\r\\n\\r\\r\\n",
    "0r *1\\r\\n$-1\\r\\n",
    "0r *1\\r\\n$x\\r\\n",
    "0r *1\\r\\n$536870913\\r\\n",
    "0r *1\\r\\n$0\\r\\n\\r\\n",
    "0r *1\\r\\n$4\\r\\nPINGxx\n0 PING",
    "0r *3\\r\\n$7\\r\\nPUBLISH\\r\\n\n0r $1\\r\\na\\r\\n$1\\r\\nb\n0r \\r\\n",
    "0r *1\\n$4\\nPING\\n",
    "0 SUBSCRIBE a b a\n0 PING\n0 PING x\n0 PUBLISH a b\n0 UNSUBSCRIBE a\n0 UNSUBSCRIBE\n0 PING",
    "0 UNSUBSCRIBE\n0 PUNSUBSCRIBE\n0 SUNSUBSCRIBE\n0 UNSUBSCRIBE x y\n0 SUNSUBSCRIBE x",
    "0 SUBSCRIBE a\n0 HELLO 3\n0 CLIENT ID\n0 FOO\n0 PUBLISH a\n0 RESET\n0 PING\n1 PUBLISH a x",
    "0 HELLO 3\n0 SUBSCRIBE a b\n0 PING\n0 PUBLISH a hi\n0 UNSUBSCRIBE a\n0 PSUBSCRIBE *\n0 PUBLISH q w\n0 UNSUBSCRIBE x",
    "0 SSUBSCRIBE a\n0 SUBSCRIBE b\n0 PSUBSCRIBE b*\n1 PUBLISH b x\n1 SPUBLISH a x\n1 SPUBLISH b x\n1 PUBLISH a x\n0 UNSUBSCRIBE\n0 PUNSUBSCRIBE\n0 SUNSUBSCRIBE\n1 PUBLISH b x",
    "0 SUBSCRIBE a\n0 QUIT\n1 PUBLISH a x\n1 PUBSUB NUMSUB a",
    "0r QUIT\\r\\nPING\\r\\n",
    "0 QUIT a b",
    "0 HELLO\n0 HELLO 3\n0 HELLO 2\n0 HELLO 4\n0 HELLO x\n0 HELLO 3 SETNAME\n0 HELLO 3 FOO\n0 HELLO 3 SETNAME x AUTH default y\n0 CLIENT GETNAME\n0 HELLO 2 AUTH a b\n0 HELLO 3 SETNAME 'a b'\n0 HELLO 3 AUTH a",
    "0 AUTH\n0 AUTH a\n0 AUTH a b\n0 AUTH a b c\n0 AUTH default x",
    "0 CLIENT REPLY OFF\n0 PING\n0 FOO\n0 SUBSCRIBE a\n1 PUBLISH a x\n0 PING\n0 UNSUBSCRIBE\n0 CLIENT REPLY SKIP\n0 PING\n0 CLIENT REPLY ON\n0 PING",
    "0 CLIENT REPLY SKIP\n0 PING a\n0 PING b\n0 CLIENT REPLY FOO\n0 CLIENT REPLY\n0 CLIENT REPLY OFF\n0 RESET",
    "0 HELLO 3\n0 CLIENT REPLY OFF\n0 SUBSCRIBE a\n0 PUBLISH a x\n0 CLIENT REPLY ON\n0 CLIENT REPLY SKIP\n0 PUBLISH a y\n0 PING",
    "0 SELECT 0\n0 SELECT 99\n0 SELECT x\n0 SELECT -1\n0 SELECT 99999999999",
    "0 FLUSHALL ASYNC\n0 FLUSHDB SYNC\n0 FLUSHDB\n0 FLUSHDB X\n0 FLUSHALL ASYNC SYNC",
    "0 PUBSUB CHANNELS\n0 PUBSUB NUMSUB\n0 PUBSUB NUMSUB a b\n0 PUBSUB NUMPAT\n0 PUBSUB SHARDCHANNELS\n0 PUBSUB SHARDNUMSUB x\n0 PUBSUB\n0 PUBSUB NUMPAT x\n0 PUBSUB CHANNELS a b\n0 PUBSUB FOO\n0 PUBSUB SHARDCHANNELS a b",
    "1 SUBSCRIBE a\n2 SUBSCRIBE a\n1 PSUBSCRIBE a* b*\n2 PSUBSCRIBE a*\n1 SSUBSCRIBE s\n0 PUBSUB CHANNELS\n0 PUBSUB CHANNELS [b-z]\n0 PUBSUB NUMSUB a b\n0 PUBSUB NUMPAT\n0 PUBSUB SHARDCHANNELS\n0 PUBSUB SHARDNUMSUB s a\n0 PUBLISH a x\n0 HELLO 3\n0 PUBSUB NUMSUB a\n0 PUBSUB CHANNELS",
    "0 CLIENT NO-EVICT ON\n0 CLIENT NO-EVICT x\n0 CLIENT SETNAME x\n0 CLIENT GETNAME\n0 CLIENT SETNAME \"\"\n0 CLIENT GETNAME\n0 CLIENT SETNAME \"a b\"\n0 CLIENT\n0 CLIENT ID x\n0 CLIENT FOO",
    "0 CLIENT KILL ID 0\n0 CLIENT KILL ID x\n0 CLIENT KILL TYPE foo\n0 CLIENT KILL ADDR\n0 CLIENT KILL SKIPME foo\n0 CLIENT KILL USER nobody\n0 CLIENT KILL a:1\n0 CLIENT KILL LADDR 1.1.1.1:1 ID 7\n0 CLIENT KILL FOO bar\n0 CLIENT KILL TYPE pubsub",
    "1 SUBSCRIBE a\n0 CLIENT KILL TYPE pubsub\n0 PUBLISH a x\n0 CLIENT KILL TYPE replica",
    "0 CLIENT LIST TYPE\n0 CLIENT LIST FOO x\n0 CLIENT LIST ID\n0 CLIENT LIST ID 0 x\n0 CLIENT INFO x\n0 CLIENT LIST TYPE master\n0 CLIENT LIST TYPE foo\n0 CLIENT GETNAME x",
    "0 CONFIG GET\n0 CONFIG GET nothere\n0 CONFIG GET bind\n0 CONFIG GET maxmemory maxmemory\n0 CONFIG FOO\n0 CONFIG\n0 CONFIG RESETSTAT\n0 CONFIG GET save\n0 CONFIG GET timeout",
    "0 COMMAND INFO ping foo\n0 COMMAND INFO subscribe unsubscribe psubscribe punsubscribe ssubscribe sunsubscribe spublish publish\n0 COMMAND INFO auth hello echo quit reset select info time flushdb flushall\n0 COMMAND INFO client|id config|get pubsub|numsub client|kill client|list command|docs\n0 HELLO 3\n0 COMMAND INFO publish nothere spublish\n0 COMMAND DOCS nothere\n0 COMMAND FOO\n0 COMMAND COUNT x\n0 COMMAND LIST x\n0 COMMAND LIST FILTERBY PATTERN publish",
    "0 FOO a b c\n0 FOO\n0 Foo 'a b'\n0 \"F\\r\\nO\" a\n0 '' x\n0 FOO \"a\\x00b\" c\n0 CLIENT \"q\\x00r\"",
    "0 FOO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b",
    "0 FOO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb c",
    "0 FOO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b c",
    "0 QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ z",
    "0r POST / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n",
    "0 Host: a",
    "0 HELLO 3\n0 SUBSCRIBE a\n0r ECHO x\\r\\nPUBLISH a hi\\r\\nPING\\r\\n",
    "0 TIME x\n0 RESET x\n0 HELLO 3\n0 RESET\n0 PING\n0 CLIENT GETNAME",
    "0 SUBSCRIBE \"\"\n1 PUBLISH \"\" x\n0 PSUBSCRIBE *\n1 PUBLISH \"\" x\n1 PUBLISH a \"\"",
    "0 INFO foo\n0 INFO cluster\n0 INFO a b\n0 INFO keyspace cluster",
];

pub(crate) const WITH_PASSWORD: &[&str] = &[
    "0 PING\n0 FOO\n0 PING a b\n0 SUBSCRIBE a\n0 AUTH wrong\n0 AUTH nobody secret\n0 HELLO 3\n0 HELLO\n0 CLIENT ID\n0 AUTH secret\n0 PING\n0 RESET\n0 PING\n0 AUTH default secret\n0 PING",
    "0 HELLO 3 AUTH default wrong\n0 HELLO 3 AUTH default secret SETNAME x\n0 CLIENT GETNAME\n0 HELLO",
    "0r *11\\r\\n",
    "0r *1\\r\\n$16385\\r\\n",
    "0r *10\\r\\n$1\\r\\na\\r\\n",
    "0 QUIT",
    "0 AUTH secret\n0r *11\\r\\n$4\\r\\nPING\\r\\n",
];

pub(crate) fn parse(text: &str) -> Vec<Step> {
    let step = |line: &str| {
        let (number, command) = line.split_once(' ').unwrap_or((line, ""));
        let (number, is_raw) = match number.strip_suffix('r') {
            Some(number) => (number, true),
            None => (number, false),
        };
        let bytes = match is_raw {
            true => command.replace("\\r", "\r").replace("\\n", "\n").into_bytes(),
            false => format!("{command}\r\n").into_bytes(),
        };
        Step { connection: number.parse().expect("a connection's number"), bytes }
    };
    text.split('\n').map(step).collect()
}

/// Chance that replays.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

/// A script of 30 commands on three connections.
pub(crate) fn random(seed: u64) -> Vec<Step> {
    let mut chance = Chance::new(seed);
    let names = ["a", "b", "ab", "c"];
    let patterns = ["*", "a*", "?", "[ab]", "[^a]", "b"];
    (0..30)
        .map(|_| {
            let mut words = match chance.below(24) {
                0..3 => vec!["SUBSCRIBE", chance.of(&names)],
                3 => vec!["subscribe", chance.of(&names), chance.of(&names)],
                4..6 => vec!["PSUBSCRIBE", chance.of(&patterns)],
                6 => vec!["SSUBSCRIBE", chance.of(&names)],
                7 => vec!["UNSUBSCRIBE", chance.of(&names)],
                8 => vec!["UNSUBSCRIBE"],
                9 => vec!["PUNSUBSCRIBE", chance.of(&patterns)],
                10 => vec![chance.of(&["PUNSUBSCRIBE", "SUNSUBSCRIBE"])],
                11..16 => vec!["PUBLISH", chance.of(&names), chance.of(&["", "x", "hello"])],
                16 => vec!["SPUBLISH", chance.of(&names), "s"],
                17 => vec!["HELLO", chance.of(&["2", "3", "3"])],
                18 => vec!["PUBSUB", "NUMSUB", chance.of(&names), chance.of(&names)],
                19 => vec!["PUBSUB", chance.of(&["NUMPAT", "FOO"])],
                20 => vec!["PING"],
                21 => vec!["CLIENT", "REPLY", chance.of(&["ON", "OFF", "SKIP"])],
                22 => vec![chance.of(&["RESET", "FOO", "ECHO", "CLIENT"])],
                _ => vec!["CLIENT", chance.of(&["GETNAME", "FOO"])],
            };
            if chance.below(30) == 0 {
                words.push("more");
            }
            let mut bytes = Vec::new();
            encode_command(
                &mut bytes,
                &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>(),
            );
            Step { connection: chance.below(3), bytes }
        })
        .collect()
}

/// Patterns and channels of the letters that mean something in patterns.
pub(crate) fn patterns(seed: u64) -> Vec<Step> {
    let mut chance = Chance::new(seed);
    let mut word = |letters: &[u8], most: usize| -> Vec<u8> {
        (0..chance.below(most)).map(|_| letters[chance.below(letters.len())]).collect()
    };
    let mut script = Vec::new();
    let mut say = |connection, words: &[&[u8]]| {
        let mut bytes = Vec::new();
        encode_command(&mut bytes, words);
        script.push(Step { connection, bytes });
    };
    for _ in 0..12 {
        say(0, &[b"PSUBSCRIBE", &word(b"ab*?[]^-\\", 8)]);
    }
    for _ in 0..12 {
        say(1, &[b"PUBLISH", &word(b"ab-]\\", 6), b"x"]);
    }
    script
}

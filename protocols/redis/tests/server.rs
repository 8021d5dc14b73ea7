//! What the server answers, in the wire's own words.

mod common;

use std::time::Duration;

use common::World;
use ropewalk_redis::server::Config;

/// Each line and what it answers, on one connection.
fn dialogue(config: Config, lines: &[(&str, &str)]) {
    let mut world = World::calm(config);
    let mut peer = world.client();
    for (line, expected) in lines {
        assert_eq!(world.say(&mut peer, line), *expected, "{line}");
    }
}

const HELLO_3: &str = "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n\
    $2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";

#[test]
fn a_resp2_connection_that_is_subscribed_may_do_little_else() {
    let refused = |name: &str| {
        format!(
            "-ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context\r\n"
        )
    };
    dialogue(
        Config::default(),
        &[
            (
                "SUBSCRIBE a b a",
                "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n\
                 *3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n",
            ),
            ("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
            ("ping x", "*2\r\n$4\r\npong\r\n$1\r\nx\r\n"),
            ("PUBLISH a b", &refused("publish")),
            ("CLIENT ID", &refused("client|id")),
            ("HELLO 3", &refused("hello")),
            ("SSUBSCRIBE s", "*3\r\n$10\r\nssubscribe\r\n$1\r\ns\r\n:1\r\n"),
            ("PSUBSCRIBE p*", "*3\r\n$10\r\npsubscribe\r\n$2\r\np*\r\n:3\r\n"),
            (
                "UNSUBSCRIBE",
                "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n",
            ),
            ("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:1\r\n"),
            (
                "PUNSUBSCRIBE x p*",
                "*3\r\n$12\r\npunsubscribe\r\n$1\r\nx\r\n:1\r\n*3\r\n$12\r\npunsubscribe\r\n$2\r\np*\r\n:0\r\n",
            ),
            ("PUBLISH a b", &refused("publish")),
            ("SUNSUBSCRIBE", "*3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:0\r\n"),
            ("PUBLISH a b", ":0\r\n"),
            ("PING", "+PONG\r\n"),
            ("SUBSCRIBE a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
            ("RESET", "+RESET\r\n"),
            ("PUBLISH a b", ":0\r\n"),
        ],
    );
}

#[test]
fn in_resp3_messages_come_between_the_replies() {
    dialogue(
        Config::default(),
        &[
            ("HELLO 3", HELLO_3),
            ("SUBSCRIBE a", ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
            ("PING", "+PONG\r\n"),
            ("PUBLISH a hi", ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n:1\r\n"),
            (
                "ECHO x\r\nPUBLISH a hi\r\nPING",
                "$1\r\nx\r\n>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n:1\r\n+PONG\r\n",
            ),
            ("PSUBSCRIBE [ab]", ">3\r\n$10\r\npsubscribe\r\n$4\r\n[ab]\r\n:2\r\n"),
            (
                "PUBLISH a x\r\nPING",
                ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n\
                 >4\r\n$8\r\npmessage\r\n$4\r\n[ab]\r\n$1\r\na\r\n$1\r\nx\r\n:2\r\n+PONG\r\n",
            ),
            ("UNSUBSCRIBE x", ">3\r\n$11\r\nunsubscribe\r\n$1\r\nx\r\n:2\r\n"),
            ("CLIENT GETNAME", "_\r\n"),
            ("CONFIG GET maxmemory", "%1\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n"),
            // As in Redis, these are arrays all the same.
            ("PUBSUB NUMSUB a", "*2\r\n$1\r\na\r\n:1\r\n"),
            ("HELLO 2", &HELLO_3.replace("%7", "*14").replace("proto\r\n:3", "proto\r\n:2")),
            (
                "SPUBLISH s x",
                "-ERR Can't execute 'spublish': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n",
            ),
        ],
    );
}

#[test]
fn a_connection_that_changes_its_version_gets_messages_in_the_new_one() {
    let mut world = World::calm(Config::default());
    let (mut subscriber, mut publisher) = (world.client(), world.client());
    world.say(&mut subscriber, "HELLO 3\r\nSUBSCRIBE a\r\nPSUBSCRIBE *\r\nSSUBSCRIBE s\r\nHELLO 2");
    assert_eq!(world.say(&mut publisher, "PUBLISH a x\r\nSPUBLISH s y"), ":2\r\n:1\r\n");
    assert_eq!(
        world.hear(&mut subscriber),
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\nx\r\n\
         *3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n$1\r\ny\r\n"
    );
}

#[test]
fn errors_are_in_redis_words() {
    dialogue(
        Config::default(),
        &[
            ("GET x", "-ERR unknown command 'GET', with args beginning with: 'x' \r\n"),
            ("FOO a 'b c'", "-ERR unknown command 'FOO', with args beginning with: 'a' 'b c' \r\n"),
            ("'F\\r\\nO'", "-ERR unknown command 'F\\r\\nO', with args beginning with: \r\n"),
            ("\"F\\r\\nO\" a", "-ERR unknown command 'F  O', with args beginning with: 'a' \r\n"),
            ("publish a", "-ERR wrong number of arguments for 'publish' command\r\n"),
            ("PING a b", "-ERR wrong number of arguments for 'ping' command\r\n"),
            ("SUBSCRIBE", "-ERR wrong number of arguments for 'subscribe' command\r\n"),
            ("CLIENT", "-ERR wrong number of arguments for 'client' command\r\n"),
            ("CLIENT ID x", "-ERR wrong number of arguments for 'client|id' command\r\n"),
            ("PubSub foo", "-ERR unknown subcommand 'foo'. Try PUBSUB HELP.\r\n"),
            ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
            ("HELLO x", "-ERR Protocol version is not an integer or out of range\r\n"),
            ("HELLO 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'\r\n"),
            (
                "AUTH a",
                "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n",
            ),
            ("AUTH a b", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
            ("AUTH a b c", "-ERR syntax error\r\n"),
            ("SELECT 0", "+OK\r\n"),
            ("SELECT 1", "-ERR DB index is out of range\r\n"),
            ("SELECT x", "-ERR value is not an integer or out of range\r\n"),
            ("FLUSHALL ASYNC", "+OK\r\n"),
            ("FLUSHDB x", "-ERR syntax error\r\n"),
            (
                "CLIENT SETNAME \"a b\"",
                "-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
            ),
            ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0\r\n"),
            ("CLIENT KILL 1.2.3.4:5", "-ERR No such client\r\n"),
            ("CLIENT KILL TYPE foo", "-ERR Unknown client type 'foo'\r\n"),
            ("CLIENT KILL USER nobody", "-ERR No such user 'nobody'\r\n"),
            (
                "PUBSUB CHANNELS a b",
                "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.\r\n",
            ),
        ],
    );
}

#[test]
fn what_cannot_be_read_ends_the_connection_with_its_reason() {
    for (bytes, answer) in [
        (&b"*x\r\n"[..], "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\nPING\r\n", "-ERR Protocol error: expected '$', got 'P'\r\n"),
        (b"*1\r\n\r\r\n", "-ERR Protocol error: expected '$', got ' '\r\n"),
        (b"PING 'a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"PING\r\n*1\r\n$-1\r\nPING\r\n", "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n"),
        (b"QUIT\r\nPING\r\n", "+OK\r\n"),
        // A browser.
        (b"PING\r\nPOST / HTTP/1.1\r\nHost: x\r\n\r\n", ""),
    ] {
        let mut world = World::calm(Config::default());
        let mut peer = world.client();
        assert_eq!(world.send(&mut peer, bytes), answer);
        assert!(peer.is_ended() && !peer.was_reset());
        assert_eq!(world.server.clients(), 0);
    }
}

#[test]
fn nobody_who_has_yet_to_authenticate_does_anything() {
    let mut world = World::calm(Config::default().password("secret"));
    let mut peer = world.client();
    for (line, expected) in [
        ("PING", "-NOAUTH Authentication required.\r\n"),
        ("FOO", "-ERR unknown command 'FOO', with args beginning with: \r\n"),
        ("SUBSCRIBE a", "-NOAUTH Authentication required.\r\n"),
        ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
        (
            "AUTH nobody secret",
            "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        ),
        (
            "HELLO 3",
            "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time\r\n",
        ),
        ("HELLO 3 AUTH default secret", HELLO_3),
        ("PING", "+PONG\r\n"),
        ("RESET", "+RESET\r\n"),
        ("PING", "-NOAUTH Authentication required.\r\n"),
        ("AUTH secret", "+OK\r\n"),
        ("PING", "+PONG\r\n"),
    ] {
        assert_eq!(world.say(&mut peer, line), expected, "{line}");
    }
    assert_eq!(
        world.send(&mut peer, b"*11\r\n"),
        "",
        "an authenticated client may send more arguments"
    );
    let mut other = world.client();
    let answer = world.send(&mut other, b"*11\r\n");
    assert_eq!(answer, "-ERR Protocol error: unauthenticated multibulk length\r\n");
    assert!(other.is_ended());
}

#[test]
fn replies_can_be_turned_off_and_messages_come_all_the_same() {
    dialogue(
        Config::default(),
        &[
            ("CLIENT REPLY SKIP\r\nPING a\r\nPING b", "$1\r\nb\r\n"),
            ("CLIENT REPLY FOO", "-ERR syntax error\r\n"),
            ("HELLO 3\r\nCLIENT REPLY OFF", HELLO_3),
            ("PING\r\nFOO\r\nPING a b", ""),
            ("SUBSCRIBE a", ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
            ("PUBLISH a x", ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"),
            ("CLIENT REPLY ON", "+OK\r\n"),
            (
                "CLIENT REPLY SKIP\r\nPUBLISH a y\r\nPING",
                ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\ny\r\n+PONG\r\n",
            ),
            ("CLIENT REPLY OFF\r\nRESET", "+RESET\r\n"),
        ],
    );
}

#[test]
fn channels_and_their_subscribers_are_counted() {
    let mut world = World::calm(Config::default());
    let (mut first, mut second, mut asking) = (world.client(), world.client(), world.client());
    world.say(&mut first, "SUBSCRIBE b a\r\nPSUBSCRIBE a* x\r\nSSUBSCRIBE s");
    world.say(&mut second, "SUBSCRIBE a\r\nPSUBSCRIBE a*");
    for (line, expected) in [
        ("PUBSUB CHANNELS", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("PUBSUB CHANNELS [b-z]", "*1\r\n$1\r\nb\r\n"),
        ("PUBSUB NUMSUB a b c", "*6\r\n$1\r\na\r\n:2\r\n$1\r\nb\r\n:1\r\n$1\r\nc\r\n:0\r\n"),
        ("PUBSUB NUMSUB", "*0\r\n"),
        ("PUBSUB NUMPAT", ":2\r\n"),
        ("PUBSUB SHARDCHANNELS", "*1\r\n$1\r\ns\r\n"),
        ("PUBSUB SHARDNUMSUB s a", "*4\r\n$1\r\ns\r\n:1\r\n$1\r\na\r\n:0\r\n"),
        ("PUBLISH a x", ":4\r\n"),
        ("PUBLISH s x", ":0\r\n"),
        ("SPUBLISH a x", ":0\r\n"),
    ] {
        assert_eq!(world.say(&mut asking, line), expected, "{line}");
    }
    // Whoever goes is counted no more, whichever way.
    first.close();
    world.say(&mut second, "QUIT");
    assert_eq!(
        world.say(&mut asking, "PUBSUB CHANNELS\r\nPUBSUB NUMPAT\r\nPUBSUB SHARDCHANNELS"),
        "*0\r\n:0\r\n*0\r\n"
    );
    assert_eq!(world.say(&mut asking, "PUBLISH a x"), ":0\r\n");
    assert_eq!(world.server.clients(), 1);
}

#[test]
fn clients_are_listed_named_and_killed() {
    let mut world = World::calm(Config::default());
    let (mut asking, mut other) = (world.client(), world.client());
    world.say(
        &mut asking,
        "CLIENT SETNAME me\r\nCLIENT SETINFO LIB-NAME ours\r\nCLIENT SETINFO LIB-VER 1",
    );
    world.say(&mut other, "HELLO 3 SETNAME other\r\nSUBSCRIBE a b\r\nPSUBSCRIBE *\r\nSSUBSCRIBE s");
    assert_eq!(world.say(&mut asking, "CLIENT GETNAME\r\nCLIENT ID"), "$2\r\nme\r\n:1\r\n");
    let list = world.say(&mut asking, "CLIENT LIST");
    let lines: Vec<_> = list.lines().filter(|line| line.starts_with("id=")).collect();
    assert_eq!(lines.len(), 2, "{list}");
    assert!(lines[0].contains(" name=me ") && lines[0].contains(" flags=N "), "{list}");
    assert!(lines[0].contains(" cmd=client|list ") && lines[0].contains(" resp=2 "), "{list}");
    assert!(lines[0].ends_with(" lib-name=ours lib-ver=1"), "{list}");
    assert!(lines[1].contains(" name=other ") && lines[1].contains(" flags=P "), "{list}");
    assert!(lines[1].contains(" sub=2 psub=1 ssub=1 ") && lines[1].contains(" resp=3 "), "{list}");
    let only = world.say(&mut asking, "CLIENT LIST TYPE normal");
    assert_eq!(only.matches("id=").count(), 1, "{only}");
    let only = world.say(&mut asking, "CLIENT LIST ID 2 99");
    assert!(only.contains("id=2 ") && only.matches("id=").count() == 1, "{only}");

    assert_eq!(world.say(&mut asking, "CLIENT KILL TYPE pubsub\r\nPUBLISH a x"), ":1\r\n:0\r\n");
    assert!(other.is_ended());
    assert_eq!(world.say(&mut asking, "CLIENT KILL ID 1\r\nPING"), ":0\r\n+PONG\r\n");
    assert_eq!(world.say(&mut asking, "CLIENT KILL ID 1 SKIPME no\r\nPING"), ":1\r\n");
    assert!(asking.is_ended());
}

#[test]
fn one_client_too_many_is_told_and_closed() {
    let mut world = World::calm(Config::default().max_clients(1));
    let mut first = world.client();
    assert_eq!(world.say(&mut first, "PING"), "+PONG\r\n");
    let mut second = world.client();
    assert_eq!(world.say(&mut second, "PING"), "-ERR max number of clients reached\r\n");
    assert!(second.is_ended());
    first.close();
    let mut third = world.client();
    world.simulation.run_for(Duration::from_secs(1));
    assert_eq!(world.say(&mut third, "PING"), "+PONG\r\n");
}

#[test]
fn the_names_of_one_client_take_no_more_than_the_limit() {
    let mut world = World::calm(Config::default().max_subscriptions(500));
    let mut peer = world.client();
    let answer =
        world.say(&mut peer, "HELLO 3\r\nSUBSCRIBE a b c d\r\nUNSUBSCRIBE a\r\nSUBSCRIBE d");
    let answer = answer.strip_prefix(HELLO_3).expect("it is first");
    assert_eq!(
        answer,
        ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n\
         -ERR the subscriptions of a client may take 500 bytes\r\n\
         >3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nd\r\n:2\r\n"
    );
}

#[test]
fn commands_tell_of_themselves() {
    dialogue(
        Config::default(),
        &[
            (
                "COMMAND INFO ping foo",
                "*2\r\n*10\r\n$4\r\nping\r\n:-1\r\n*1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n*2\r\n+@fast\r\n+@connection\r\n*2\r\n$25\r\nrequest_policy:all_shards\r\n$29\r\nresponse_policy:all_succeeded\r\n*0\r\n*0\r\n$-1\r\n",
            ),
            ("COMMAND COUNT", ":23\r\n"),
            ("COMMAND LIST FILTERBY PATTERN publ*", "*1\r\n$7\r\npublish\r\n"),
            ("COMMAND DOCS nothere", "*0\r\n"),
            ("INFO cluster", "$30\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n"),
            ("INFO nothere", "$0\r\n\r\n"),
            (
                "CONFIG GET save appendonly",
                "*4\r\n$4\r\nsave\r\n$0\r\n\r\n$10\r\nappendonly\r\n$2\r\nno\r\n",
            ),
        ],
    );
}

#[test]
fn a_client_that_asks_and_does_not_read_is_held_up_and_gets_all_in_the_end() {
    let mut world = World::calm(Config::default());
    let mut peer = world.client();
    world.simulation.capacity(4096);
    peer.stop_reading();
    // 3,000 times the documentation of every command: some 20 MB for 45 KB.
    let question = "COMMAND DOCS\r\n".repeat(3000) + "PING\r\n";
    peer.write(question.as_bytes());
    world.simulation.run_for(Duration::from_secs(1));
    let mut other = world.client();
    let list = world.say(&mut other, "CLIENT LIST ID 1");
    let waiting = list.split("omem=").nth(1).and_then(|rest| rest.split(' ').next());
    let waiting: usize = waiting.and_then(|it| it.parse().ok()).expect("it is a number");
    assert!((1 << 20..2 << 20).contains(&waiting), "{waiting} bytes are waiting");
    world.simulation.capacity(1 << 20);
    peer.resume_reading();
    let mut tail = Vec::new();
    let mut length = 0;
    for _ in 0..10_000 {
        world.simulation.run_for(Duration::from_millis(1));
        let came = peer.read();
        length += came.len();
        tail.extend_from_slice(&came[came.len().saturating_sub(7)..]);
        if tail.ends_with(b"+PONG\r\n") {
            break;
        }
    }
    assert!(tail.ends_with(b"+PONG\r\n"), "after {length} bytes");
    assert!(length > 3000 * 4000);
}

#[test]
fn what_one_command_may_ask_about_and_a_name_have_limits() {
    let mut world = World::calm(Config::default());
    let mut peer = world.client();
    let asked =
        |count: usize, what: &str, of: &str| format!("{what}{}", format!(" {of}").repeat(count));
    for (what, of) in [("COMMAND INFO", "ping"), ("COMMAND DOCS", "ping"), ("CLIENT LIST ID", "1")]
    {
        let told = world.say(&mut peer, &asked(1001, what, of));
        assert_eq!(told, "-ERR one command may ask about 1000\r\n", "{what}");
        assert!(!world.say(&mut peer, &asked(1000, what, of)).starts_with('-'), "{what}");
    }
    let (most, more) = ("x".repeat(1024), "x".repeat(1025));
    for what in
        ["CLIENT SETNAME", "CLIENT SETINFO lib-name", "CLIENT SETINFO lib-ver", "HELLO 2 SETNAME"]
    {
        let told = world.say(&mut peer, &format!("{what} {more}"));
        assert_eq!(told, "-ERR a name may have 1024 bytes\r\n", "{what}");
        assert!(!world.say(&mut peer, &format!("{what} {most}")).starts_with('-'), "{what}");
    }
}

#[test]
fn a_server_is_up_since_it_began() {
    let mut world = World::calm(Config::default());
    world.server.begin(world.simulation.reactor());
    world.simulation.run_for(Duration::from_secs(1000));
    let mut peer = world.client();
    let told = world.say(&mut peer, "INFO server");
    assert!(told.contains("uptime_in_seconds:1000\r\n"), "{told}");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "it is real time that must not pass")]
fn a_client_with_very_many_patterns_leaves_in_no_time() {
    let mut world = World::calm(Config::default());
    let mut peer = world.client();
    for chunk in 0..100 {
        let names: String = (0..1000).map(|number| format!(" {chunk}.{number}*")).collect();
        world.say(&mut peer, &format!("PSUBSCRIBE{names}"));
    }
    let mut other = world.client();
    assert_eq!(world.say(&mut other, "PUBSUB NUMPAT"), ":100000\r\n");
    let since = std::time::Instant::now();
    peer.close();
    assert_eq!(world.say(&mut other, "PUBSUB NUMPAT"), ":0\r\n");
    let took = since.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

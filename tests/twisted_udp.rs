//! Twisted's own client for an echo over UDP, out of its documentation, against ours.

#![allow(clippy::disallowed_methods, reason = "tests of whole programs live in real time")]

mod support;

use std::fs;
use std::process::Command;

use support::{Server, python, python_source, scratch};

#[test]
fn twisteds_echoclient_udp_says_all_it_has_to_say_and_hears_it_again() {
    let server = Server::start(&["echo", "--listen", "udp://127.0.0.1:0"], 1);
    let address = &server.listening[0].1;
    let port = address.strip_prefix("udp://127.0.0.1:").expect("as it was asked for");
    // Its port is written into it.
    let original = python_source("twisted==26.10.0").join("docs/core/examples/echoclient_udp.py");
    let text = fs::read_to_string(&original).expect("it is in the source distribution");
    let here = text.replace("(\"127.0.0.1\", 8000)", &format!("(\"127.0.0.1\", {port})"));
    assert_ne!(text, here, "its port is written otherwise");
    let folder = scratch("twisted");
    let script = folder.join("echoclient_udp.py");
    fs::write(&script, here).expect("target/ is writable");
    let output = Command::new(python()).arg(&script).output().expect("it was installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "Datagram received:  b'Hello, world!'",
            "Datagram received:  b'What a fine day it is.'",
            "Datagram received:  b'Bye-bye!'",
        ]
    );
    fs::remove_dir_all(folder).expect("it is ours");
}

//! Twisted's own example clients, out of its documentation, against our servers, and our example
//! clients against its example servers. Nothing is changed in them but the port, which is written
//! into each.

#![allow(clippy::disallowed_methods, reason = "tests of whole programs live in real time")]

#[path = "support/certificate.rs"]
mod certificate;
#[path = "support/listening.rs"]
mod listening;
mod support;

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::rc::Rc;

use certificate::certify;
use listening::{Killed, Listening, example};
use ropewalk::bytes::BytesMut;
use ropewalk::{Protocol, Reactor, Reason, Transport};
use support::{Server, python, python_source, scratch};

/// A copy of Twisted's examples for one port, with certificates for `example.com`, which its
/// clients look for, and for `localhost`, which ours do.
struct Examples {
    directory: PathBuf,
}

impl Examples {
    fn for_port(port: &str) -> Self {
        let directory = scratch("twisted");
        let original = python_source("twisted==26.10.0").join("docs/core/examples");
        for name in [
            "echoclient.py",
            "echoclient_ssl.py",
            "echoclient_udp.py",
            "echoserv.py",
            "echoserv_ssl.py",
            "echoserv_udp.py",
            "starttls_client.py",
            "starttls_server.py",
        ] {
            let text = fs::read_to_string(original.join(name)).expect("it is in the distribution");
            // All listen on this port, or connect to it.
            let here = text.replace("8000", port);
            assert!(text != here || name == "echoclient_ssl.py", "{name}: its port is elsewhere");
            fs::write(directory.join(name), here).expect("target/ is writable");
        }
        let (certificate, key) = certify(&["example.com", "localhost"]);
        for (name, contents) in [
            ("public.pem", &certificate),
            ("key.pem", &key),
            ("server.pem", &format!("{certificate}{key}")),
        ] {
            fs::write(directory.join(name), contents).expect("target/ is writable");
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().expect("text").to_owned()
    }

    fn run(&self, name: &str) -> String {
        let output = Command::new(python()).arg(self.path(name)).output().expect("it is installed");
        said(&output)
    }

    /// Starts one of the servers, on a port that the system chooses, and finds that in its log.
    fn serve(&self, name: &str) -> Listening {
        // Most of them log nothing: Twisted's log is turned on first.
        let script = "import sys, runpy\n\
                      from twisted.python import log\n\
                      log.startLogging(sys.stdout)\n\
                      sys.path.insert(0, sys.argv[1])\n\
                      runpy.run_path(f'{sys.argv[1]}/{sys.argv[2]}', run_name='__main__')";
        let mut child = Command::new(python())
            .args(["-u", "-c", script])
            .arg(&self.directory)
            .arg(name)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is installed");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once(" starting on ")?;
            port.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u16>().ok()
        });
        // What it logs later must find room.
        std::thread::spawn(move || lines.for_each(drop));
        Listening::new(child, &port.expect("the log tells the port").to_string())
    }
}

impl Drop for Examples {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn ours(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(example(name));
    command.args(arguments);
    command
}

#[test]
fn echoclient_hears_its_lines_again() {
    let server = Server::start(&["echo", "--listen", "127.0.0.1:0"], 1);
    let examples = Examples::for_port(&server.address().port().to_string());
    assert_eq!(
        examples.run("echoclient.py"),
        "receive: b'Hello, world!'\n\
         receive: b'What a fine day it is.'\n\
         receive: b'Bye-bye!'\n\
         connection lost: Connection was closed cleanly.\n"
    );
}

#[test]
fn echoclient_ssl_hears_its_lines_again() {
    let files = Examples::for_port("1");
    let (certificate, key) = (files.path("public.pem"), files.path("key.pem"));
    let address = format!("tls://127.0.0.1:0?cert={certificate}&key={key}");
    let server = Server::start(&["echo", "--listen", &address], 1);
    let examples = Examples::for_port(&server.address().port().to_string());
    fs::copy(&certificate, examples.path("public.pem")).expect("target/ is writable");
    let said = examples.run("echoclient_ssl.py");
    assert_eq!(said, "b'Hello, world!\\r\\nWhat a fine day it is.\\r\\nBye-bye!\\r\\n'\n");
}

#[test]
fn echoclient_udp_hears_its_datagrams_again() {
    let server = Server::start(&["echo", "--listen", "udp://127.0.0.1:0"], 1);
    let port = server.listening[0].1.rsplit(':').next().expect("an address has a port");
    let examples = Examples::for_port(port);
    assert_eq!(
        examples.run("echoclient_udp.py"),
        "Datagram received:  b'Hello, world!'\n\
         Datagram received:  b'What a fine day it is.'\n\
         Datagram received:  b'Bye-bye!'\n"
    );
}

#[test]
fn starttls_client_turns_to_tls() {
    let files = Examples::for_port("1");
    let (certificate, key) = (files.path("public.pem"), files.path("key.pem"));
    let arguments = ["127.0.0.1:0", &certificate, &key];
    let mut child = ours("starttls_server", &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was built");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    stdout.read_line(&mut line).expect("text");
    let stderr = child.stderr.take().expect("it is piped");
    let port = line.trim_end().rsplit(':').next().unwrap_or_default();
    let server = Listening::new(child, port);

    let examples = Examples::for_port(&server.port);
    fs::copy(files.path("server.pem"), examples.path("server.pem")).expect("it is writable");
    let said = examples.run("starttls_client.py");
    // It closes right behind its secret line, and is answered all the same.
    let heard =
        ["plain text", "READY", "secure text"].map(|line| format!("received:  b'{line}'\n"));
    assert_eq!(said, heard.concat());
    let mut told = String::new();
    BufReader::new(stderr).read_line(&mut told).expect("text");
    assert!(told.contains("TLSv1.3"), "{told}");
}

/// Says hello, hears it again, and closes. (The example `client` closes its half at once, and
/// Twisted's echo then drops what it has not sent yet.)
struct Client {
    heard: Rc<RefCell<Vec<u8>>>,
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> ropewalk::Result {
        transport.write(b"hello");
        Ok(())
    }

    fn data_received(
        &mut self,
        transport: &mut Transport<'_>,
        data: &mut BytesMut,
    ) -> ropewalk::Result {
        self.heard.borrow_mut().extend_from_slice(&data.split());
        if self.heard.borrow().len() == b"hello".len() {
            transport.lose_connection();
        }
        Ok(())
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        transport.stop();
    }
}

#[test]
fn echoserv_answers_our_client() {
    let examples = Examples::for_port("0");
    let server = examples.serve("echoserv.py");
    let heard = Rc::new(RefCell::new(Vec::new()));
    let mut reactor = Reactor::new().expect("descriptors");
    let kept = heard.clone();
    reactor.connect(&*server.address(), move |_| Client { heard: kept.clone() }).forget();
    reactor.run().expect("it ends in order");
    assert_eq!(*heard.borrow(), b"hello");
}

#[test]
fn echoserv_ssl_answers_our_client() {
    let examples = Examples::for_port("0");
    let server = examples.serve("echoserv_ssl.py");
    let arguments = [&*server.address(), "hello", &examples.path("public.pem")];
    let said = said(&ours("tls_client", &arguments).output().expect("it was built"));
    assert_eq!(said, "over TLSv1.3: hello\r\n");
}

#[test]
fn echoserv_udp_answers_our_client() {
    let examples = Examples::for_port("0");
    let server = examples.serve("echoserv_udp.py");
    let address = format!("udp://{}", server.address());
    let said = said(&ours("client_udp", &[&address, "hello"]).output().expect("it was built"));
    assert_eq!(said, "hello\n");
}

#[test]
fn starttls_server_turns_our_client_to_tls() {
    let examples = Examples::for_port("0");
    let server = examples.serve("starttls_server.py");
    let arguments = [&*server.address(), &examples.path("public.pem")];
    let mut client =
        ours("starttls_client", &arguments).stdout(Stdio::piped()).spawn().expect("it was built");
    let mut line = String::new();
    let mut stdout = BufReader::new(client.stdout.take().expect("it is piped"));
    stdout.read_line(&mut line).expect("text");
    let client = Killed(client);
    assert_eq!(line, "heard in the open: READY\n");
    // Theirs never answers a line: what it heard in secret is in its own output.
    drop(client);
}

//! TLS with Python's own, which is OpenSSL. Its programs are in `tests/python/tls`; ours are the
//! examples. Twisted has `tests/twisted.rs`, and what curl and `openssl s_client` say is in
//! `tests/debian/run`.

#[path = "support/certificate.rs"]
mod certificate;
#[path = "support/listening.rs"]
mod listening;
mod support;

use std::process::{Command, Output};

use certificate::Certificate;
use listening::{Listening, example};
use support::{Server, python, root, scratch};

fn certificate() -> Certificate {
    Certificate::new(scratch("tls"))
}

fn script(name: &str) -> Command {
    let mut command = Command::new(python());
    command.arg(root().join("tests/python/tls").join(name));
    command.env("PYTHONUNBUFFERED", "1").env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn said(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    std::str::from_utf8(&output.stdout).expect("text")
}

fn run(command: &mut Command) -> Output {
    command.output().expect("it runs")
}

#[test]
fn pythons_client_is_served_with_each_version_and_resumes_its_sessions() {
    let files = certificate();
    let server = Listening::start(Command::new(example("tls_echo")).args([
        "127.0.0.1:0",
        &files.certificate,
        &files.key,
    ]));
    let output = run(script("ssl_client.py").args([&server.port, &files.certificate]));
    let lines: Vec<_> = said(&output).lines().collect();
    assert!(lines[0].starts_with("TLSv1.2 "), "{lines:?}");
    assert!(lines[1].starts_with("TLSv1.3 "), "{lines:?}");
    assert_eq!(lines[2..], ["resumed True", "refused self-signed certificate", "bytewise"]);
}

#[test]
fn a_service_listens_on_a_tls_address_and_a_bad_file_is_told() {
    let files = certificate();
    let address = format!("tls://127.0.0.1:0?cert={}&key={}", files.certificate, files.key);
    let server = Server::start(&["echo", "--listen", &address], 1);
    let port = server.address().port().to_string();
    let output = run(script("ssl_client.py").args([&port, &files.certificate]));
    assert!(said(&output).starts_with("TLSv1.2 "), "{output:?}");

    let address = format!("tls://127.0.0.1:0?cert={0}&key={0}", files.certificate);
    let output =
        run(Command::new(env!("CARGO_BIN_EXE_ropewalk")).args(["echo", "--listen", &address]));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{output:?}");
    assert!(told.contains("cert.pem: it is a certificate, not a key"), "{told}");
}

#[test]
fn pythons_server_is_understood_with_each_version_and_each_end() {
    for version in ["TLSv1_2", "TLSv1_3"] {
        for end in ["close_notify", "nothing"] {
            let files = certificate();
            let arguments = [files.certificate.as_str(), &files.key, version, end];
            let server = Listening::start(script("ssl_server.py").args(arguments));
            let arguments = [&*server.address(), "hello", &files.certificate];
            let output = run(Command::new(example("tls_client")).args(arguments));
            let heard = format!("over {}: hello\r\n", version.replace('_', "."));
            let cut_off = "cut off: the peer closed without TLS's close_notify\n";
            let expected = match end {
                "nothing" => ("", cut_off),
                _ => (heard.as_str(), ""),
            };
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert_eq!((said(&output), &*complaint), expected, "{version}");
        }
    }
}

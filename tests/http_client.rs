//! The HTTP client against Python's http.server, with TLS and without, directly and through a proxy.
//! Its programs are in `tests/python/http`; nginx has `tests/debian/http-client`.

#![allow(clippy::disallowed_methods, reason = "tests with real peers live in real time")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ropewalk::bytes::Bytes;
use ropewalk::http::client::{
    Client, ClientBuilder, ClientError, CookieJar, Request, Response, TimedOut,
};
use ropewalk::tls::TlsClient;
use ropewalk::{Error, Reactor};
use support::{PATIENCE, root, scratch};

/// A program of Python's that prints where it listens. Dropping it kills it.
struct Program {
    child: Child,
    port: u16,
}

impl Program {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new("python3")
            .arg(root().join("tests/python/http").join(name))
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        output.read_line(&mut line).expect("text");
        let port = line.trim_end().strip_prefix("listening ").and_then(|port| port.parse().ok());
        Self { child, port: port.unwrap_or_else(|| panic!("{name}: {line:?}")) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate for localhost, and its key.
struct Files {
    directory: PathBuf,
    certificate: String,
    key: String,
}

impl Files {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key");
        let directory = scratch("http-client");
        let put = |name: &str, contents: String| {
            let path = directory.join(name);
            fs::write(&path, contents).expect("it is writable");
            path.to_str().expect("text").to_owned()
        };
        let certificate = put("cert.pem", made.cert.pem());
        let key = put("key.pem", made.signing_key.serialize_pem());
        Self { directory, certificate, key }
    }

    fn serve(&self) -> Program {
        Program::start("server.py", &["HTTP/1.1", &self.certificate, &self.key])
    }

    fn trust(&self) -> TlsClient {
        TlsClient::builder().authorities(self.certificate.as_str()).build().expect("a certificate")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Runs a conversation with a client on a reactor of its own, to its end.
fn talk<F>(builder: ClientBuilder, conversation: impl FnOnce(Client) -> F)
where
    F: Future<Output = Result<(), Error>> + 'static,
{
    let mut reactor = Reactor::new().expect("a poller");
    let client = builder.timeout(PATIENCE).build(reactor.local());
    reactor.spawn(conversation(client)).then(|reactor, result| {
        match result.and_then(|result| result) {
            Ok(()) => reactor.stop(),
            Err(error) => reactor.fail(error),
        }
    });
    reactor.run().expect("all went well");
}

fn lines() -> Vec<u8> {
    (0..100_000).flat_map(|number| format!("{number:07}\n").into_bytes()).collect()
}

fn own(error: Error) -> ClientError {
    ClientError::of(&error).unwrap_or_else(|| panic!("{error}")).clone()
}

async fn is_lines(client: &Client, url: &str) -> Result<Response, Error> {
    let answer = client.get(url).await?;
    assert_eq!(answer.status().code(), 200, "{url}");
    assert!(*answer.body() == lines(), "{url}: {} bytes", answer.body().len());
    Ok(answer)
}

#[test]
fn each_framing_and_each_coding_of_pythons_is_understood() {
    let server = Program::start("server.py", &["HTTP/1.1"]);
    talk(Client::builder(), |client| async move {
        for path in ["/lines", "/gzip", "/deflate", "/until-close", "/lines"] {
            is_lines(&client, &server.url(path)).await?;
        }
        let chunked = is_lines(&client, &server.url("/chunked")).await?;
        assert_eq!(chunked.trailers().get_str("x-sum"), Some("1"));
        let head = client.request(Request::head(server.url("/lines"))).await?;
        assert_eq!(head.header("content-length"), Some("800000"));
        assert!(head.body().is_empty());
        let missing = client.get(server.url("/nothing")).await?;
        assert_eq!(missing.status().code(), 404);
        Ok(())
    });
}

#[test]
fn a_server_of_http_1_0_is_understood() {
    let server = Program::start("server.py", &["HTTP/1.0"]);
    talk(Client::builder(), |client| async move {
        for path in ["/lines", "/gzip", "/until-close"] {
            is_lines(&client, &server.url(path)).await?;
        }
        assert_eq!(client.idle_connections(), 0);
        Ok(())
    });
}

#[test]
fn a_connection_is_kept_and_one_that_was_closed_meanwhile_is_made_again() {
    let server = Program::start("server.py", &["HTTP/1.1"]);
    talk(Client::builder(), |client| async move {
        let peer = async |path: &str| {
            let answer = client.get(server.url(path)).await?;
            Ok::<_, Error>(answer.text().into_owned())
        };
        let first = peer("/peer").await?;
        assert_eq!(peer("/peer").await?, first);
        // It closes behind its answer without a word: the next request may or may not meet that.
        assert_eq!(peer("/last").await?, first);
        assert_ne!(peer("/peer").await?, first);
        Ok(())
    });
}

#[test]
fn bodies_come_back_as_they_were_sent() {
    let directory = scratch("http-client-upload");
    let file = directory.join("lines");
    fs::write(&file, lines()).expect("it is writable");
    let server = Program::start("server.py", &["HTTP/1.1"]);
    talk(Client::builder(), |client| async move {
        let pieces = || {
            let all = Bytes::from(lines());
            (0..80).map(move |at| all.slice(at * 10_000..(at + 1) * 10_000))
        };
        for request in [
            Request::put(server.url("/")).body(lines()),
            Request::put(server.url("/")).pulled(Some(800_000), pieces()),
            Request::put(server.url("/")).pulled(None, pieces()),
            Request::put(server.url("/")).file(&file),
        ] {
            let answer = client.request(request).await?;
            assert!(*answer.body() == lines(), "{} bytes", answer.body().len());
        }
        assert_eq!(client.open_connections(), 1);
        Ok(())
    });
    let _ = fs::remove_dir_all(directory);
}

#[test]
fn a_redirection_is_followed_with_the_cookie_that_it_sets() {
    let server = Program::start("server.py", &["HTTP/1.1"]);
    talk(Client::builder().cookies(CookieJar::new()), |client| async move {
        let answer = client.get(server.url("/away")).await?;
        assert_eq!(answer.text(), "id=7");
        assert_eq!(answer.url(), server.url("/cookie"));
        Ok(())
    });
}

#[test]
fn https_is_spoken_with_whom_one_trusts_and_with_nobody_else() {
    let files = Files::new();
    let server = files.serve();
    let url = format!("https://localhost:{}", server.port);
    let at = url.clone();
    talk(Client::builder().tls(files.trust()), |client| async move {
        is_lines(&client, &format!("{at}/lines")).await?;
        is_lines(&client, &format!("{at}/chunked")).await?;
        assert_eq!(client.open_connections(), 1);
        // A body that ends with the connection, and a server that says no close_notify: it may have
        // been cut by somebody else.
        let cut = client.get(format!("{at}/until-close")).await.map_err(own);
        assert!(matches!(cut, Ok(_) | Err(ClientError::Lost { .. })), "{cut:?}");
        Ok(())
    });
    let stranger = Files::new();
    talk(Client::builder().tls(stranger.trust()), |client| async move {
        let error = own(client.get(format!("{url}/lines")).await.expect_err("a stranger"));
        assert!(matches!(error, ClientError::Connect { .. }), "{error}");
        assert!(error.to_string().contains("the TLS handshake failed"), "{error}");
        assert_eq!(client.open_connections(), 0);
        Ok(())
    });
}

#[test]
fn a_proxy_is_asked_for_http_and_tunnels_https() {
    let files = Files::new();
    let (plain, secure) = (Program::start("server.py", &["HTTP/1.1"]), files.serve());
    let proxy = Program::start("proxy.py", &["me:secret"]);
    let through = format!("http://me:secret@127.0.0.1:{}", proxy.port);
    let builder = Client::builder().tls(files.trust()).proxy(&through).expect("a URL");
    let url = format!("https://localhost:{}", secure.port);
    let (at, plain_url) = (url.clone(), plain.url("/lines"));
    talk(builder, |client| async move {
        let answer = is_lines(&client, &plain_url).await?;
        assert_eq!(answer.header("via"), Some("1.1 python"));
        for _ in 0..2 {
            let answer = is_lines(&client, &format!("{at}/lines")).await?;
            assert_eq!(answer.header("via"), None, "nobody looks into it");
        }
        assert_eq!(client.open_connections(), 2, "one for the proxy, one tunnel");
        Ok(())
    });
    let stranger = format!("http://127.0.0.1:{}", proxy.port);
    let builder = Client::builder().tls(files.trust()).proxy(&stranger).expect("a URL");
    talk(builder, |client| async move {
        let error = own(client.get(&url).await.expect_err("no password"));
        let text = error.to_string();
        assert!(text.contains("407") && text.contains("user and password"), "{text}");
        Ok(())
    });
}

#[test]
fn a_server_that_never_answers_is_given_up_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("an address"));
    talk(Client::builder(), |client| async move {
        let limit = std::time::Duration::from_millis(300);
        let error =
            own(client.request(Request::get(&url).timeout(limit)).await.expect_err("silence"));
        assert!(matches!(error, ClientError::TimedOut { phase: TimedOut::Whole, .. }), "{error}");
        Ok(())
    });
}

/// What `tests/debian/http-client` has set up.
fn nginx(what: &str) -> String {
    std::env::var(format!("NGINX_{what}")).expect("tests/debian/http-client sets it")
}

#[test]
#[ignore = "tests/debian/http-client runs it, with an nginx"]
fn nginx_serves_files_on_connections_that_it_ends_after_seven_requests() {
    let file = fs::read(nginx("FILE")).expect("it is there");
    let tls =
        TlsClient::builder().authorities(nginx("CERTIFICATE")).build().expect("a certificate");
    let only_tls_1_3 = TlsClient::builder().authorities(nginx("CERTIFICATE")).only_tls_1_3();
    let only_tls_1_3 = only_tls_1_3.build().expect("a certificate");
    for (base, tls) in
        [(nginx("PLAIN"), tls.clone()), (nginx("SECURE"), tls), (nginx("SECURE"), only_tls_1_3)]
    {
        let (url, file) = (format!("{base}/numbers.txt"), file.clone());
        talk(Client::builder().tls(tls), |client| async move {
            for _ in 0..20 {
                let answer = client.get(&url).await?;
                assert_eq!(answer.header("content-encoding"), Some("gzip"));
                assert!(*answer.body() == file, "{} bytes", answer.body().len());
            }
            let plain = Request::get(&url).header("Accept-Encoding", "identity");
            let plain = client.request(plain).await?;
            assert!(*plain.body() == file && plain.header("content-encoding").is_none());
            let all = (0..40).map(|_| client.get(&url));
            for answer in ropewalk::gather(all).await? {
                assert!(*answer.body() == file);
            }
            Ok(())
        });
        println!("ok: 62 files from {base}, many at once");
    }
}

#[test]
#[ignore = "tests/debian/http-client runs it, with an nginx"]
fn nginx_answers_with_parts_redirections_refusals_and_nothing() {
    let base = nginx("PLAIN");
    let file = fs::read(nginx("FILE")).expect("it is there");
    talk(Client::builder(), |client| async move {
        let part = Request::get(format!("{base}/numbers.txt")).header("Range", "bytes=100-199");
        let part = client.request(part).await?;
        assert_eq!((part.status().code(), &part.body()[..]), (206, &file[100..200]));
        let etag = part.header("etag").expect("nginx has one").trim_start_matches("W/").to_owned();
        let again = Request::get(format!("{base}/numbers.txt")).header("If-None-Match", etag);
        let again = client.request(again.header("Accept-Encoding", "identity")).await?;
        assert_eq!((again.status().code(), again.body().len()), (304, 0));
        let head = client.request(Request::head(format!("{base}/numbers.txt"))).await?;
        assert!(head.body().is_empty());
        println!("ok: parts, conditions and heads");

        let away = client.get(format!("{base}/away")).await?;
        assert_eq!(away.url(), format!("{base}/numbers.txt"));
        assert!(*away.body() == file);
        println!("ok: a redirection");

        for _ in 0..3 {
            let error = own(client.get(format!("{base}/closed")).await.expect_err("no answer"));
            assert!(matches!(error, ClientError::Lost { unanswered: true, .. }), "{error}");
        }
        println!("ok: no answer at all");

        // It answers before it has read all of the body.
        let pieces = (0..2000).map(|_| Bytes::from(vec![b'x'; 10_000]));
        let large = Request::put(format!("{base}/upload")).pulled(Some(20_000_000), pieces);
        let refused = client.request(large).await?;
        assert_eq!(refused.status().code(), 413);
        println!("ok: an upload that is refused early");
        Ok(())
    });
}

//! Forms, uploads and streams of events, as curl and Python's httpx use them, over real sockets and with
//! files on a real disk.

#![allow(clippy::disallowed_methods, reason = "tests of whole programs live in real time")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use ropewalk::http::{
    Event, Events, Exchange, Form, FormLimits, Forms, Reply, Request, Routes, Site,
};
use ropewalk::{Handle, Reactor, Result};
use support::{python, root, scratch};

/// A server of forms (`/form`, and `/keep`, which keeps the first file) and of events (`/events`,
/// `/say`) in a thread.
struct Server {
    url: String,
    uploads: PathBuf,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        let uploads = scratch("uploads");
        let directory = uploads.clone();
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut reactor = Reactor::new().expect("a poller");
            let site = site(&reactor, &directory);
            let listener = reactor.listen("127.0.0.1:0", site.clone()).expect("a port");
            let address = reactor.address(listener).and_then(|address| address.socket_addr());
            reactor.before_shutdown(move |reactor| {
                reactor.stop_listening(listener);
                site.drain(reactor)
            });
            let url = format!("http://{}", address.expect("a TCP address"));
            sender.send((url, reactor.handle())).expect("the test waits for it");
            reactor.run().expect("it runs");
        });
        let (url, handle) = receiver.recv().expect("it starts");
        Self { url, uploads, handle, thread: Some(thread) }
    }

    fn stop(&mut self) {
        let _ = self.handle.call_from_thread(Reactor::stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// The files that are there after its end: those that nobody keeps are removed behind the answer.
    fn left_behind(&mut self) -> Vec<PathBuf> {
        self.stop();
        let entries = fs::read_dir(&self.uploads).expect("it is there");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.uploads);
    }
}

fn site(reactor: &Reactor, uploads: &Path) -> Site {
    let forms = Forms::new().uploads_to(uploads).limits(FormLimits::new().file(6_000_000));
    let events = Events::new(reactor).history(10);
    let (sender, mut said) = (events.clone(), 0);
    let say = move |request: &Request| {
        said += 1;
        let words = String::from_utf8_lossy(request.body());
        format!("{} hear that", sender.send(&Event::new(words).id(&said.to_string())))
    };
    let kept = uploads.join("kept");
    let keep = forms.handler(move |mut form, exchange| {
        let file = form.take_file("file").ok_or("no file")?;
        exchange.when(file.persist(&kept), |exchange, result| {
            exchange.respond(format!("{result:?}").into());
        });
        Ok(Reply::Later)
    });
    let routes = Routes::new().post("/form", forms.handler(tell)).post("/keep", keep);
    Site::new(routes.get("/events", events).post("/say", say))
}

/// Tells what it got.
fn tell(form: Form, _: &mut Exchange<'_>) -> Result<Reply> {
    let fields = form.fields().map(|(name, value)| format!("{name}={value}"));
    let files = form.files().iter().map(|file| {
        let data = fs::read(file.path()).unwrap_or_default();
        let is_right = data.iter().zip((b'a'..=b'z').cycle()).all(|(one, other)| *one == other);
        let content = if is_right { "letters".into() } else { String::from_utf8_lossy(&data) };
        let (name, size) = (file.file_name(), file.size());
        assert_eq!(size, data.len() as u64);
        format!("{}:{name}:{size}:{}:{content}", file.name(), file.content_type().unwrap_or("-"))
    });
    Ok(fields.chain(files).collect::<Vec<_>>().join(" ").into())
}

/// What a command prints.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("it can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

fn curl(server: &Server, arguments: &[&str], path: &str) -> String {
    let url = format!("{}{path}", server.url);
    run(Command::new("curl").args(["-sS", "--max-time", "60"]).args(arguments).arg(url))
}

#[test]
fn httpx_posts_forms_and_reads_events() {
    let mut server = Server::start();
    let size = 5_000_000;
    let script = root().join("tests/python/http_client.py");
    let said = run(Command::new(python()).arg(script).args([&server.url, &size.to_string()]));
    let fields = "title=Boats & ships \u{2603} tags=one tags=two";
    let expected = format!(
        "{fields}\n\
         {fields} file:a \"b\" \u{2603}.txt:5:text/plain:hello \
         file:large.bin:{size}:application/octet-stream:letters \
         empty:nothing:0:application/octet-stream:letters\n\
         file:unknown:{size}:application/octet-stream:letters\n\
         415 Unsupported Media Type: the body is no form\n\
         title=again\n\
         200 text/event-stream\n1 hear that\n1 hear that\n\
         'id: 1'\n'data: first'\n''\n'id: 2'\n'data: second'\n'data: line'\n''\n\
         'id: 2'\n'data: second'\n'data: line'\n''\n"
    );
    assert_eq!(said, expected);
    assert_eq!(server.left_behind(), [] as [PathBuf; 0], "what nobody has kept is removed");
}

#[test]
fn curl_uploads_files() {
    let mut server = Server::start();
    let home = scratch("curl");
    let (name, size) = (home.join("a \"b\";c.txt"), 3_000_000);
    let letters: Vec<u8> = (b'a'..=b'z').cycle().take(size).collect();
    fs::write(&name, &letters).expect("a new directory");
    let name = name.to_str().expect("a path of ours").replace('"', "\\\"");
    let file = format!("file=@\"{name}\"");
    let told = format!("title=A & B file:a \"b\";c.txt:{size}:text/plain:letters");
    let form = ["-F", "title=A & B", "-F", &file];
    assert_eq!(curl(&server, &form, "/form"), told);
    assert_eq!(curl(&server, &[&form[..], &["--form-escape"]].concat(), "/form"), told);
    let chunked = [&form[..], &["-H", "Transfer-Encoding: chunked"]].concat();
    assert_eq!(curl(&server, &chunked, "/form"), told);
    assert_eq!(curl(&server, &["--data-urlencode", "a=1 & 2"], "/form"), "a=1 & 2");
    assert_eq!(curl(&server, &form, "/keep"), "Ok(())");
    let kept = server.uploads.join("kept");
    assert!(fs::read(&kept).expect("it is kept") == letters);
    let mode = fs::metadata(&kept).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Above the limit, from the length of what is sent on.
    fs::write(home.join("large"), vec![b'a'; 6_000_001]).expect("a new directory");
    let file = format!("file=@{}", home.join("large").display());
    let answer = curl(&server, &["-F", &file, "-o", "/dev/null", "-w", "%{http_code}"], "/form");
    assert_eq!(answer, "413");
    assert_eq!(server.left_behind(), [kept], "nothing else is left");
    fs::remove_dir_all(home).expect("it is ours");
}

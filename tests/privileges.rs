//! Root is left behind once everything is bound. As root, these tests see that; as anybody else, that it
//! is refused.

#[path = "support/certificate.rs"]
mod certificate;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use certificate::Certificate;
use support::{PATIENCE, Server, short_scratch};

/// A user and a group that nobody has.
const USER: u32 = 65_533;
const GROUP: u32 = 65_532;

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("Linux").uid() == 0
}

/// A directory that everybody can look into. Dropping it removes it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let place = short_scratch();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("it is ours");
        Self(place)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("text").to_owned()
    }

    fn configure(&self, text: &str) -> String {
        let path = self.path("ropewalk.toml");
        fs::write(&path, text).expect("it is ours");
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn serve(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
    command.arg("serve").args(arguments).output().expect("it was built for this test")
}

/// What the kernel says of each thread of a process: its users, groups, and further groups.
fn threads(process: u32) -> Vec<[String; 3]> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("Linux");
    let of = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).expect("it runs");
        ["Uid:", "Gid:", "Groups:"].map(|name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        })
    };
    tasks.map(|task| of(task.expect("an entry"))).collect()
}

#[test]
fn every_thread_is_the_user_and_there_is_no_way_back() {
    if !is_root() {
        return refused_to_all_but_root();
    }
    let place = Place::new();
    let data = place.path("data");
    fs::create_dir(&data).expect("a new one");
    chown(&data, Some(USER), Some(GROUP)).expect("as root");
    let path = place.configure(&format!(
        "user = '{USER}'\ngroup = '{GROUP}'\n\
         [[service]]\nkind = 'amqp'\ndata = '{data}'\nlisten = ['127.0.0.1:0']\n\
         [[service]]\nkind = 'echo'\nlisten = ['127.0.0.1:0']\n"
    ));
    let mut server = Server::start(&["serve", "--config", &path], 2);
    // Threads of the pool, started since: a reload reads the file there.
    server.signal("HUP");
    server.said_until("reloaded");
    let found = threads(server.process());
    assert!(found.len() > 1, "{found:?}");
    for thread in &found {
        let [users, groups, more] = thread;
        assert_eq!(*users, [USER; 4].map(|user| user.to_string()).join(" "), "{found:?}");
        assert_eq!(*groups, [GROUP; 4].map(|group| group.to_string()).join(" "), "{found:?}");
        assert_eq!(*more, GROUP.to_string(), "{found:?}");
    }
    let address = server.listening[1].1.strip_prefix("tcp://").expect("TCP").to_owned();
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.write_all(b"hello").expect("it is open");
    stream.read_exact(&mut [0; 5]).expect("the echo");
    drop(stream);
    for entry in fs::read_dir(&data).expect("it is there") {
        let entry = entry.expect("an entry");
        assert_eq!(entry.metadata().expect("it is there").uid(), USER, "{:?}", entry.path());
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

/// As a user who can become nobody else.
fn refused_to_all_but_root() {
    let place = Place::new();
    let path = place.configure("[[service]]\nkind = 'echo'\nlisten = ['127.0.0.1:0']\n");
    let output = serve(&["--config", &path, "--user", &format!("{USER}:{GROUP}")]);
    refused(&output);
}

fn refused(output: &Output) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stdout, b"", "nothing was announced");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("only root can go on as {USER}:{GROUP}")), "{said}");
}

#[test]
fn whoever_is_not_root_is_refused_and_whoever_is_that_user_already_is_not() {
    if !is_root() {
        return refused_to_all_but_root();
    }
    let place = Place::new();
    let path = place.configure("[[service]]\nkind = 'echo'\nlisten = ['127.0.0.1:0']\n");
    let binary = place.path("ropewalk");
    // By a child: a descriptor of ours that writes to it would, in whatever another test forks
    // meanwhile, make it a busy text file.
    let copied = Command::new("cp").args([env!("CARGO_BIN_EXE_ropewalk"), &binary]).status();
    assert!(copied.expect("cp is everywhere").success());
    let mut command = Command::new(&binary);
    command.args(["serve", "--config", &path, "--user", &format!("{USER}:{GROUP}")]);
    refused(&command.uid(USER - 1).gid(GROUP).output().expect("a program"));
    command.uid(USER).gid(GROUP);
    let mut server = Server::start_with(command, 1);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn data_of_somebody_else_and_keys_that_cannot_be_read_again_are_told() {
    if !is_root() {
        return refused_to_all_but_root();
    }
    let place = Place::new();
    let queue = |data: &str| {
        place.configure(&format!(
            "user = '{USER}:{GROUP}'\n[[service]]\nkind = 'amqp'\nname = 'orders'\n\
             data = '{data}'\nlisten = ['127.0.0.1:0']\n"
        ))
    };
    // A directory of the user's with a file of root's, from an earlier start as root.
    let data = place.path("data");
    fs::create_dir(&data).expect("a new one");
    chown(&data, Some(USER), Some(GROUP)).expect("as root");
    let segment = Path::new(&data).join("1.log");
    fs::write(&segment, "").expect("as root");
    let output = serve(&["--config", &queue(&data)]);
    let said = String::from_utf8_lossy(&output.stderr);
    let told = format!("1.log belongs to user 0, and this runs as {USER}");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&told), "{said}");
    assert!(said.contains(&format!("chown -R {USER}:{GROUP} {data}")), "{said}");
    // One that the user cannot make.
    let output = serve(&["--config", &queue(&place.path("missing"))]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("install -d -m 700 -o {USER} -g {GROUP} ")), "{said}");

    let Certificate { certificate, key, .. } = &Certificate::new(place.0.join("tls"));
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).expect("as root");
    let path = place.configure(&format!(
        "user = '{USER}:{GROUP}'\n[[service]]\nkind = 'echo'\n\
         listen = ['tls://127.0.0.1:0?cert={certificate}&key={key}']\n"
    ));
    let server = Server::start(&["serve", "--config", &path], 1);
    let said = server.said_until("key.pem: ");
    assert!(said.contains("cannot read it"), "{said}");
    server.signal("HUP");
    let said = server.said_until("nothing has changed");
    assert!(said.contains("ermission denied"), "{said}");
}

#[test]
fn a_traffic_log_is_the_users_and_what_it_cannot_do_with_it_is_told() {
    if !is_root() {
        return refused_to_all_but_root();
    }
    let place = Place::new();
    let directory = place.path("logs");
    fs::create_dir(&directory).expect("a new one");
    let (log, password) = (format!("{directory}/traffic"), place.path("password"));
    fs::write(&password, "secret\n").expect("as root");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).expect("as root");
    let precious = place.path("precious");
    fs::write(&precious, "").expect("as root");
    let path = place.configure(&format!(
        "user = '{USER}:{GROUP}'\n\
         [[service]]\nkind = 'echo'\nlisten = ['127.0.0.1:0']\ntraffic-log = '{log}'\n\
         [[service]]\nkind = 'redis'\nlisten = ['127.0.0.1:0']\npassword-file = '{password}'\n"
    ));
    let mut server = Server::start(&["serve", "--config", &path], 2);
    let said = server.said_until("when it is to be put aside");
    assert!(said.contains(&format!("{password}: {USER}:{GROUP}")), "{said}");
    assert!(said.contains(&format!("{log}: {USER}:{GROUP}")), "{said}");
    let owner = fs::metadata(&log).map(|found| (found.uid(), found.gid()));
    assert_eq!(owner.expect("it was opened"), (USER, GROUP));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    // The user's own directory: fine, but what the user leads elsewhere stays whose it is.
    chown(&directory, Some(USER), Some(GROUP)).expect("as root");
    fs::remove_file(&log).expect("it is there");
    std::os::unix::fs::symlink(&precious, &log).expect("a free name");
    let path = place.configure(&format!(
        "user = '{USER}:{GROUP}'\n\
         [[service]]\nkind = 'echo'\nlisten = ['127.0.0.1:0']\ntraffic-log = '{log}'\n"
    ));
    let server = Server::start(&["serve", "--config", &path], 1);
    server.said_until("cannot write it");
    assert_eq!(fs::metadata(&precious).expect("it is there").uid(), 0);
}

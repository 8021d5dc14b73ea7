//! Sockets that systemd opened and passed to this process: socket activation, sd_listen_fds(3).
//!
//! The environment says how many there are (`LISTEN_FDS`), for which process (`LISTEN_PID`), and
//! their names (`LISTEN_FDNAMES`). The one rule: each is taken once, whatever reactor asks.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};

use crate::endpoint::Passed;

/// sd_listen_fds(3): the first descriptor that is passed.
const FIRST: RawFd = 3;

/// The places of those that were taken in this process.
static TAKEN: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// The descriptor of a socket that was passed: it is the caller's from now on.
pub(crate) fn take(which: &Passed) -> io::Result<RawFd> {
    let variable = |name| std::env::var(name).ok();
    let names = names(
        std::process::id(),
        variable("LISTEN_PID").as_deref(),
        variable("LISTEN_FDS").as_deref(),
        variable("LISTEN_FDNAMES").as_deref(),
    );
    let index = names.and_then(|names| find(&names, which)).map_err(io::Error::other)?;
    if !TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(index) {
        let problem = format!("the socket systemd:{index} was taken before in this process");
        return Err(io::Error::new(io::ErrorKind::AddrInUse, problem));
    }
    Ok(FIRST + index as RawFd) // below `MOST`
}

/// No unit has more sockets than a process may have descriptors; a larger number is a mistake.
const MOST: usize = 1 << 16;

/// The names of the sockets that were passed to this process, in their places.
fn names(
    process: u32,
    listen_pid: Option<&str>,
    listen_fds: Option<&str>,
    listen_fdnames: Option<&str>,
) -> Result<Vec<String>, String> {
    let (Some(pid), Some(count)) = (listen_pid, listen_fds) else {
        return Err("systemd passed no socket to this process (LISTEN_FDS and LISTEN_PID are not \
                    set); is it started by a .socket unit?"
            .to_owned());
    };
    if pid.parse() != Ok(process) {
        return Err(format!("the sockets were passed to process {pid}, and this is {process}"));
    }
    let count = count.parse().ok().filter(|&count| count <= MOST);
    let count = count.ok_or_else(|| format!("LISTEN_FDS={:?} is no count", listen_fds))?;
    let mut names: Vec<_> =
        listen_fdnames.map_or(Vec::new(), |names| names.split(':').map(str::to_owned).collect());
    names.resize(count, "unknown".to_owned()); // as sd_listen_fds_with_names(3) calls them
    Ok(names)
}

fn find(names: &[String], which: &Passed) -> Result<usize, String> {
    let passed = || match names.len() {
        1 => format!("1 socket, systemd:0 ({:?})", names[0]),
        count => format!("{count} sockets: {names:?}"),
    };
    match which {
        Passed::Index(index) if *index < names.len() => Ok(*index),
        Passed::Index(_) => Err(format!("systemd passed {}", passed())),
        Passed::Name(name) => {
            let mut places = names.iter().enumerate().filter(|(_, found)| *found == name);
            match (places.next(), places.next()) {
                (Some((index, _)), None) => Ok(index),
                (Some((one, _)), Some((other, _))) => Err(format!(
                    "several sockets have that name: say systemd:{one} or systemd:{other}"
                )),
                (None, _) => Err(format!("systemd passed {}", passed())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(of: &[&str], which: Passed) -> Result<usize, String> {
        let names: Vec<_> = of.iter().map(|&name| name.to_owned()).collect();
        find(&names, &which)
    }

    #[test]
    fn sockets_are_for_the_process_that_they_name() {
        assert_eq!(names(7, Some("7"), Some("1"), None), Ok(vec!["unknown".to_owned()]));
        let named = names(7, Some("7"), Some("2"), Some("web:admin")).expect("two names");
        assert_eq!(named, ["web", "admin"]);
        for (pid, count, problem) in [
            (None, Some("1"), "passed no socket"),
            (Some("7"), None, "passed no socket"),
            (Some("8"), Some("1"), "passed to process 8"),
            (Some(""), Some("1"), "passed to process"),
            (Some("7"), Some("-1"), "no count"),
            (Some("7"), Some("99999999"), "no count"),
        ] {
            let error = names(7, pid, count, None).expect_err(problem);
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_socket_is_found_by_its_place_or_by_a_name_that_only_it_has() {
        let name = |name: &str| Passed::Name(name.to_owned());
        let passed = ["web", "admin", "web"];
        assert_eq!(index(&passed, Passed::Index(2)), Ok(2));
        assert_eq!(index(&passed, name("admin")), Ok(1));
        assert!(index(&passed, Passed::Index(3)).expect_err("three").contains("3 sockets"));
        assert!(index(&passed, name("mail")).expect_err("none").contains("\"admin\""));
        assert!(index(&passed, name("web")).expect_err("two").contains("systemd:2"));
        assert!(index(&[], Passed::Index(0)).expect_err("none").contains("0 sockets"));
    }
}

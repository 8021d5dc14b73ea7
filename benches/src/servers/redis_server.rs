//! Redis, if it is installed: with nothing on the disk, and nothing but publish/subscribe asked of it.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::{announce, announce_absent, free_port};

/// Where Debian and others put it, unless the variable REDIS says otherwise.
const PLACES: [&str; 3] =
    ["/usr/bin/redis-server", "/usr/local/bin/redis-server", "/usr/sbin/redis-server"];

pub(super) fn run() -> io::Result<()> {
    let named = std::env::var_os("REDIS").map(PathBuf::from);
    let Some(redis) = named.into_iter().chain(PLACES.map(PathBuf::from)).find(|p| p.is_file())
    else {
        announce_absent("redis-server is not installed");
        return Ok(());
    };
    let port = free_port()?;
    announce(port);
    // Its words would be taken for ours.
    let arguments =
        ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--logfile", "/dev/null"];
    Err(Command::new(redis).arg("--port").arg(port.to_string()).args(arguments).exec())
}

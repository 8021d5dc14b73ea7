//! A directory served by nginx with sendfile, if it is installed: one process, as for "Hello, World!".

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::http_nginx::{configuration, find};
use super::{announce, announce_absent, free_port, root_of_files};

pub(super) fn run() -> io::Result<()> {
    let Some(nginx) = find() else {
        announce_absent("nginx is not installed");
        return Ok(());
    };
    let port = free_port()?;
    let home = crate::child::scratch_of(std::process::id());
    std::fs::create_dir_all(&home)?;
    let config = home.join("nginx.conf");
    let root = root_of_files()?;
    let location = format!("sendfile on; tcp_nopush on; root {};", root.display());
    std::fs::write(&config, configuration(port, &home.to_string_lossy(), &location))?;
    announce(port);
    Err(Command::new(nginx).arg("-p").arg(&home).arg("-c").arg(&config).exec())
}

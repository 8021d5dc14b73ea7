//! "Hello, World!" on nginx, if it is installed: one process that serves, and no master beside
//! it, so that this process, which nginx replaces, is the one that is measured.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::{HELLO, announce, announce_absent, free_port};

/// Where Debian and others put it, unless the variable NGINX says otherwise.
const PLACES: [&str; 3] = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];

/// The binary, if there is one.
pub(super) fn find() -> Option<PathBuf> {
    let named = std::env::var_os("NGINX").map(PathBuf::from);
    named.into_iter().chain(PLACES.map(PathBuf::from)).find(|p| p.is_file())
}

pub(super) fn run() -> io::Result<()> {
    let Some(nginx) = find() else {
        announce_absent("nginx is not installed");
        return Ok(());
    };
    let port = free_port()?;
    let home = crate::child::scratch_of(std::process::id());
    std::fs::create_dir_all(&home)?;
    let config = home.join("nginx.conf");
    let location = format!("default_type text/plain; return 200 \"{HELLO}\";");
    std::fs::write(&config, configuration(port, &home.to_string_lossy(), &location))?;
    announce(port);
    Err(Command::new(nginx).arg("-p").arg(&home).arg("-c").arg(&config).exec())
}

/// `location` is what it does with every request.
pub(super) fn configuration(port: u16, home: &str, location: &str) -> String {
    format!(
        "daemon off;
master_process off;
worker_processes 1;
error_log stderr crit;
pid {home}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    server_tokens off;
    tcp_nodelay on;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{ {location} }}
    }}
}}
"
    )
}

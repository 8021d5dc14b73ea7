//! RabbitMQ, if it is installed: one node on one scheduler, with every file in a place of its
//! own, no plugins and no warnings logged. This process, which the Erlang machine replaces, is the
//! one that is measured.
//!
//! Its schedulers do not spin while they wait (`+sbwt none`): that costs processor time, which is
//! what we compare, and gains nothing when they share one core.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{announce, announce_absent, free_port};
use crate::sys;

/// Where Debian and others put it, unless the variable RABBITMQ says otherwise. Debian's
/// `/usr/sbin/rabbitmq-server` is no use: it changes the user first.
const PLACES: [&str; 3] = [
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/usr/local/sbin/rabbitmq-server",
    "/opt/rabbitmq/sbin/rabbitmq-server",
];

pub(super) fn run() -> io::Result<()> {
    let places = match std::env::var_os("RABBITMQ") {
        Some(named) => vec![PathBuf::from(named)],
        None => PLACES.map(PathBuf::from).to_vec(),
    };
    let Some(rabbitmq) = places.into_iter().find(|place| place.is_file()) else {
        announce_absent("RabbitMQ is not installed");
        return Ok(());
    };
    // A node that is started again finds its data by its name.
    let data = std::env::var_os(crate::child::DATA).map(PathBuf::from);
    let name = match data {
        Some(_) => "ropewalk-bench@localhost".to_owned(),
        None => format!("ropewalk-bench-{}@localhost", std::process::id()),
    };
    let home = data.unwrap_or_else(|| crate::child::scratch_of(std::process::id()));
    std::fs::create_dir_all(home.join("log"))?;
    let file = |name: &str, text: String| {
        let path = home.join(name);
        std::fs::write(&path, text).map(|()| path)
    };
    let (port, names_port, node_port) = (free_port()?, free_port()?, free_port()?);
    let config = format!(
        "listeners.tcp.1 = 127.0.0.1:{port}\nlog.console = false\nlog.file.level = error\n\
         vm_memory_high_watermark.relative = 0.8\n"
    );
    let config = file("rabbitmq.conf", config)?;
    let plugins = file("enabled_plugins", "[].\n".to_owned())?;
    let environment = file("rabbitmq-env.conf", String::new())?;

    // The port mapper would stay behind if RabbitMQ started it: ours goes when we do.
    let mut epmd = Command::new("epmd");
    epmd.args(["-address", "127.0.0.1", "-port", &names_port.to_string()]);
    epmd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    sys::pin_child(&mut epmd, None);
    epmd.spawn()?;

    announce(port);
    let error = Command::new(rabbitmq)
        .env("HOME", &home)
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", names_port.to_string())
        .env("RABBITMQ_NODENAME", name)
        .env("RABBITMQ_DIST_PORT", node_port.to_string())
        .env("RABBITMQ_MNESIA_BASE", home.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", home.join("log"))
        .env("RABBITMQ_PID_FILE", home.join("pid"))
        .env("RABBITMQ_CONFIG_FILE", config)
        .env("RABBITMQ_CONF_ENV_FILE", environment)
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", plugins)
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
        )
        // The script then becomes the Erlang machine, instead of watching over it.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .exec();
    Err(error)
}

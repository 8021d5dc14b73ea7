//! Where the figures were taken: they mean little without.

use serde::Serialize;

use crate::settings::Settings;

#[derive(Serialize)]
pub(crate) struct Machine {
    processor: String,
    kernel: String,
    cores: usize,
    server_core: Option<usize>,
    load_core: Option<usize>,
    /// Other work on the machine as it began: the load average of a minute.
    load_average: String,
    rounds: usize,
    seconds: f64,
    quick: bool,
}

impl Machine {
    pub(crate) fn describe(settings: &Settings, cores: &[usize]) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let name = model.map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']));
        let load = read("/proc/loadavg");
        Machine {
            processor: name.to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cores: cores.len(),
            server_core: settings.server_core,
            load_core: settings.load_core,
            load_average: load.split(' ').next().unwrap_or_default().to_owned(),
            rounds: settings.rounds,
            seconds: settings.duration.as_secs_f64(),
            quick: settings.quick,
        }
    }

    pub(crate) fn print(&self) {
        println!(
            "{}, Linux {}, {} cores; load average {} at the start; {} rounds of {} s\n",
            self.processor, self.kernel, self.cores, self.load_average, self.rounds, self.seconds
        );
        if self.server_core.is_none() || self.server_core == self.load_core {
            println!("Server and load share a core: latency and throughput mean little here.\n");
        }
        if self.quick {
            println!("A smoke run: the figures mean nothing.\n");
        }
    }
}

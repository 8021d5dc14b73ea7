//! The same work done by Ropewalk and by its peers, in alternating runs on one machine, with
//! the results as ratios. See README.md for how to read them.

mod amqp;
mod batch;
mod child;
mod figures;
mod files;
mod histogram;
mod http_files;
mod idle;
mod load;
mod machine;
mod report;
mod secret;
mod servers;
mod settings;
mod slowloris;
mod store;
mod sys;
mod throughput;
mod timers;
mod trace;

use std::io;
use std::process::ExitCode;

use load::{Dialogue, Work};
use serde_json::json;
use settings::{Settings, Suite, USAGE};
use throughput::Kind;

const CONNECTIONS: usize = 64;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let done = match arguments.peek().map(String::as_str) {
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(())
        }
        // Those that we start ourselves.
        Some("serve") => arguments.nth(1).map_or(Ok(()), |name| {
            sys::raise_descriptor_limit()?;
            servers::serve(&name)
        }),
        Some("timers-of") => timers::in_this_process(&arguments.skip(1).collect::<Vec<_>>()),
        Some("store-of") => store::in_this_process(&arguments.skip(1).collect::<Vec<_>>()),
        _ => {
            let cores = sys::allowed_cores();
            match Settings::parse(arguments, &cores) {
                Ok(settings) => compare(&settings, &cores),
                Err(complaint) => {
                    eprintln!("{complaint}");
                    return ExitCode::from(2);
                }
            }
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ropewalk-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(settings: &Settings, cores: &[usize]) -> io::Result<()> {
    let descriptors = sys::raise_descriptor_limit()?;
    if let Some(core) = settings.load_core {
        sys::pin_to(core)?;
    }
    let machine = machine::Machine::describe(settings, cores);
    machine.print();
    let mut results = serde_json::Map::from_iter([("machine".to_owned(), json!(machine))]);
    for suite in &settings.suites {
        let (name, result) = match suite {
            Suite::Echo => {
                let dialogue = Dialogue::Echo { size: 64 };
                ("echo", busy("echo, 64 bytes", servers::ECHO, dialogue, settings)?)
            }
            Suite::Tls => {
                let dialogue = Dialogue::SecretEcho { size: 64 };
                ("tls", busy("echo over TLS, 64 bytes", servers::TLS, dialogue, settings)?)
            }
            Suite::Udp => {
                let work = Work::Datagrams { size: 64 };
                let title = "echo of datagrams, 64 bytes";
                let mut results = Vec::new();
                // Few enough in flight for the buffer of the server's one socket.
                for (sockets, depth) in [(64, 1), (8, 16)] {
                    let load = Kind { work, connections: sockets, depth };
                    let result = throughput::measure(title, servers::UDP, load, settings)?;
                    result.print();
                    results.push(json!(result));
                }
                ("udp", results.into())
            }
            Suite::Redis => {
                let mut results = Vec::new();
                for depth in [1, 16, 64] {
                    let work = Work::Dialogue(Dialogue::Ping);
                    let load = Kind { work, connections: 50, depth };
                    let title = "Redis, PING";
                    results.push(throughput::measure(title, servers::REDIS, load, settings)?);
                }
                for (size, subscribers) in [16, 1024]
                    .into_iter()
                    .flat_map(|size| [1, 10, 100, 1000].map(|subscribers| (size, subscribers)))
                {
                    let work = Work::Deliveries { size };
                    let load = Kind { work, connections: subscribers, depth: 64 };
                    let title = format!("Redis, deliveries of {size} bytes to subscribers");
                    results.push(throughput::measure(&title, servers::REDIS, load, settings)?);
                }
                results.iter().for_each(throughput::Throughput::print);
                ("redis", json!(results))
            }
            Suite::Http => ("http", busy("HTTP", servers::HTTP, Dialogue::Http, settings)?),
            Suite::HttpFiles => {
                let files = http_files::measure(settings)?;
                files.print();
                ("http_files", json!(files))
            }
            Suite::Slowloris => {
                let slowloris = slowloris::measure(settings, descriptors)?;
                slowloris.print();
                ("slowloris", json!(slowloris))
            }
            Suite::Files => {
                let mut results = Vec::new();
                for readers in [1, 8] {
                    let files = files::measure(settings, readers)?;
                    files.print();
                    results.push(json!(files));
                }
                ("files", results.into())
            }
            Suite::Amqp => {
                let amqp = amqp::measure(settings, descriptors)?;
                amqp.print();
                ("amqp", json!(amqp))
            }
            Suite::Durable => {
                let durable = amqp::durable::measure(settings)?;
                durable.print();
                ("durable", json!(durable))
            }
            Suite::Idle => {
                let idle = idle::measure(settings, descriptors)?;
                idle.print();
                ("idle", json!(idle))
            }
            Suite::Store => {
                let store = store::measure(settings)?;
                store.print();
                ("store", json!(store))
            }
            Suite::Timers => {
                let timers = timers::measure(settings)?;
                timers.print();
                ("timers", json!(timers))
            }
        };
        results.insert(name.to_owned(), result);
    }
    match &settings.json {
        Some(file) => std::fs::write(file, format!("{:#}\n", json!(results))),
        None => Ok(()),
    }
}

/// One request in flight on each connection, and sixteen.
fn busy(
    title: &str,
    contenders: &[servers::Contender],
    dialogue: Dialogue,
    settings: &Settings,
) -> io::Result<serde_json::Value> {
    let mut results = Vec::new();
    for depth in [1, 16] {
        let load = Kind { work: Work::Dialogue(dialogue), connections: CONNECTIONS, depth };
        let result = throughput::measure(title, contenders, load, settings)?;
        result.print();
        results.push(json!(result));
    }
    Ok(results.into())
}

//! The binary `ropewalk`: every server of the project, one command each, and `serve` for several
//! at once.
//!
//! Standard output carries one line for each listener that is bound, and nothing else; whoever
//! starts this program from another one reads the real addresses there.

#![forbid(unsafe_code)]

mod ahead;
mod amqp;
mod arguments;
mod bridge;
mod config;
mod data;
mod joined;
mod memory;
mod policies;
mod privileges;
mod process;
mod redis;
mod reload;
mod running;
mod serve;
mod service;
mod size;
mod sockets;
mod span;
mod threads;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The level that a file may set is the program's own to change: the logger lets everything pass.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("trace")).init();
    process::Process::default().set_log_level();
    match serve::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("ropewalk: {problem}");
            ExitCode::FAILURE
        }
    }
}

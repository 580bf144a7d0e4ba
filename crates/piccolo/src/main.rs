//! The binary: command line, configuration, log, signals, and the wiring of a node. No logic of the
//! store is here.

mod args;
mod bind;
mod config;
mod logging;
mod node;
mod open_files;
mod signals;

use std::fmt::Display;
use std::process::ExitCode;

use clap::Parser;
use cli::admin::{self, Ended};
use tracing::{error, info};

use crate::args::{Arguments, Command, StartArguments};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_OK: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        None => start(&arguments.start),
        Some(Command::Start(start_arguments)) => start(&start_arguments),
        Some(Command::Status(arguments)) => ask(admin::status(&arguments)),
        Some(Command::Node(arguments)) => ask(admin::node(&arguments)),
        Some(Command::Shard(arguments)) => ask(admin::shard(&arguments)),
        Some(Command::Bench(arguments)) => ask(cli::bench::run(&arguments).map(|()| Ended::Well)),
    }
}

fn start(arguments: &StartArguments) -> ExitCode {
    let loaded = match config::load(arguments.config.as_deref(), &arguments.set) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(error),
    };
    if arguments.check {
        match &loaded.path {
            Some(path) => println!("{}: the configuration is in order", path.display()),
            None => println!("the configuration is in order: there is no file, so the defaults"),
        }
        return ExitCode::SUCCESS;
    }
    if let Err(error) = logging::start(loaded.config.log) {
        return refuse(error);
    }
    let config_file = loaded
        .path
        .map_or(String::new(), |path| path.display().to_string());
    let configuration = if config_file.is_empty() {
        "defaults"
    } else {
        &config_file
    };
    info!(
        version = env!("CARGO_PKG_VERSION"),
        configuration, "piccolo starts"
    );
    let ended = signals::listen()
        .map_err(anyhow::Error::from)
        .and_then(|stop| node::run(loaded.config, arguments.threads, config_file, stop));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", in_full(&error));
            ExitCode::from(FAILED)
        }
    }
}

/// The exit code of a command that asks a server.
fn ask(ended: anyhow::Result<Ended>) -> ExitCode {
    match ended {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::NotOk) => ExitCode::from(NOT_OK),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// The error and its causes, but for those whose words it has said already.
fn in_full(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

/// Says what is wrong with the command line or the configuration, one line for each thing.
fn refuse(error: impl Display) -> ExitCode {
    for line in error.to_string().lines() {
        eprintln!("error: {line}");
    }
    ExitCode::from(USAGE)
}

//! The load generator alone, without the store: `cargo run --release -p cli --example bench -- --help`.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    bench: cli::bench::BenchArgs,
}

fn main() -> ExitCode {
    match cli::bench::run(&Arguments::parse().bench) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

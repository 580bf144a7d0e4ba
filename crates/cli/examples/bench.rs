//! The load generator alone, without the store: `cargo run --release -p cli --example bench -- --help`.

use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    bench: cli::bench::BenchArgs,
}

fn main() -> anyhow::Result<()> {
    cli::bench::run(&Arguments::parse().bench)
}

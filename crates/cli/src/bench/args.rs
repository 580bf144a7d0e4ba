//! The command line of the load generator.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

/// Drive a server (Piccolo, Redis or another that speaks RESP) with load and tell what it did.
///
/// Each client sends a batch of PIPELINE requests, waits for all replies, and sends the next. Keys are
/// drawn uniformly from KEYS keys of 16 bytes, which are written first, into database 0, and stay there. Give a second server with --vs to compare two
/// in the same minutes, round by round; ratios are those of the first to the second.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// The server: host and port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:6379")]
    pub address: String,

    /// A second server to compare with: each round runs on both, and which is first alternates
    #[arg(long, value_name = "HOST:PORT")]
    pub vs: Option<String>,

    /// The password, for both servers (AUTH)
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,

    /// How many connections
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub clients: u32,

    /// How many requests a client sends before it waits for their replies
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub pipeline: u32,

    /// What to send: GET, SET, both in equal parts at random, or nothing but the fill, to tell memory per key
    #[arg(long, value_enum, default_value_t = Op::Get)]
    pub op: Op,

    /// What to send instead: words with blanks between them, commands with `;` between them, which a client then sends
    /// together. {key} stands for a key, {digits} for its number, {value} for a value. Nothing is written first
    #[arg(long, value_name = "WORDS", conflicts_with = "op")]
    pub command: Option<String>,

    /// How many keys to choose from (`key:000000000000` and up)
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub keys: u64,

    /// Do not write the keys first: GETs count misses, SETs create
    #[arg(long)]
    pub no_fill: bool,

    /// The size of values
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    pub value_size: usize,

    /// How long each round is measured, after a warm-up of at most half a second
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    pub seconds: f64,

    /// How many rounds [default: 1; with --vs: 5]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rounds: Option<u32>,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// What the clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Op {
    /// `GET key`.
    Get,
    /// `SET key value`.
    Set,
    /// Either of them, with a probability of one half each.
    Mixed,
    /// Each key is set once, pipelined, and memory is compared before and after: on servers started for it.
    Fill,
}

impl Op {
    /// The word of the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Op::Get => "get",
            Op::Set => "set",
            Op::Mixed => "mixed",
            Op::Fill => "fill",
        }
    }
}

impl BenchArgs {
    /// The most bytes that one client sends before it waits.
    const MAX_BATCH_BYTES: usize = 256 * 1024 * 1024;

    /// The name of what is sent, for people and programs.
    pub(crate) fn what(&self) -> &str {
        self.command.as_deref().unwrap_or(self.op.name())
    }

    /// Whether all keys are written before.
    pub(crate) fn fills(&self) -> bool {
        !self.no_fill && self.command.is_none()
    }

    /// How many rounds to run.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.vs.is_some() { 5 } else { 1 })
    }

    /// What the declarations above cannot say.
    pub(crate) fn check(&self) -> Result<()> {
        if !(0.01..=86_400.0).contains(&self.seconds) {
            bail!("--seconds is between 0.01 and 86400, not {}", self.seconds);
        }
        let batch = self
            .value_size
            .saturating_add(64)
            .saturating_mul(self.pipeline as usize);
        if batch > BenchArgs::MAX_BATCH_BYTES {
            bail!(
                "--pipeline {} of --value-size {} is more than {} MiB at once: lower one of them",
                self.pipeline,
                self.value_size,
                BenchArgs::MAX_BATCH_BYTES >> 20
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parse(line: &str) -> Result<BenchArgs> {
        let args = Command::try_parse_from(line.split(' '))?.bench;
        args.check()?;
        Ok(args)
    }

    #[test]
    fn defaults_are_those_of_the_help() {
        let args = parse("bench").unwrap();
        assert_eq!(
            (args.address.as_str(), args.clients, args.pipeline),
            ("127.0.0.1:6379", 50, 1)
        );
        assert_eq!(
            (args.keys, args.value_size, args.op),
            (1_000_000, 64, Op::Get)
        );
        assert_eq!(args.rounds(), 1);
        assert_eq!(parse("bench --vs h:1").unwrap().rounds(), 5);
        assert_eq!(
            parse("bench --vs h:1 --rounds 3 --op mixed --json")
                .unwrap()
                .rounds(),
            3
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "bench --clients 0",
            "bench --pipeline 0",
            "bench --keys 0",
            "bench --op delete",
            "bench --seconds 0",
            "bench --seconds nan",
            "bench --rounds 0",
            "bench --pipeline 1000 --value-size 1000000",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}

//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use cli::admin::{NodeArgs, ShardArgs, StatusArgs};
use cli::bench::BenchArgs;

/// More threads than this were asked for by mistake.
const THREADS_MAX: usize = 1024;

/// A distributed key:value store that speaks the Redis protocol.
#[derive(Debug, Parser)]
#[command(
    name = "piccolo",
    version,
    args_conflicts_with_subcommands = true,
    long_about = LONG_ABOUT,
    after_long_help = AFTER_HELP,
    after_help = "`piccolo --help` tells more, with examples."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) start: StartArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a node; the same as no command at all
    Start(StartArguments),
    /// Show the cluster, its nodes and its shards
    Status(StatusArgs),
    /// Remove, drain or undrain a node
    Node(NodeArgs),
    /// Move a shard's replica, or say which node is to lead it
    Shard(ShardArgs),
    /// Drive a server with load and tell what it did
    Bench(BenchArgs),
}

/// What a node is started with.
#[derive(Clone, Debug, Args)]
pub(crate) struct StartArguments {
    /// The configuration, in TOML [default: config.toml, if it is there]
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
    /// Set one key over the configuration, as often as wanted
    ///
    /// The last one wins. VALUE is TOML; a bare word is a string:
    /// --set discovery.bind_port=19925 --set storage.fsync=never
    #[arg(long = "set", value_name = "KEY=VALUE", verbatim_doc_comment)]
    pub(crate) set: Vec<String>,
    /// Read and check the configuration, and exit
    #[arg(long)]
    pub(crate) check: bool,
    /// How many threads serve [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,
}

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .filter(|threads: &NonZeroUsize| threads.get() <= THREADS_MAX)
        .ok_or_else(|| format!("expected a number from 1 to {THREADS_MAX}"))
}

const LONG_ABOUT: &str = "\
A distributed key:value store that speaks the Redis protocol.

Started without any option on a machine of its own, a node founds a cluster of one, listens for
clients on 127.0.0.1:6379 and for other nodes on 127.0.0.1:19919, and keeps its data in
piccolo-data. A port that is taken is passed over for the next free one, so the same command in
several terminals starts several nodes; the log says which ports each has.";

const AFTER_HELP: &str = "\
Examples:
  piccolo                                      a node with the defaults
  piccolo --config /etc/piccolo.toml           a node with that configuration
  piccolo --config /etc/piccolo.toml --check   is that configuration in order?
  piccolo --set redis.bind_port=7000 --set storage.fsync=everysec
  redis-cli -p 6379                            talk to it
  piccolo status                               how its cluster does, asked of the node on 127.0.0.1:6379
  piccolo node remove NAME --address HOST:6379   take a node out of the cluster, asked of any of them
  piccolo bench --pipeline 16                  measure it; `piccolo bench --help` tells more

Every key of the configuration stands in docs/configuration.md.

Signals:
  SIGTERM, SIGINT   stop in order: no new requests, what is under way is answered, the log is
                    synced. A second one stops at once; what was acknowledged is safe, as after
                    kill -9.

Environment:
  PICCOLO_PASSWORD  what `status`, `node` and `shard` show the node that they ask
  RUST_LOG          what is logged, over log.level, such as RUST_LOG=info,peer=debug
  NO_COLOR          if set, the log is without colours

Exit codes:
  0          all went well, or the node was asked to stop and did
  1          it failed; the log says why
  2          the command line or the configuration is wrong; standard error says where
  3          `status` has shown a cluster whose state is not `ok`
  130, 143   it was stopped at once by a second SIGINT or SIGTERM";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn start(line: &str) -> Result<StartArguments, clap::Error> {
        Arguments::try_parse_from(line.split(' ')).map(|arguments| match arguments.command {
            Some(Command::Start(start)) => start,
            _ => arguments.start,
        })
    }

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn start_may_be_left_out() {
        for line in [
            "piccolo --config a --set x=1 --set y=2",
            "piccolo start --config a --set x=1 --set y=2",
        ] {
            let start = start(line).unwrap();
            assert_eq!(start.config, Some(PathBuf::from("a")), "{line}");
            assert_eq!(start.set, ["x=1", "y=2"], "{line}");
            assert!(!start.check && start.threads.is_none());
        }
    }

    #[test]
    fn threads_are_at_least_one_and_not_beyond_reason() {
        assert_eq!(
            start("piccolo --threads 2").unwrap().threads,
            NonZeroUsize::new(2)
        );
        for line in [
            "piccolo --threads 0",
            "piccolo --threads 1025",
            "piccolo --threads two",
        ] {
            assert_eq!(start(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn operators_have_their_commands() {
        for line in [
            "piccolo status --json --address a:1 --password x",
            "piccolo node remove left --address a:1",
            "piccolo node drain left",
            "piccolo node undrain left --json",
            "piccolo shard move 3 left right",
            "piccolo shard lead 0 right",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "piccolo node",
            "piccolo node remove",
            "piccolo shard lead left",
        ] {
            assert_eq!(start(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for line in ["piccolo stop", "piccolo --confg a", "piccolo --config"] {
            assert_eq!(start(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}

//! What operators ask of a cluster: `piccolo status`, `piccolo node` and `piccolo shard`, by way of any node.
//!
//! A node answers `PICCOLO STATUS` and its kin with JSON; with `--json` that is printed as it came. But for the
//! status, what is asked for is a wish: it is told to the cluster again and again, and each answer says how far it is,
//! until one says that it is done. So it does not matter whether the node that was asked goes away meanwhile.
//!
//! - `wish`: repeating a wish. `status`: what a status says. `table`: how it is shown. `interrupt`: Ctrl-C.

mod interrupt;
mod status;
mod table;
mod wish;

use std::io::{self, Write};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use resp::Value;

use crate::control::{self, Control, Target};

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it should.
    Well,
    /// There is a status, but the state of the cluster in it is not `ok`.
    NotOk,
}

/// Which node is asked.
#[derive(Args, Clone, Debug)]
pub struct NodeToAsk {
    /// Any node of the cluster: host and port for clients
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:6379")]
    pub address: String,
    /// The password (AUTH) [default: the environment variable PICCOLO_PASSWORD, if it is set]
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// Print what the node answers, which is JSON
    #[arg(long)]
    pub json: bool,
}

/// `piccolo status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    node: NodeToAsk,
}

/// `piccolo node`.
#[derive(Args, Clone, Debug)]
pub struct NodeArgs {
    #[command(subcommand)]
    wish: NodeWish,
}

#[derive(Clone, Debug, Subcommand)]
enum NodeWish {
    /// Take a node out of the cluster for ever: its replicas go elsewhere first
    Remove(OfNode),
    /// Have a node give away what it leads, and get nothing new, as before maintenance
    Drain(OfNode),
    /// The opposite of drain
    Undrain(OfNode),
}

#[derive(Args, Clone, Debug)]
struct OfNode {
    /// The name or the id of the node, as `piccolo status` shows them
    #[arg(value_name = "NAME|ID")]
    name: String,
    #[command(flatten)]
    node: NodeToAsk,
}

/// `piccolo shard`.
#[derive(Args, Clone, Debug)]
pub struct ShardArgs {
    #[command(subcommand)]
    wish: ShardWish,
}

#[derive(Clone, Debug, Subcommand)]
enum ShardWish {
    /// Move a replica of a shard from one node to another
    Move {
        /// The number of the shard
        shard: u32,
        /// The name or the id of the node that has the replica
        from: String,
        /// The name or the id of the node that is to have it
        to: String,
        #[command(flatten)]
        node: NodeToAsk,
    },
    /// Have a node lead a shard
    Lead {
        /// The number of the shard
        shard: u32,
        /// The name or the id of the node
        #[arg(value_name = "NAME|ID")]
        leader: String,
        #[command(flatten)]
        node: NodeToAsk,
    },
}

/// Asks for the status and prints it.
///
/// # Errors
/// The node cannot be reached, is no Piccolo, or refuses; the message says what to do.
pub fn status(args: &StatusArgs) -> Result<Ended> {
    status_to(args, &mut io::stdout().lock())
}

/// As [`status`], but prints to `out`.
///
/// # Errors
/// Those of [`status`], and those of `out`.
pub fn status_to(args: &StatusArgs, out: &mut dyn Write) -> Result<Ended> {
    let text = Asker::new(&args.node)?.ask(&["STATUS"])?;
    let status = status::Status::read(&text)?;
    if args.node.json {
        writeln!(out, "{}", text.trim_end())?;
    } else {
        table::write(out, &status)?;
    }
    Ok(match status.cluster.state.as_str() {
        "ok" => Ended::Well,
        _ => Ended::NotOk,
    })
}

/// Tells the cluster a wish about a node, until it is done.
///
/// # Errors
/// As of [`status`]; or the wish is refused.
pub fn node(args: &NodeArgs) -> Result<Ended> {
    node_to(args, &mut io::stdout().lock())
}

/// As [`node`], but prints to `out`.
///
/// # Errors
/// Those of [`node`], and those of `out`.
pub fn node_to(args: &NodeArgs, out: &mut dyn Write) -> Result<Ended> {
    let (verb, of) = match &args.wish {
        NodeWish::Remove(of) => ("REMOVE", of),
        NodeWish::Drain(of) => ("DRAIN", of),
        NodeWish::Undrain(of) => ("UNDRAIN", of),
    };
    wish::repeat(&of.node, &["NODE", verb, &of.name], out)
}

/// Tells the cluster a wish about a shard, until it is done.
///
/// # Errors
/// As of [`node`].
pub fn shard(args: &ShardArgs) -> Result<Ended> {
    shard_to(args, &mut io::stdout().lock())
}

/// As [`shard`], but prints to `out`.
///
/// # Errors
/// Those of [`shard`], and those of `out`.
pub fn shard_to(args: &ShardArgs, out: &mut dyn Write) -> Result<Ended> {
    match &args.wish {
        ShardWish::Move {
            shard,
            from,
            to,
            node,
        } => wish::repeat(node, &["SHARD", "MOVE", &shard.to_string(), from, to], out),
        ShardWish::Lead {
            shard,
            leader,
            node,
        } => wish::repeat(node, &["SHARD", "LEAD", &shard.to_string(), leader], out),
    }
}

/// Asks one node, each time on a new connection: a node that starts again is asked as well.
struct Asker {
    target: Target,
}

impl Asker {
    fn new(node: &NodeToAsk) -> Result<Asker> {
        let of_environment = || {
            std::env::var("PICCOLO_PASSWORD")
                .ok()
                .filter(|word| !word.is_empty())
        };
        let password = node.password.clone().or_else(of_environment);
        Ok(Asker {
            target: Target::new(&node.address, password.as_deref())?,
        })
    }

    /// Sends `PICCOLO` with these words, and gives the text of the answer.
    fn ask(&self, words: &[&str]) -> Result<String> {
        let mut args: Vec<&[u8]> = vec![b"PICCOLO"];
        args.extend(words.iter().map(|word| word.as_bytes()));
        let mut control = Control::connect(&self.target)?;
        match control.exchange(&args)? {
            Value::Bulk(bytes) => String::from_utf8(bytes)
                .with_context(|| format!("{} answers with what is no text", self.target)),
            Value::Verbatim { text, .. } => Ok(text),
            Value::Error(text) if text.starts_with("ERR unknown command") => bail!(
                "{} is no Piccolo, or one that is too old to be asked: {text}. Name another node with --address",
                self.target
            ),
            Value::Error(text) => Err(control::refused(
                &self.target.to_string(),
                &format!("PICCOLO {}", words.join(" ")),
                &text,
            )),
            other => bail!(
                "{} answers PICCOLO {} with {other:?}",
                self.target,
                words.join(" ")
            ),
        }
    }
}

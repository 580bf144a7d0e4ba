//! Repeating a wish until the cluster says that it is done.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Asker, Ended, NodeToAsk, interrupt};

/// Between two times that a wish is told.
const INTERVAL: Duration = Duration::from_millis(500);
/// A node that was reached once may be away for so many times in a row: it may be the one that is removed, or the
/// cluster elects a leader.
const FAILURES: u32 = 20;

/// What becomes of a wish when nobody repeats it.
fn afterwards(words: &[&str]) -> &'static str {
    match words {
        ["NODE", ..] => {
            "the cluster goes on with that by itself; `piccolo status` shows how far it is"
        }
        _ => {
            "the cluster ends the step that is under way; run the same command again to see the rest through"
        }
    }
}

/// How far a wish is.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    done: bool,
    /// For people.
    text: String,
}

impl Answer {
    /// Reads an answer: `done`, and more that depends on the wish.
    fn read(json: &str, words: &[&str]) -> Result<Answer> {
        let value: Value =
            serde_json::from_str(json).context("the node answers with what is no JSON")?;
        let done = value["done"].as_bool();
        let done = done.context("the node does not answer whether it is done")?;
        Ok(Answer {
            done,
            text: told(&value, words, done),
        })
    }
}

fn told(answer: &Value, words: &[&str], done: bool) -> String {
    let name = answer["name"].as_str().or(answer["node"].as_str());
    let name = name.unwrap_or_else(|| words.get(2).copied().unwrap_or_default());
    let left = |field: &str| {
        answer[field]
            .as_u64()
            .map_or_else(|| "?".to_owned(), |left| left.to_string())
    };
    match (words, done) {
        (["NODE", "REMOVE", ..], true) => format!("node {name} has left the cluster"),
        (["NODE", "REMOVE", ..], false) => format!(
            "node {name} is leaving: {} replicas and {} leaders to go",
            left("remaining_replicas"),
            left("remaining_leaders")
        ),
        (["NODE", "DRAIN", ..], true) => {
            format!("node {name} is drained: it leads no shard and gets nothing new")
        }
        (["NODE", "DRAIN", ..], false) => format!(
            "node {name} is draining: {} leaders to go",
            left("remaining_leaders")
        ),
        (["NODE", ..], true) => format!("node {name} may lead shards and get replicas again"),
        (["SHARD", "MOVE", shard, from, to], true) => {
            format!("the replica of shard {shard} moved from {from} to {to}")
        }
        (["SHARD", "MOVE", shard, ..], false) => {
            format!(
                "shard {shard}: {}",
                answer["step"].as_str().unwrap_or("under way")
            )
        }
        (["SHARD", "LEAD", shard, node], true) => format!("shard {shard} is led by {node}"),
        (["SHARD", "LEAD", shard, node], false) => format!(
            "shard {shard} is led by node {} yet, {node} takes over",
            answer["leader"].as_str().unwrap_or("?")
        ),
        _ => "under way".to_owned(),
    }
}

/// Tells the wish until it is done. The answers go to `out`: the last one as it is for `--json`, else those whose text
/// is new, each on a line; on a terminal what is under way is a line on standard error that is written anew.
pub(super) fn repeat(node: &NodeToAsk, words: &[&str], out: &mut dyn Write) -> Result<Ended> {
    let asker = Asker::new(node)?;

    let mut progress = Progress::new();
    let mut failures = 0;
    let mut answered = false;
    loop {
        let answer = match asker.ask(words) {
            Ok(json) => {
                (failures, answered) = (0, true);
                let answer = Answer::read(&json, words)?;
                if answer.done {
                    progress.clear();
                    let text = if node.json {
                        json.trim_end()
                    } else {
                        answer.text.as_str()
                    };
                    writeln!(out, "{text}")?;
                    return Ok(Ended::Well);
                }
                answer.text
            }
            Err(error) if failures < FAILURES && may_pass(&error, answered) => {
                failures += 1;
                format!("asking again: {error:#}")
            }
            Err(error) => {
                progress.clear();
                return Err(error);
            }
        };
        if !progress.started {
            interrupt::say(afterwards(words).to_owned())?;
        }
        progress.show(&answer);
        thread::sleep(INTERVAL);
    }
}

/// Whether to ask again after such an error. A node that has answered before may be away or have no leader for the
/// moment; one that never has is told at once, unless it asks for patience itself.
fn may_pass(error: &anyhow::Error, answered: bool) -> bool {
    let text = error.to_string();
    let word = |word: &str| text.contains(&format!(": {word} "));
    let refused = text.contains(" refuses ");
    word("TRYAGAIN") || answered && (!refused || word("CLUSTERDOWN") || word("UNCERTAIN"))
}

/// How far it is: on a terminal a line that is written anew, else a line for each news.
struct Progress {
    started: bool,
    terminal: bool,
    last: String,
}

impl Progress {
    fn new() -> Progress {
        Progress {
            started: false,
            terminal: io::stderr().is_terminal(),
            last: String::new(),
        }
    }

    fn show(&mut self, text: &str) {
        self.started = true;
        if self.last == text {
            return;
        }
        self.last = text.to_owned();
        if self.terminal {
            eprint!("\r\x1b[K{text}");
        } else {
            eprintln!("{text}");
        }
    }

    fn clear(&mut self) {
        if self.started && self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

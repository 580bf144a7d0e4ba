//! Sessions of a node with several shards, and reads that turn out to be of no use.

use std::cell::Cell;
use std::collections::BTreeSet;

use cluster::ReadGuard;

use super::Talk;
use super::data::DataNode;
use crate::session::Step;

thread_local! {
    /// So many guards are still found to be valid.
    static VALID: Cell<usize> = const { Cell::new(0) };
}

/// The first guards are valid, as many as [`VALID`] says.
fn valid_for_a_while(_: &ReadGuard<'_>) -> bool {
    VALID.with(|valid| {
        let left = valid.get();
        valid.set(left.saturating_sub(1));
        left > 0
    })
}

/// Commands of all kinds over all shards.
const LINES: &str = "MSET {x}a 1 {x}b 2\nSET a 3\nSET b 4\nSET c 5\nGET a\nGET b\nGET none\nMGET c a {x}b no b\n\
                     DEL a no b\nGET a\nGET b\nMGET a b c\nEXISTS c c {x}a no\nDBSIZE\nFOO\nINCR c\nGET c\n\
                     MGET c {x}a\nTOUCH c {x}a\nUNLINK c {x}a\nDBSIZE\nSELECT 1\nSET other 1\nDBSIZE\n\
                     FLUSHDB\nDBSIZE\nSELECT 0\nGET {x}b\nFLUSHALL\nDBSIZE\nRANDOMKEY\nGET {x}b";
const REPLIES: &str = "+OK +OK +OK +OK $1 3 $1 4 $-1 *5 $1 5 $1 3 $1 2 $-1 $1 4 :2 $-1 $-1 *3 $-1 $-1 $1 5 :3 :3 \
                       -ERR unknown command 'FOO', with args beginning with:  :6 $1 6 *2 $1 6 $1 1 :2 :2 :1 +OK \
                       +OK :1 +OK :0 +OK $1 2 +OK :0 $-1 $-1 ";

fn in_words(replies: &str) -> String {
    replies.replace("\r\n", " ")
}

#[test]
fn replies_come_in_the_order_of_the_commands() {
    for shards in [1, 2, 16] {
        let node = DataNode::of_shards(shards);
        let mut talk = node.node.connect();
        let replies = node.say(&mut talk, LINES);
        assert_eq!(in_words(&replies), REPLIES, "{shards} shards");
        // One after another as well.
        let replies: String = LINES
            .lines()
            .map(|line| node.say(&mut talk, line))
            .collect();
        assert_eq!(in_words(&replies), REPLIES, "{shards} shards");
    }
}

#[test]
fn what_was_read_in_vain_is_read_anew() {
    for shards in [1, 2, 16] {
        let node = DataNode::of_shards(shards);
        for valid in 0..12 {
            for lines in [LINES.to_owned(), format!("GET none\n{LINES}")] {
                let mut talk = node.node.connect();
                VALID.set(valid);
                let replies = node.say_if(&mut talk, &lines, valid_for_a_while);
                let none = if lines == LINES { "" } else { "$-1 " };
                let expected = format!("{none}{REPLIES}");
                assert_eq!(
                    in_words(&replies),
                    expected,
                    "{shards} shards, {valid} valid"
                );
            }
        }
    }
}

#[test]
fn silence_holds_for_what_is_read_anew() {
    let node = DataNode::of_shards(4);
    let mut talk = node.node.connect();
    node.say(&mut talk, "SET a 1");
    for valid in 0..4 {
        VALID.set(valid);
        let lines = "GET a\nCLIENT REPLY SKIP\nGET a\nGET b\nFOO\nGET a";
        let replies = node.say_if(&mut talk, lines, valid_for_a_while);
        let expected = "$1 1 $-1 -ERR unknown command 'FOO', with args beginning with:  $1 1 ";
        assert_eq!(in_words(&replies), expected, "{valid} valid");
    }
}

#[test]
fn a_command_of_which_a_part_has_arrived_is_taken_after_what_is_read_anew() {
    let node = DataNode::of_shards(4);
    let mut talk = node.node.connect();
    let input = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$4\r\nECHO\r\n$3\r\nxyz\r\n";
    for arrived in 21..input.len() {
        let (mut consumed, mut output) = (0, Vec::new());
        let part = &input[..arrived];
        let step =
            talk.session
                .take_commands_if(part, &mut consumed, &mut output, &talk.core, |_| false);
        assert!(matches!(step, Step::Submit(_)) && output.is_empty());
        assert_eq!(consumed, 20, "{arrived} bytes arrived");
        let Step::Submit(batch) = step else { panic!() };
        node.submit(&mut talk, batch, &mut output);
        let rest = &input[consumed..];
        let step = talk
            .session
            .take_commands(rest, &mut consumed, &mut output, &talk.core);
        assert!(matches!(step, Step::NeedsInput));
        assert_eq!(output, b"$-1\r\n$3\r\nxyz\r\n");
    }
}

#[test]
fn who_takes_what_is_old_is_served_here() {
    let node = DataNode::of_shards(4);
    let mut talk = node.node.connect();
    node.say(&mut talk, "SET a 1\nREADONLY");
    let (mut consumed, mut output) = (0, Vec::new());
    let input = b"GET a\r\nGET b\r\nMGET a b\r\nSCAN 0 TYPE none\r\nGET a\r\n";
    let step = talk
        .session
        .take_commands_if(input, &mut consumed, &mut output, &talk.core, |_| false);
    assert!(matches!(step, Step::NeedsInput));
    assert_eq!(consumed, input.len());
    assert!(output.starts_with(b"$1\r\n1\r\n$-1\r\n*2\r\n$1\r\n1\r\n$-1\r\n*2\r\n"));
}

#[test]
fn the_end_of_a_connection_is_not_before_its_replies() {
    let node = DataNode::of_shards(4);
    for (line, reply) in [("QUIT", "$-1 +OK "), ("POST / HTTP/1.1", "$-1 ")] {
        let mut talk = node.node.connect();
        VALID.set(0);
        let replies = node.say_if(&mut talk, &format!("GET a\n{line}"), valid_for_a_while);
        assert!(in_words(&replies).starts_with(reply), "{replies}");
        assert!(talk.closed.is_some(), "{line}");
    }
}

#[test]
fn keys_in_several_shards_are_refused_where_all_or_none_is_asked_for() {
    let node = DataNode::of_shards(16);
    let mut talk = node.node.connect();
    let replies = node.say(
        &mut talk,
        "SET x 1\nMSET a 1 b 2\nGET a\nGET x\nRENAME a b\nGET x",
    );
    let lines: Vec<&str> = replies.split("\r\n").collect();
    assert_eq!(lines.len(), 9, "{replies}");
    for refused in [1, 5] {
        assert!(lines[refused].starts_with("-CROSSSLOT Keys in request don't hash"));
    }
    assert_eq!((lines[2], lines[4], lines[7]), ("$-1", "1", "1"));
}

fn words(node: &DataNode, talk: &mut Talk, line: &str) -> Vec<String> {
    let replies = node.say(talk, line);
    let values = replies
        .split("\r\n")
        .filter(|line| !line.is_empty() && !line.starts_with(['*', '$']));
    values.map(str::to_owned).collect()
}

#[test]
fn all_shards_are_walked() {
    let node = DataNode::of_shards(16);
    let mut talk = node.node.connect();
    let sets: Vec<String> = (0..300).map(|key| format!("SET key:{key} v")).collect();
    node.say(&mut talk, &sets.join("\n"));
    let keys: BTreeSet<String> = words(&node, &mut talk, "KEYS *").into_iter().collect();
    assert_eq!(keys.len(), 300);
    for gathered in [false, true] {
        let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
        loop {
            // After a write, all that follows is gathered.
            let before = if gathered { "SET key:0 v\n" } else { "" };
            let scan = format!("{before}SCAN {cursor} COUNT 20");
            let mut parts = words(&node, &mut talk, &scan).into_iter();
            if gathered {
                assert_eq!(parts.next().as_deref(), Some("+OK"));
            }
            cursor = parts.next().unwrap();
            found.extend(parts);
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(found.len(), 300);
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), keys);
    }
    let random = words(&node, &mut talk, "RANDOMKEY").remove(0);
    assert!(keys.contains(&random), "{random}");
}

#[test]
fn a_large_batch_is_spread_over_the_shards() {
    let node = DataNode::of_shards(16);
    let mut talk = node.node.connect();
    let value = "v".repeat(2000);
    let lines: Vec<String> = (0..2000)
        .map(|key| format!("SET key:{key} {value}\nGET key:{}", key / 2))
        .collect();
    let replies = node.say(&mut talk, &lines.join("\n"));
    let one = format!("+OK\r\n$2000\r\n{value}\r\n");
    assert!(replies == one.repeat(2000));
}

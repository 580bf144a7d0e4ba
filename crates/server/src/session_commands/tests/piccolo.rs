use super::check;
use super::data::DataNode;

#[test]
fn malformed_wishes_are_refused_here() {
    let long = format!("PICCOLO NODE DRAIN {}", "x".repeat(1025));
    for (line, reply) in [
        ("PICCOLO NODE STOP a", "-ERR syntax error\r\n"),
        ("PICCOLO SHARD MOVE 1 a", "-ERR syntax error\r\n"),
        ("PICCOLO SHARD LEAD 1 a b", "-ERR syntax error\r\n"),
        (
            "PICCOLO SHARD LEAD -1 a",
            "-ERR a shard is told by its number, from 0 on\r\n",
        ),
        (
            "PICCOLO NODE DRAIN \"\"",
            "-ERR a node is told by its name or its id\r\n",
        ),
        (&long, "-ERR a node is told by its name or its id\r\n"),
        (
            "PICCOLO NODE DRAIN",
            "-ERR wrong number of arguments for 'piccolo|node' command\r\n",
        ),
        (
            "PICCOLO HURRY",
            "-ERR unknown subcommand 'HURRY'. Try PICCOLO HELP.\r\n",
        ),
    ] {
        check(&[(line, reply)]);
    }
}

#[test]
fn wishes_reach_the_owner_in_their_place() {
    let node = DataNode::new();
    let mut talk = node.node.connect();
    for (line, request) in [
        ("piccolo status", "Status"),
        ("PICCOLO NODE REMOVE a", "NodeRemove(\"a\")"),
        ("PICCOLO NODE drain a", "NodeDrain(\"a\")"),
        ("PICCOLO NODE UNDRAIN a", "NodeUndrain(\"a\")"),
        (
            "PICCOLO SHARD MOVE 7 a b",
            "ShardMove { shard: 7, from: \"a\", to: \"b\" }",
        ),
        (
            "PICCOLO SHARD LEAD 7 a",
            "ShardLead { shard: 7, node: \"a\" }",
        ),
    ] {
        let replies = node.say(&mut talk, &format!("INCR a\n{line}\nINCR a"));
        let (_, replies) = replies.split_once("\r\n").unwrap();
        let (asked, after) = replies.split_once("\r\n").unwrap();
        assert_eq!(asked, format!("-ERR asked: {request}"));
        assert!(after.starts_with(':'), "{after}");
    }
    let silent = "CLIENT REPLY SKIP\nPICCOLO STATUS\nPING";
    assert_eq!(node.say(&mut talk, silent), "+PONG\r\n");
}

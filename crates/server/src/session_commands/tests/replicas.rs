use super::check;
use super::data::DataNode;

#[test]
fn wait_tells_what_a_majority_holds() {
    check(&[
        ("WAIT 2 100", ":1\r\n"),
        ("WAIT 0 0", ":1\r\n"),
        (
            "WAIT x 0",
            "-ERR value is not an integer or out of range\r\n",
        ),
        ("WAIT 1 -1", "-ERR timeout is negative\r\n"),
    ]);
    let node = DataNode::new();
    let mut talk = node.node.connect();
    assert_eq!(node.say(&mut talk, "SET a 1\nWAIT 1 0"), "+OK\r\n:1\r\n");
}

#[test]
fn a_connection_may_take_what_is_old() {
    let node = DataNode::of_shards(3);
    let mut talk = node.node.connect();
    let lines = "READONLY\nSET a 1\nGET a\nGET b\nMGET a b\nREADWRITE\nGET a";
    let replies = "+OK\r\n+OK\r\n$1\r\n1\r\n$-1\r\n*2\r\n$1\r\n1\r\n$-1\r\n+OK\r\n$1\r\n1\r\n";
    assert_eq!(node.say(&mut talk, lines), replies);
    node.say(&mut talk, "READONLY");
    assert!(talk.session.stale);
    node.say(&mut talk, "RESET");
    assert!(!talk.session.stale);
}

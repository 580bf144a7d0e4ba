use super::{Node, check};

#[test]
fn replies_are_those_of_redis() {
    check(&[
        ("PING", "+PONG\r\n"),
        ("ping a", "$1\r\na\r\n"),
        (
            "PING a b",
            "-ERR wrong number of arguments for 'ping' command\r\n",
        ),
        ("ECHO hi", "$2\r\nhi\r\n"),
        (
            "ECHO",
            "-ERR wrong number of arguments for 'echo' command\r\n",
        ),
        ("SELECT 15", "+OK\r\n"),
        (
            "SELECT x",
            "-ERR value is not an integer or out of range\r\n",
        ),
        ("SELECT 16", "-ERR DB index is out of range\r\n"),
        ("SELECT -1", "-ERR DB index is out of range\r\n"),
        (
            "SELECT 99999999999",
            "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n",
        ),
        ("RESET", "+RESET\r\n"),
        (
            "FOO a",
            "-ERR unknown command 'FOO', with args beginning with: 'a' \r\n",
        ),
        ("GET a", "-CLUSTERDOWN no founder was met\r\n"),
    ]);
}

#[test]
fn quit_ends_the_connection_after_its_reply() {
    let mut talk = Node::new(None).connect();
    assert_eq!(talk.say("QUIT now\nPING"), "+OK\r\n");
    assert_eq!(talk.closed, Some("the client quit"));
}

#[test]
fn reset_makes_a_connection_like_new() {
    let mut talk = Node::new(None).connect();
    talk.say("HELLO 3 SETNAME me\nSELECT 3\nCLIENT NO-EVICT on\nCLIENT REPLY OFF");
    assert_eq!(talk.say("CLIENT REPLY ON\nRESET"), "+OK\r\n+RESET\r\n");
    assert_eq!(talk.say("CLIENT GETNAME"), "$-1\r\n");
    let line = talk.say("CLIENT INFO");
    for part in [" name= ", " db=0 ", " flags=N ", " resp=2 "] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn http_gets_no_answer() {
    for line in ["POST / HTTP/1.1\nPING", "Host: localhost\nPING"] {
        let mut talk = Node::new(Some("secret")).connect();
        assert_eq!(talk.say(line), "");
        assert_eq!(talk.closed, Some("it sent an HTTP request"));
    }
}

#[test]
fn the_time_is_in_seconds_and_microseconds() {
    let reply = super::say("TIME");
    let parts: Vec<&str> = reply.split("\r\n").collect();
    assert_eq!(parts[0], "*2");
    assert!(parts[2].parse::<u64>().unwrap() > 1_600_000_000);
    assert!(parts[4].parse::<u64>().unwrap() < 1_000_000);
}

use super::{Node, check, say};

#[test]
fn a_client_can_be_named() {
    let refused = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";
    check(&[
        ("CLIENT ID", ":1\r\n"),
        ("CLIENT GETNAME", "$-1\r\n"),
        ("CLIENT SETNAME me\nCLIENT GETNAME", "+OK\r\n$2\r\nme\r\n"),
        ("CLIENT SETNAME \"a b\"", refused),
        ("CLIENT SETNAME \"a\\nb\"", refused),
        ("CLIENT SETNAME \"\\x7f\"", refused),
        (
            "CLIENT SETINFO lib-foo x",
            "-ERR Unrecognized option 'lib-foo'\r\n",
        ),
        (
            "CLIENT SETINFO lib-name \"a b\"",
            "-ERR lib-name cannot contain spaces, newlines or special characters.\r\n",
        ),
        ("CLIENT NO-EVICT maybe", "-ERR syntax error\r\n"),
        ("CLIENT NO-TOUCH on", "+OK\r\n"),
        (
            "CLIENT",
            "-ERR wrong number of arguments for 'client' command\r\n",
        ),
        (
            "CLIENT ID 1",
            "-ERR wrong number of arguments for 'client|id' command\r\n",
        ),
    ]);
}

#[test]
fn what_a_client_says_about_itself_is_short() {
    let (fits, too_long) = ("n".repeat(1024), "n".repeat(1025));
    let refused = "-ERR Client names have at most 1024 bytes.\r\n";
    check(&[
        (&format!("CLIENT SETNAME {fits}"), "+OK\r\n"),
        (&format!("CLIENT SETNAME {too_long}"), refused),
        (&format!("HELLO 2 SETNAME {too_long}"), refused),
        (&format!("CLIENT SETINFO lib-ver {fits}"), "+OK\r\n"),
        (
            &format!("CLIENT SETINFO lib-ver {too_long}"),
            "-ERR lib-ver has at most 1024 bytes.\r\n",
        ),
    ]);
}

#[test]
fn the_line_of_a_client_is_that_of_redis() {
    let mut talk = Node::new(None).connect();
    talk.say(
        "HELLO 3 SETNAME me\nSELECT 2\nCLIENT SETINFO LIB-NAME jedis\nCLIENT SETINFO LIB-VER 5.1\n\
         CLIENT NO-TOUCH on",
    );
    let line = "id=1 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=9 name=me age=0 idle=0 flags=T \
                db=2 sub=0 psub=0 ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 \
                rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=client|info user=default redir=-1 \
                resp=3 lib-name=jedis lib-ver=5.1\n";
    let verbatim = |line: &str| format!("={}\r\ntxt:{line}\r\n", line.len() + 4);
    assert_eq!(talk.say("CLIENT INFO"), verbatim(line));
    let line = line.replace("client|info", "client|list");
    assert_eq!(talk.say("CLIENT LIST"), verbatim(&line));
}

#[test]
fn lists_are_filtered() {
    let node = Node::new(None);
    let mut talk = node.connect();
    let _others = [node.connect(), node.connect()];
    let ids = |reply: String| -> Vec<String> {
        let words = reply.split([' ', '\n']);
        words
            .filter_map(|word| word.strip_prefix("id=").map(Into::into))
            .collect()
    };
    assert_eq!(ids(talk.say("CLIENT LIST")), ["1", "2", "3"]);
    assert_eq!(ids(talk.say("CLIENT LIST ID 3 1 9 -4")), ["1", "3"]);
    assert_eq!(ids(talk.say("CLIENT LIST TYPE normal")), ["1", "2", "3"]);
    for (line, reply) in [
        ("CLIENT LIST TYPE pubsub", "$0\r\n\r\n"),
        ("CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'\r\n"),
        ("CLIENT LIST TYPE", "-ERR syntax error\r\n"),
        ("CLIENT LIST TYPE normal ID 1", "-ERR syntax error\r\n"),
        ("CLIENT LIST ID", "-ERR syntax error\r\n"),
        ("CLIENT LIST ID 1 x", "-ERR Invalid client ID\r\n"),
    ] {
        assert_eq!(talk.say(line), reply, "{line}");
    }
}

#[test]
fn clients_are_killed() {
    let node = Node::new(None);
    let mut talk = node.connect();
    let others = [node.connect(), node.connect()];
    for (line, reply) in [
        ("CLIENT KILL 1.2.3.4:5", "-ERR No such client\r\n"),
        ("CLIENT KILL ID", "-ERR No such client\r\n"),
        (
            "CLIENT KILL ID x",
            "-ERR client-id should be greater than 0\r\n",
        ),
        (
            "CLIENT KILL ID 0",
            "-ERR client-id should be greater than 0\r\n",
        ),
        ("CLIENT KILL TYPE foo", "-ERR Unknown client type 'foo'\r\n"),
        ("CLIENT KILL USER foo", "-ERR No such user 'foo'\r\n"),
        ("CLIENT KILL ID 1 SKIPME maybe", "-ERR syntax error\r\n"),
        ("CLIENT KILL ID 1 TYPE", "-ERR syntax error\r\n"),
        ("CLIENT KILL ID 9 ADDR 1.2.3.4:5", ":0\r\n"),
        ("CLIENT KILL MAXAGE 1000 USER default", ":0\r\n"),
        (
            "CLIENT KILL MAXAGE 0 ID 1",
            "-ERR maxage should be greater than 0\r\n",
        ),
        ("CLIENT KILL TYPE pubsub SKIPME no", ":0\r\n"),
        ("CLIENT KILL ID 1 USER default", ":0\r\n"),
        ("CLIENT KILL ID 2 FOO", "-ERR syntax error\r\n"),
        ("CLIENT KILL ID 2 SKIPME yes", ":1\r\n"),
    ] {
        assert_eq!(talk.say(line), reply, "{line}");
    }
    assert_eq!(node.server.connected(), 2, "at once");
    assert_eq!(others[0].client.id(), 2);
    assert_eq!(talk.say("CLIENT KILL LADDR 127.0.0.1:6379"), ":1\r\n");
    assert_eq!(talk.closed, None);
    assert_eq!(
        talk.say("CLIENT KILL 127.0.0.1:50000\nPING"),
        "+OK\r\n",
        "its own connection, after the reply"
    );
    assert!(talk.closed.is_some());
}

#[test]
fn replies_can_be_turned_off() {
    check(&[
        ("CLIENT REPLY ON", "+OK\r\n"),
        ("CLIENT REPLY maybe", "-ERR syntax error\r\n"),
        (
            "CLIENT REPLY OFF\nPING\nGET\nFOO\nCLIENT REPLY ON\nPING",
            "+OK\r\n+PONG\r\n",
        ),
        ("CLIENT REPLY OFF\nQUIT", ""),
        ("CLIENT REPLY OFF\nRESET\nPING", "+RESET\r\n+PONG\r\n"),
        ("CLIENT REPLY SKIP\nRESET\nPING", "+PONG\r\n"),
        (
            "CLIENT SETNAME me\nCLIENT SETNAME \"\"\nCLIENT GETNAME",
            "+OK\r\n+OK\r\n$-1\r\n",
        ),
        ("CLIENT REPLY SKIP\nPING\nPING a", "$1\r\na\r\n"),
        ("CLIENT REPLY SKIP\n\nPING\nPING a", "$1\r\na\r\n"),
        (
            "CLIENT REPLY SKIP\nCLIENT REPLY SKIP\nPING\nPING a",
            "$1\r\na\r\n",
        ),
        (
            "CLIENT REPLY SKIP\nCLIENT REPLY ON\nPING",
            "+OK\r\n+PONG\r\n",
        ),
        (
            "CLIENT REPLY OFF\nCLIENT REPLY SKIP\nPING\nPING\nCLIENT REPLY ON",
            "+OK\r\n",
        ),
    ]);
}

#[test]
fn help_tells_every_subcommand() {
    let reply = say("CLIENT HELP");
    assert!(reply.starts_with(
        "*23\r\n+CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n+GETNAME\r\n"
    ));
    assert!(reply.contains("\r\n+SETNAME name\r\n+    Names this connection.\r\n"));
    assert!(say("config help").starts_with("*11\r\n+CONFIG <subcommand>"));
    assert!(say("COMMAND HELP").starts_with("*15\r\n+COMMAND <subcommand>"));
}

use super::{Node, Talk, check};

const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
const NOAUTH: &str = "-NOAUTH Authentication required.\r\n";

fn guarded() -> Talk {
    Node::new(Some("secret")).connect()
}

#[test]
fn hello_answers_in_the_protocol_it_chooses() {
    let fields = "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.5\r\n$5\r\nproto\r\n:P\r\n\
                  $2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
                  $7\r\nmodules\r\n*0\r\n";
    let resp2 = format!("*14\r\n{}", fields.replace('P', "2"));
    let resp3 = format!("%7\r\n{}", fields.replace('P', "3"));
    check(&[
        ("HELLO", &resp2),
        ("HELLO 2", &resp2),
        ("HELLO 3", &resp3),
        ("HELLO 3\nHELLO", &format!("{resp3}{resp3}")),
        ("HELLO 3 AUTH default any SETNAME me", &resp3),
    ]);
}

#[test]
fn hello_refuses_as_redis_does() {
    let mut talk = Node::new(None).connect();
    for (line, reply) in [
        ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
        (
            "HELLO x",
            "-ERR Protocol version is not an integer or out of range\r\n",
        ),
        ("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'\r\n"),
        (
            "HELLO 3 AUTH default",
            "-ERR Syntax error in HELLO option 'AUTH'\r\n",
        ),
        (
            "HELLO 3 SETNAME \"a b\"",
            "-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
        ),
        ("HELLO 3 AUTH other secret", WRONGPASS),
        ("CLIENT GETNAME", "$-1\r\n"),
    ] {
        assert_eq!(talk.say(line), reply, "{line}");
    }
}

#[test]
fn without_a_password_only_the_default_user_is_right() {
    check(&[
        ("AUTH default any", "+OK\r\n"),
        ("AUTH other any", WRONGPASS),
        ("AUTH a b c", "-ERR syntax error\r\n"),
        (
            "AUTH any",
            "-ERR AUTH <password> called without any password configured for the default user. Are \
             you sure your configuration is correct?\r\n",
        ),
        ("ACL WHOAMI", "$7\r\ndefault\r\n"),
    ]);
}

#[test]
fn nothing_but_the_handshake_runs_before_the_password() {
    for (line, reply) in [
        ("PING", NOAUTH),
        ("GET a", NOAUTH),
        ("CLIENT ID", NOAUTH),
        // As in Redis, what is malformed is told so first.
        (
            "GET",
            "-ERR wrong number of arguments for 'get' command\r\n",
        ),
        (
            "CLIENT FOO",
            "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.\r\n",
        ),
        (
            "FOO",
            "-ERR unknown command 'FOO', with args beginning with: \r\n",
        ),
        (
            "HELLO 3",
            "-NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO AUTH <user> <pass> option can be used to authenticate the client and select the \
             RESP protocol version at the same time\r\n",
        ),
        ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
        ("HELLO 3 AUTH default wrong", WRONGPASS),
        ("AUTH wrong", WRONGPASS),
        ("AUTH secre", WRONGPASS),
        ("AUTH secrets", WRONGPASS),
        ("AUTH \"\"", WRONGPASS),
        ("AUTH other secret", WRONGPASS),
        ("QUIT", "+OK\r\n"),
        ("RESET", "+RESET\r\n"),
    ] {
        assert_eq!(guarded().say(line), reply, "{line}");
    }
}

#[test]
fn the_password_opens() {
    for line in ["AUTH secret", "AUTH default secret"] {
        assert_eq!(guarded().say(&format!("{line}\nPING")), "+OK\r\n+PONG\r\n");
    }
    let mut talk = guarded();
    assert!(
        talk.say("HELLO 3 AUTH default secret")
            .starts_with("%7\r\n")
    );
    assert_eq!(
        talk.say("AUTH wrong\nPING"),
        format!("{WRONGPASS}+PONG\r\n"),
        "a wrong one later takes nothing away"
    );
    assert_eq!(talk.say("RESET\nPING"), format!("+RESET\r\n{NOAUTH}"));
}

#[test]
fn the_limits_of_strangers_end_with_the_password() {
    let mut talk = guarded();
    assert!(talk.say("AUTH secret").starts_with("+OK"));
    let large = "x".repeat(20_000);
    let reply = talk.send(format!("*2\r\n$4\r\nECHO\r\n$20000\r\n{large}\r\n").as_bytes());
    assert_eq!(reply, format!("$20000\r\n{large}\r\n"));
    let mut stranger = guarded();
    assert_eq!(
        stranger.send(b"*2\r\n$4\r\nAUTH\r\n$20000\r\n"),
        "-ERR Protocol error: unauthenticated bulk length\r\n"
    );
    assert!(stranger.closed.is_some());
}

#[test]
fn a_password_can_be_set_and_taken_away_while_clients_are_connected() {
    let node = Node::new(None);
    let mut first = node.connect();
    assert_eq!(
        first.say("CONFIG SET requirepass new\nPING"),
        "+OK\r\n+PONG\r\n"
    );
    let mut second = node.connect();
    assert_eq!(second.say("PING"), NOAUTH);
    assert_eq!(first.say("CONFIG SET requirepass \"\""), "+OK\r\n");
    assert_eq!(second.say("PING"), "+PONG\r\n");
}

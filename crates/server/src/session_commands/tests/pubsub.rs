use super::{Node, check};

/// What waits for a client, which is taken.
fn waiting(talk: &super::Talk) -> String {
    let mut out = Vec::new();
    talk.client.take_pushes(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_message_reaches_all_who_listen() {
    let node = Node::new(None);
    let (mut one, mut two, mut three) = (node.connect(), node.connect(), node.connect());
    assert_eq!(
        one.say("SUBSCRIBE a b"),
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
    );
    assert_eq!(
        one.say("PSUBSCRIBE a*"),
        "*3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:3\r\n"
    );
    two.say("HELLO 3");
    assert_eq!(
        two.say("SUBSCRIBE a"),
        ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
    );
    assert_eq!(
        three.say("PUBLISH a hi\nPUBLISH c hi\nSPUBLISH a hi\nPING"),
        ":3\r\n:0\r\n:0\r\n+PONG\r\n"
    );
    assert_eq!(
        waiting(&one),
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n\
         *4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$1\r\na\r\n$2\r\nhi\r\n"
    );
    assert_eq!(
        waiting(&two),
        ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"
    );
    assert_eq!(waiting(&three), "");
    two.say("SSUBSCRIBE a");
    assert_eq!(three.say("SPUBLISH a hi"), ":1\r\n");
    assert_eq!(
        waiting(&two),
        ">3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"
    );
}

#[test]
fn what_ends_is_confirmed_after_its_messages() {
    let node = Node::new(None);
    let (mut one, mut other) = (node.connect(), node.connect());
    one.say("SUBSCRIBE a b");
    other.say("PUBLISH b last");
    assert_eq!(
        one.say("UNSUBSCRIBE b none"),
        "*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$4\r\nlast\r\n\
         *3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$4\r\nnone\r\n:1\r\n"
    );
    assert_eq!(other.say("PUBLISH b more\nPUBLISH a more"), ":0\r\n:1\r\n");
    assert_eq!(
        one.say("UNSUBSCRIBE\nUNSUBSCRIBE\nPUNSUBSCRIBE"),
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$4\r\nmore\r\n\
         *3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n\
         *3\r\n$12\r\npunsubscribe\r\n$-1\r\n:0\r\n"
    );
}

#[test]
fn who_listens_in_resp2_does_nothing_else() {
    let node = Node::new(None);
    let mut one = node.connect();
    one.say("SUBSCRIBE a");
    assert_eq!(
        one.say("GET a"),
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
         allowed in this context\r\n"
    );
    assert_eq!(
        one.say("PUBLISH a b").split_once(':').unwrap().0,
        "-ERR Can't execute 'publish'"
    );
    assert_eq!(one.say("PING"), "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    assert_eq!(one.say("PING hi"), "*2\r\n$4\r\npong\r\n$2\r\nhi\r\n");
    assert_eq!(
        one.say("RESET\nPING\nECHO hi"),
        "+RESET\r\n+PONG\r\n$2\r\nhi\r\n"
    );
    one.say("HELLO 3");
    one.say("SUBSCRIBE a");
    assert_eq!(one.say("ECHO hi\nPUBLISH a x"), "$2\r\nhi\r\n:1\r\n");
}

#[test]
fn what_is_listened_to_is_told() {
    let node = Node::new(None);
    let (mut one, mut two, mut other) = (node.connect(), node.connect(), node.connect());
    one.say("SUBSCRIBE ab b\nPSUBSCRIBE x* y*");
    two.say("SUBSCRIBE b\nPSUBSCRIBE x*\nSSUBSCRIBE s");
    assert_eq!(
        other.say("PUBSUB CHANNELS"),
        "*2\r\n$2\r\nab\r\n$1\r\nb\r\n"
    );
    assert_eq!(other.say("PUBSUB CHANNELS a*"), "*1\r\n$2\r\nab\r\n");
    assert_eq!(
        other.say("PUBSUB NUMSUB b none"),
        "*4\r\n$1\r\nb\r\n:2\r\n$4\r\nnone\r\n:0\r\n"
    );
    assert_eq!(other.say("PUBSUB NUMPAT"), ":2\r\n");
    assert_eq!(other.say("PUBSUB SHARDCHANNELS"), "*1\r\n$1\r\ns\r\n");
    assert_eq!(other.say("PUBSUB SHARDNUMSUB s"), "*2\r\n$1\r\ns\r\n:1\r\n");
    let list = other.say("CLIENT LIST TYPE pubsub");
    assert!(list.contains("flags=P db=0 sub=2 psub=2 ssub=0"), "{list}");
    assert!(list.contains("flags=P db=0 sub=1 psub=1 ssub=1"), "{list}");
    drop((one, two));
    assert_eq!(other.say("PUBSUB CHANNELS\nPUBSUB NUMPAT"), "*0\r\n:0\r\n");
}

#[test]
fn a_subscriber_that_is_too_slow_is_hung_up_on() {
    let node = Node::new(None);
    let (mut one, mut other) = (node.connect(), node.connect());
    one.say("SUBSCRIBE a");
    let message = format!("PUBLISH a {}", "x".repeat(1000));
    for _ in 0..100 {
        assert_eq!(other.say(&message), ":1\r\n");
    }
    assert!(waiting(&one).len() <= 1 << 16);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let killed = std::pin::pin!(one.client.killed());
    assert!(killed.poll(&mut context).is_ready());
}

#[test]
fn calls_that_are_wrong_are_refused() {
    check(&[
        (
            "SUBSCRIBE",
            "-ERR wrong number of arguments for 'subscribe' command\r\n",
        ),
        (
            "PUBLISH a",
            "-ERR wrong number of arguments for 'publish' command\r\n",
        ),
        (
            "PUBSUB CHANNELS a b",
            "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.\r\n",
        ),
        (
            "PUBSUB NUMPAT a",
            "-ERR wrong number of arguments for 'pubsub|numpat' command\r\n",
        ),
        ("CLIENT REPLY SKIP\nPUBLISH a b\nPUBLISH a b", ":0\r\n"),
    ]);
}

#[test]
fn a_transaction_may_publish_and_does_not_listen() {
    let node = Node::new(None);
    let (mut one, mut other) = (node.connect(), node.connect());
    one.say("SUBSCRIBE a");
    assert_eq!(
        other.say("MULTI\nPING\nPUBLISH a x\nPUBLISH b x\nPUBLISH a y\nEXEC"),
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n+PONG\r\n:1\r\n:0\r\n:1\r\n"
    );
    assert_eq!(waiting(&one).matches("message").count(), 2);
    assert_eq!(
        other.say("PUBLISH a x\nMULTI\nSUBSCRIBE a\nEXEC"),
        ":1\r\n+OK\r\n-ERR Command not allowed inside a transaction\r\n\
         -EXECABORT Transaction discarded because of previous errors.\r\n"
    );
}

use super::{Node, check, say};

#[test]
fn records_are_told_in_the_form_of_redis() {
    check(&[
        (
            "COMMAND INFO ping foo",
            "*2\r\n*10\r\n$4\r\nping\r\n:-1\r\n*1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n*2\r\n+@fast\r\n\
             +@connection\r\n*2\r\n$25\r\nrequest_policy:all_shards\r\n\
             $29\r\nresponse_policy:all_succeeded\r\n*0\r\n*0\r\n$-1\r\n",
        ),
        (
            "COMMAND INFO get",
            "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n\
             +@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n\
             $12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n\
             $5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n\
             *6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n",
        ),
        (
            "COMMAND INFO client|ID",
            "*1\r\n*10\r\n$9\r\nclient|id\r\n:2\r\n*3\r\n+noscript\r\n+loading\r\n+stale\r\n:0\r\n\
             :0\r\n:0\r\n*2\r\n+@slow\r\n+@connection\r\n*0\r\n*0\r\n*0\r\n",
        ),
        ("COMMAND INFO foo|bar", "*1\r\n$-1\r\n"),
    ]);
    let resp3 = say("HELLO 3\nCOMMAND INFO get");
    assert!(
        resp3.contains("~2\r\n+readonly") && resp3.contains("~1\r\n%3\r\n$5\r\nflags\r\n~2\r\n")
    );
}

#[test]
fn all_are_told_when_none_is_named() {
    let mut talk = Node::new(None).connect();
    let count = talk.say("COMMAND COUNT");
    let count = count.trim_start_matches(':').trim_end();
    assert!(
        talk.say("COMMAND")
            .starts_with(&format!("*{count}\r\n*10\r\n"))
    );
    assert_eq!(talk.say("COMMAND"), talk.say("COMMAND INFO"));
    assert!(
        talk.say("COMMAND LIST")
            .starts_with(&format!("*{count}\r\n$"))
    );
    talk.say("HELLO 3");
    assert!(
        talk.say("COMMAND LIST")
            .starts_with(&format!("*{count}\r\n$"))
    );
    assert!(
        talk.say("COMMAND DOCS")
            .starts_with(&format!("%{count}\r\n$"))
    );
}

#[test]
fn documentation_is_a_map_of_maps() {
    check(&[
        ("COMMAND DOCS foo", "*0\r\n"),
        (
            "COMMAND DOCS ECHO foo",
            "*2\r\n$4\r\necho\r\n*10\r\n$7\r\nsummary\r\n$26\r\nAnswers what it was given.\r\n\
             $5\r\nsince\r\n$5\r\n1.0.0\r\n$5\r\ngroup\r\n$10\r\nconnection\r\n\
             $10\r\ncomplexity\r\n$4\r\nO(1)\r\n$9\r\narguments\r\n*1\r\n*4\r\n\
             $4\r\nname\r\n$7\r\nmessage\r\n$4\r\ntype\r\n$6\r\nstring\r\n",
        ),
    ]);
    let docs = say("HELLO 3\nCOMMAND DOCS acl getset");
    assert!(docs.contains("$11\r\nsubcommands\r\n%1\r\n$10\r\nacl|whoami\r\n%4\r\n"));
    assert!(docs.contains("$9\r\ndoc_flags\r\n~1\r\n+deprecated\r\n$16\r\ndeprecated_since\r\n"));
}

#[test]
fn names_are_filtered() {
    check(&[
        ("COMMAND LIST FILTERBY MODULE json", "*0\r\n"),
        ("COMMAND LIST FILTERBY ACLCAT foo", "*0\r\n"),
        (
            "COMMAND LIST FILTERBY PATTERN ACL*",
            "*2\r\n$3\r\nacl\r\n$10\r\nacl|whoami\r\n",
        ),
        ("COMMAND LIST FILTERBY", "-ERR syntax error\r\n"),
        ("COMMAND LIST FILTERBY FOO x", "-ERR syntax error\r\n"),
    ]);
    let connection = say("COMMAND LIST FILTERBY ACLCAT Connection");
    assert!(connection.contains("$9\r\nclient|id\r\n") && !connection.contains("$3\r\nget\r\n"));
}

#[test]
fn the_keys_of_calls_are_told() {
    check(&[
        ("COMMAND GETKEYS get a", "*1\r\n$1\r\na\r\n"),
        (
            "COMMAND GETKEYS mset a 1 b 2",
            "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        ),
        ("COMMAND GETKEYS object encoding x", "*1\r\n$1\r\nx\r\n"),
        (
            "COMMAND GETKEYS foo a",
            "-ERR Invalid command specified\r\n",
        ),
        (
            "COMMAND GETKEYS object foo x",
            "-ERR Invalid command specified\r\n",
        ),
        (
            "COMMAND GETKEYS client|id a",
            "-ERR Invalid command specified\r\n",
        ),
        (
            "COMMAND GETKEYS client id",
            "-ERR The command has no key arguments\r\n",
        ),
        (
            "COMMAND GETKEYS get a b",
            "-ERR Invalid number of arguments specified for command\r\n",
        ),
        (
            "COMMAND GETKEYS ping",
            "-ERR wrong number of arguments for 'command|getkeys' command\r\n",
        ),
        (
            "COMMAND GETKEYSANDFLAGS set a b",
            "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+OW\r\n+update\r\n",
        ),
        (
            "COMMAND GETKEYSANDFLAGS set a b get",
            "*1\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+update\r\n",
        ),
        (
            "COMMAND GETKEYSANDFLAGS copy a b",
            "*2\r\n*2\r\n$1\r\na\r\n*2\r\n+RO\r\n+access\r\n*2\r\n$1\r\nb\r\n*2\r\n+OW\r\n+update\r\n",
        ),
    ]);
}

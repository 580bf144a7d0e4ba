use super::super::config::parameters::PARAMETERS;
use super::{Node, check, say};

#[test]
fn settings_are_found_by_name_and_pattern() {
    check(&[
        ("CONFIG GET foo", "*0\r\n"),
        (
            "CONFIG GET MaxClients",
            "*2\r\n$10\r\nMaxClients\r\n$3\r\n100\r\n",
        ),
        (
            "CONFIG GET maxmemor[y] maxmemory",
            "*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n",
        ),
        (
            "CONFIG GET MAXMEM* port",
            "*6\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n\
             $4\r\nport\r\n$4\r\n6379\r\n",
        ),
        ("CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        (
            "CONFIG GET appendfsync",
            "*2\r\n$11\r\nappendfsync\r\n$8\r\neverysec\r\n",
        ),
        (
            "CONFIG GET",
            "-ERR wrong number of arguments for 'config|get' command\r\n",
        ),
        (
            "CONFIG FOO",
            "-ERR unknown subcommand 'FOO'. Try CONFIG HELP.\r\n",
        ),
    ]);
    let all = say("HELLO 3\nCONFIG GET *");
    assert!(all.contains(&format!("\r\n%{}\r\n", PARAMETERS.len())));
}

#[test]
fn settings_are_refused_as_redis_refuses_them() {
    let failed = |name: &str, why: &str| {
        format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - {why}\r\n")
    };
    check(&[
        (
            "CONFIG SET foo bar",
            "-ERR Unknown option or number of arguments for CONFIG SET - 'foo'\r\n",
        ),
        (
            "CONFIG SET foo",
            "-ERR wrong number of arguments for 'config|set' command\r\n",
        ),
        ("CONFIG SET maxmemory 0 timeout", "-ERR syntax error\r\n"),
        (
            "CONFIG SET maxclients 0",
            &failed(
                "maxclients",
                "argument must be between 1 and 4294967295 inclusive",
            ),
        ),
        (
            "CONFIG SET maxclients x",
            &failed("maxclients", "argument couldn't be parsed into an integer"),
        ),
        (
            "CONFIG SET maxclients 10 MAXCLIENTS 20",
            &failed("maxclients", "duplicate parameter"),
        ),
        (
            "CONFIG SET port 7000",
            &failed(
                "port",
                "it takes effect at the start of a node, and its place is redis.bind_port in the \
                 configuration",
            ),
        ),
        (
            "CONFIG SET save \"60 1\"",
            &failed(
                "save",
                "a node makes snapshots when its log has grown, see storage.snapshot_every in the \
                 configuration",
            ),
        ),
    ]);
    assert!(say("CONFIG REWRITE").starts_with("-ERR CONFIG REWRITE is not supported: "));
}

#[test]
fn what_is_in_force_may_be_set_again() {
    check(&[
        ("CONFIG SET save \"\" timeout 0 appendonly YES", "+OK\r\n"),
        ("CONFIG SET appendfsync everysec", "+OK\r\n"),
    ]);
    let mut talk = Node::new(None).connect();
    for parameter in PARAMETERS {
        let value = (parameter.get)(&talk.session.shared);
        let line = format!("CONFIG SET {} \"{value}\"", parameter.name);
        assert_eq!(talk.say(&line), "+OK\r\n", "{line}");
    }
}

#[test]
fn settings_change_together_or_not_at_all() {
    let mut talk = Node::new(None).connect();
    assert!(
        talk.say("CONFIG SET maxclients 50 port 1")
            .starts_with("-ERR CONFIG SET failed")
    );
    assert_eq!(talk.session.shared.max_clients(), 100);
    assert_eq!(
        talk.say("CONFIG SET maxclients 50 requirepass new"),
        "+OK\r\n"
    );
    assert_eq!(talk.session.shared.max_clients(), 50);
    assert_eq!(
        talk.say("CONFIG GET requirepass"),
        "*2\r\n$11\r\nrequirepass\r\n$3\r\nnew\r\n"
    );
}

#[test]
fn counters_are_set_to_zero() {
    let node = Node::new(None);
    let mut talk = node.connect();
    talk.say("FOO\nGET a\nPING");
    let info = talk.say("INFO stats errorstats");
    for part in [
        "total_error_replies:2\r\n",
        "total_commands_processed:3\r\n",
        "errorstat_CLUSTERDOWN:count=1\r\n",
        "errorstat_ERR:count=1\r\n",
    ] {
        assert!(info.contains(part), "{part} in {info}");
    }
    assert_eq!(talk.say("CONFIG RESETSTAT"), "+OK\r\n");
    let info = talk.say("INFO stats errorstats");
    assert!(info.contains("total_error_replies:0\r\n") && info.ends_with("# Errorstats\r\n\r\n"));
}

#[test]
fn settings_stand_in_order() {
    assert!(PARAMETERS.is_sorted_by(|one, next| one.name < next.name));
}

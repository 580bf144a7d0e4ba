use super::*;
use crate::config::{Fsync, Host, LogLevel};

fn read(text: &str, options: &[&str]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, text).unwrap();
    let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
    let strip = format!("{}/", folder.path().display());
    load(Some(&path), &options)
        .map(|loaded| loaded.config)
        .map_err(|error| error.to_string().replace(&strip, ""))
}

#[track_caller]
fn refused(text: &str, options: &[&str], expected: &str) {
    let error = read(text, options).expect_err(text);
    assert!(
        error.starts_with(expected),
        "{error}\nshould begin with\n{expected}"
    );
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(read("", &[]), Ok(Config::default()));
}

#[test]
fn every_key_that_the_structs_know_is_in_the_table_and_no_other() {
    let mut known = Vec::new();
    for table in [
        "node",
        "discovery",
        "redis",
        "storage",
        "cluster",
        "transfer",
        "log",
    ] {
        let error = toml::from_str::<Config>(&format!("{table}.zzz = 1")).unwrap_err();
        let names = error.message().split_once("expected").unwrap().1;
        let names = names.split('`').skip(1).step_by(2);
        known.extend(names.map(|name| format!("{table}.{name}")));
    }
    assert_eq!(known, KEYS);
}

#[test]
fn the_reference_names_every_key() {
    let reference = include_str!("../../../../../docs/configuration.md");
    for key in KEYS {
        assert!(
            reference.contains(&format!("| `{key}` |")),
            "{key} is not in the reference"
        );
    }
}

#[test]
fn the_example_of_the_reference_is_the_defaults() {
    let reference = include_str!("../../../../../docs/configuration.md");
    let example = reference
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let example = example.expect("the reference holds an example");
    assert_eq!(read(example, &[]), Ok(Config::default()));
}

#[test]
fn a_wrong_value_is_told_with_its_place_and_what_is_expected() {
    for (text, expected) in [
        (
            "[redis]\nbind_port = 70000",
            "c.toml:2:13: redis.bind_port: invalid value: integer `70000`, expected a port",
        ),
        (
            "[redis]\nbind_port = \"x\"",
            "c.toml:2:13: redis.bind_port: invalid type: string \"x\", expected a port",
        ),
        (
            "discovery.hosts = [\"a:1\",\n  \"b\"]",
            "c.toml:2:3: discovery.hosts: \"b\" has no port: expected",
        ),
        (
            "storage.segment_size = '64MB'",
            "c.toml:1:24: storage.segment_size: invalid value: \"64MB\" (no such unit), expected a size",
        ),
        (
            "[storage]\n\n  fsync = 'sometimes'",
            "c.toml:3:11: storage.fsync: unknown variant `sometimes`, expected one of `always`, `everysec`, `never`",
        ),
        (
            "redis = 1",
            "c.toml:1:9: redis: invalid type: integer `1`, expected a table",
        ),
        ("[[redis]]", "c.toml:1:1: redis: an array, expected a table"),
        ("log.level = 3", "c.toml:1:13: log.level: "),
        (
            "[cluster]\nshards = -1",
            "c.toml:2:10: cluster.shards: invalid value: integer `-1`",
        ),
        (
            "[cluster]\nshards = 1.5",
            "c.toml:2:10: cluster.shards: invalid type: floating point",
        ),
        (
            "discovery.bind_host = 'a b'",
            "c.toml:1:23: discovery.bind_host: invalid value: \"a b\"",
        ),
    ] {
        refused(text, &[], expected);
    }
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_the_nearest() {
    refused(
        "[discovery]\nhosts = ['a:1']\nbind_prot = 1",
        &[],
        "c.toml:3:1: unknown key `discovery.bind_prot`, did you mean `discovery.bind_port`? expected one of hosts,",
    );
    refused("[rediss]\nx = 1", &[], "c.toml:1:2: unknown key `rediss`");
    refused(
        "[node.name]\nx = 1",
        &[],
        "c.toml:1:1: node.name: invalid type: map",
    );
}

#[test]
fn broken_toml_is_told_with_its_place_and_what_is_expected() {
    refused(
        "[redis]\nbind_port 6379",
        &[],
        "c.toml:2:11: key with no value, expected `=`",
    );
    refused("a = \"", &[], "c.toml:1:6: ");
    refused("[redis]\n[redis]", &[], "c.toml:2:2: duplicate key");
    let error = read("[redis]\nbind_port = ", &[]).unwrap_err();
    assert!(
        error.starts_with("c.toml:2:13: ") && error.contains("expected"),
        "{error}"
    );
}

#[test]
fn a_contradiction_points_at_the_key_that_was_set() {
    refused(
        "[cluster]\nheartbeat_ms = 200",
        &[],
        "c.toml:2:16: cluster.election_ms: cluster.election_ms = 500 with cluster.heartbeat_ms = 200",
    );
    refused(
        "",
        &["cluster.shards=0"],
        "--set cluster.shards=0: cluster.shards: 0, expected",
    );
    let error = read("cluster.shards = 0\ncluster.replicas = 2", &[]).unwrap_err();
    assert_eq!(error.lines().count(), 2, "{error}");
}

#[test]
fn options_go_over_the_file_and_the_last_one_wins() {
    let text = "[redis]\nbind_port = 1\nmax_clients = 7";
    let options = [
        "redis.bind_port=2",
        "redis.bind_port=3",
        "storage.fsync=never",
        "discovery.hosts=[\"a:1\", 'b:2']",
        "discovery.bind_host=::1",
        "storage.segment_size=2MiB",
        "log.level=\"debug\"",
        "node.name=123",
        "redis.password=456",
    ];
    let config = read(text, &options).unwrap();
    assert_eq!((config.redis.bind_port, config.redis.max_clients), (3, 7));
    assert_eq!(config.storage.fsync, Fsync::Never);
    assert_eq!(config.discovery.hosts.len(), 2);
    assert_eq!(config.discovery.bind_host, Host::Ip("::1".parse().unwrap()));
    assert_eq!(config.storage.segment_size.bytes(), 2 << 20);
    assert_eq!(config.log.level, LogLevel::Debug);
    assert_eq!(config.node.name.as_deref(), Some("123"));
    assert_eq!(
        config
            .redis
            .password
            .as_ref()
            .map(|password| password.reveal()),
        Some("456")
    );
}

#[test]
fn a_wrong_option_is_told_as_it_was_given() {
    for (option, expected) in [
        (
            "redis.port=1",
            "--set redis.port=1: unknown key `redis.port`, did you mean `redis.bind_port`?",
        ),
        (
            "shards=1",
            "--set shards=1: unknown key `shards`, did you mean `cluster.shards`?",
        ),
        ("redis", "--set redis: no `=`, expected KEY=VALUE"),
        ("redis={}", "--set redis={}: unknown key `redis`"),
        (
            "cluster.shards=many",
            "--set cluster.shards=many: cluster.shards: invalid type: string",
        ),
        (
            "cluster.shards=1.5",
            "--set cluster.shards=1.5: cluster.shards: invalid type: floating",
        ),
        (
            "discovery.hosts=[1",
            "--set discovery.hosts=[1: discovery.hosts: ",
        ),
        (
            "discovery.hosts=a:1",
            "--set discovery.hosts=a:1: discovery.hosts: invalid type: string",
        ),
        ("redis.bind_port=1\nx = 2", "--set redis.bind_port=1"),
    ] {
        refused("", &[option], expected);
    }
}

#[test]
fn a_password_is_in_no_message() {
    for (text, option) in [
        ("redis.password = 31337", "log.level=info"),
        ("redis.password = [31337]", "log.level=info"),
        ("", "redis.password=[31337]"),
        ("", "redis.password = {a = 31337}"),
    ] {
        let error = read(text, &[option]).unwrap_err();
        assert!(
            error.contains("redis.password") && !error.contains("31337"),
            "{error}"
        );
    }
    let config = read("redis.password = '31337'", &[]).unwrap();
    assert!(!format!("{config:?}").contains("31337"));
}

#[test]
fn a_file_that_cannot_be_read_is_told_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no.toml");
    assert!(
        matches!(load(Some(&missing), &[]), Err(ConfigError::Missing { path }) if path == missing)
    );
    let error = load(Some(folder.path()), &[]).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
    let error = load(Some(Path::new("/dev/zero")), &[]).unwrap_err();
    assert!(matches!(error, ConfigError::TooLarge { .. }), "{error}");
}

#[test]
fn a_file_that_is_not_utf8_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, b"# \xc3\xa9\nx = '\xff'").unwrap();
    let error = load(Some(&path), &[]).unwrap_err().to_string();
    assert!(
        error.contains("c.toml:2:6: a byte that is not UTF-8"),
        "{error}"
    );
}

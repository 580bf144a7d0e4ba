use super::{Node, RUN_ID, check, say};

#[test]
fn sections_are_chosen_by_name() {
    check(&[
        ("INFO foo", "$0\r\n\r\n"),
        (
            "INFO cluster",
            "$30\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n",
        ),
        (
            "INFO KEYSPACE foo cluster Cluster",
            "$44\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\n\r\n",
        ),
    ]);
    assert!(
        say("HELLO 3\nINFO cluster").ends_with("=34\r\ntxt:# Cluster\r\ncluster_enabled:0\r\n\r\n")
    );
}

#[test]
fn all_sections_are_there_by_default() {
    for line in ["INFO", "INFO all", "INFO default", "INFO everything"] {
        let info = say(line);
        let titles: Vec<&str> = info
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .collect();
        assert_eq!(
            titles,
            [
                "Server",
                "Clients",
                "Memory",
                "Persistence",
                "Stats",
                "Replication",
                "CPU",
                "Modules",
                "Errorstats",
                "Cluster",
                "Keyspace",
                "Piccolo"
            ],
            "{line}"
        );
        for field in [
            "redis_version:7.2.5",
            "server_name:piccolo",
            "redis_mode:standalone",
            &format!("run_id:{RUN_ID}"),
            "tcp_port:6379",
            "connected_clients:1",
            "maxclients:100",
            "used_memory:0",
            "maxmemory_policy:noeviction",
            "loading:0",
            "role:master",
        ] {
            assert!(
                info.contains(&format!("\n{field}\r\n")),
                "{field} in {info}"
            );
        }
        let section_lines = info.split("\r\n").skip(1);
        for line in section_lines.filter(|line| !line.is_empty() && !line.starts_with("# ")) {
            assert!(line.contains(':') && !line.contains(['\r', '\n']), "{line}");
        }
    }
}

#[test]
fn piccolo_tells_of_the_node_and_its_peers() {
    let expected = "# Piccolo\r\npiccolo_version:1.2.3\r\nnode_id:0000000000000abc\r\nnode_name:a\r\n\
                    peer_address:127.0.0.1:19919\r\nredis_address:127.0.0.1:6379\r\n\
                    cluster_id:\r\ncluster_state:forming\r\nnodes_known:3\r\nnodes_alive:2\r\nshards:0\r\n\
                    shards_led:0\r\nfsync:everysec\r\n\
                    peer0:name=b,address=127.0.0.1:19920,state=connected,rtt_us=120\r\n\
                    peer1:name=c_d  role:slave,address=127.0.0.1:19920,state=connected,rtt_us=-1\r\n";
    let reply = say("INFO piccolo");
    assert_eq!(reply, format!("${}\r\n{expected}\r\n", expected.len()));
}

#[test]
fn traffic_is_counted() {
    let node = Node::new(None);
    let mut talk = node.connect();
    talk.say("PING\nPING");
    let info = talk.say("INFO stats");
    assert!(info.contains("\r\ntotal_net_input_bytes:12\r\n"), "{info}");
    assert!(
        info.contains("\r\ntotal_commands_processed:2\r\n"),
        "{info}"
    );
}

"""Nodes that find each other, lose each other and find each other again; what INFO says of it."""

import re
import signal

import pytest

from support.node import free_port
from support.resp import ReplyError
from support.waiting import wait_until

FIELDS = [
    "piccolo_version",
    "node_id",
    "node_name",
    "peer_address",
    "redis_address",
    "cluster_id",
    "cluster_state",
    "nodes_known",
    "nodes_alive",
    "shards",
    "shards_led",
    "fsync",
]


@pytest.fixture
def three(make_node, tmp_path):
    """Three nodes from the same command in the same folder, the first of them the founder."""
    peer, client = free_port(count=3), free_port(count=3)
    settings = {
        "node__data_dir": str(tmp_path / "shared"),
        "discovery__bind_port": peer,
        "discovery__hosts": [f"127.0.0.1:{peer}"],
        "redis__bind_port": client,
    }
    founder = make_node(**settings).start()
    return [founder, *(make_node(**settings).spawn() for _ in range(2))]


def counts(node):
    info = node.info()
    return int(info["nodes_known"]), int(info["nodes_alive"])


def all_greeted(nodes, seconds=15):
    for node in nodes:
        wait_until(lambda: counts(node) == (len(nodes), len(nodes)), "everybody greeted everybody", seconds)


def test_a_node_alone_is_a_cluster_of_one(node):
    info = node.info()
    assert [name for name in info if not name.startswith("peer") or name == "peer_address"][: len(FIELDS)] == FIELDS
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", info["piccolo_version"])
    assert re.fullmatch("[0-9a-f]{16}", info["node_id"])
    host, port = node.peer_address
    assert info["node_name"].endswith(str(port))
    assert info["peer_address"] == f"{host}:{port}"
    assert info["redis_address"] == "%s:%d" % node.redis_address
    assert info["cluster_state"] == "ok"
    assert (info["nodes_known"], info["nodes_alive"]) == ("1", "1")
    assert (info["shards"], info["shards_led"]) == ("1", "1")
    assert info["fsync"] == "always"
    assert node.peers() == []


def test_three_nodes_greet_each_other(three):
    all_greeted(three)
    names = {node.info()["node_name"] for node in three}
    addresses = {"%s:%d" % node.peer_address for node in three}
    for node in three:
        peers = node.peers()
        assert [list(peer) for peer in peers] == [["name", "address", "state", "rtt_us"]] * 2
        own = node.info()
        assert {peer["name"] for peer in peers} == names - {own["node_name"]}
        assert {peer["address"] for peer in peers} == addresses - {own["peer_address"]}
        assert all(peer["state"] == "alive" for peer in peers)
        # A round trip is known once the first ping was answered.
        wait_until(
            lambda: all(0 < int(peer["rtt_us"]) < 1_000_000 for peer in node.peers()), "round trips are measured"
        )


def test_nodes_that_find_a_cluster_join_it_and_serve_every_key(three):
    all_greeted(three)
    founder, *others = three
    assert founder.connect().call("SET", "key", "value") == "OK"
    for node in others:
        wait_until(lambda: node.info()["cluster_state"] == "ok", "every shard has three voters", seconds=30)
        assert node.info()["cluster_id"] == founder.info()["cluster_id"]
        with node.connect() as connection:
            assert connection.call("GET", "key") == b"value"
            assert connection.call("SET", "key", "value") == "OK"


def test_a_founder_alone_tells_clients_whom_it_waits_for(make_node):
    own, missing = free_port(count=2), free_port()
    hosts = [f"127.0.0.1:{own}", f"127.0.0.1:{missing}"]
    node = make_node(discovery__bind_port=own, discovery__hosts=hosts).spawn()
    wait_until(lambda: node.info()["cluster_state"] == "forming", "it answers", seconds=15)
    assert node.info()["shards_led"] == "0"
    with node.connect() as connection:
        for words in (("GET", "key"), ("SET", "key", "value"), ("DBSIZE",)):
            with pytest.raises(ReplyError, match=rf"^CLUSTERDOWN .*127.0.0.1:{missing}"):
                connection.call(*words)
        assert connection.call("PING") == "PONG", "the connection goes on"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_node_that_goes_is_missed_and_greeted_again(three, number):
    all_greeted(three)
    *others, last = three
    seen = [len(node.log()) for node in others]
    name, identity = last.info()["node_name"], last.info()["node_id"]
    last.settings["discovery.bind_port"] = last.peer_address[1]
    last.settings["redis.bind_port"] = last.redis_address[1]
    last.signal(number)
    assert last.wait() == (0 if number == signal.SIGTERM else -number)

    for node, after in zip(others, seen):
        wait_until(lambda: counts(node) == (3, 2), "it is missed", seconds=5)
        assert next(peer for peer in node.peers() if peer["name"] == name)["state"] != "alive"
        node.wait_for_text(name, after=after)

    seen = [len(node.log()) for node in others]
    last.spawn()
    assert last.info()["node_id"] == identity, "the same folder is the same node"
    for node, after in zip(others, seen):
        wait_until(lambda: counts(node) == (3, 3), "it is greeted again", seconds=3)
        node.wait_for_text(name, after=after)
    all_greeted(three)


def test_a_host_that_is_not_there_is_dialled_until_it_is(make_node):
    # Both are founders by the list; the second one starts late.
    first, second = make_node(), make_node()
    hosts = [f"127.0.0.1:{node.settings['discovery.bind_port']}" for node in (first, second)]
    for node in (first, second):
        node.settings["discovery.hosts"] = hosts
    first.spawn()
    first.wait_for_text("refused")
    second.spawn()
    all_greeted([first, second])


def test_a_node_knows_itself_whatever_its_address_is_called(make_node):
    node = make_node()
    port = node.settings["discovery.bind_port"]
    node.settings["discovery.hosts"] = [f"127.0.0.1:{port}", f"localhost:{port}"]
    node.spawn()
    node.bound("redis")
    wait_until(lambda: counts(node) == (1, 1), "it counts itself alone")
    assert node.peers() == []


def test_a_node_that_hangs_is_missed(three):
    all_greeted(three)
    founder, *_, last = three
    last.signal(signal.SIGSTOP)
    try:
        # Silent for 3 heartbeats and a second.
        wait_until(lambda: counts(founder) == (3, 2), "it is missed", seconds=5)
    finally:
        last.signal(signal.SIGCONT)
    all_greeted(three)

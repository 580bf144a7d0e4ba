"""Several nodes as one store: founding, joining, requests through any node, and what operators do with it."""

import itertools
import json
import select
import time

import pytest

from support.cluster import leader_name, shard_of, voters
from support.node import free_port, run
from support.resp import Closed, ReplyError, command
from support.waiting import wait_until

SMALL = {"storage__snapshot_every": "1MiB", "storage__segment_size": "1MiB"}


@pytest.fixture
def piccolo(tmp_path):
    """Runs a command of the binary against a node of a cluster."""

    def ask(cluster, node, *words, timeout=60):
        return run(*words, "--address", "%s:%d" % cluster.client_address(node), cwd=tmp_path, timeout=timeout)

    return ask


def node_ids(cluster):
    return {node.info()["cluster_id"] for node in cluster.nodes}


# Founding and joining.


def test_three_terminals(make_node, tmp_path):
    # The same command three times, in one folder: the first founds and serves at once, the others join by themselves.
    peer, client = free_port(count=3), free_port(count=3)
    settings = {
        "node__data_dir": str(tmp_path / "shared"),
        "discovery__bind_port": peer,
        "discovery__hosts": [f"127.0.0.1:{peer}"],
        "redis__bind_port": client,
    }
    first = make_node(**settings).start()
    assert first.connect().call("SET", "key", "value") == "OK"
    second = make_node(**settings).start()
    assert second.connect().call("GET", "key") == b"value"
    third = make_node(**settings).start()
    assert third.connect().call("INCR", "counter") == 1
    nodes = [first, second, third]

    def three_voters():
        with third.connect() as connection:
            status = json.loads(connection.call("PICCOLO", "STATUS"))
        return all(len(shard["voters"]) == 3 and not shard["learners"] for shard in status["shards"])

    wait_until(three_voters, "every shard has three voters", 30)
    for node in nodes:
        wait_until(lambda: node.info()["cluster_state"] == "ok", "every node says ok")
    assert len({node.info()["cluster_id"] for node in nodes}) == 1
    # Now that there are three, any one of them may go.
    first.kill()
    wait_until(lambda: answers(second, "SET", "key", "other"), "the other two go on", 20)
    assert third.connect().call("GET", "key") == b"other"


def answers(node, *words):
    try:
        with node.connect() as connection:
            return connection.call(*words) == "OK"
    except (Closed, OSError, ReplyError):
        return False


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_founders_start_in_any_order_and_late(make_cluster, order):
    cluster = make_cluster(3)
    first, second, last = (cluster.nodes[number] for number in order)
    for node in (first, second):
        node.spawn()
        node.bound("redis")
    missing = cluster.peer_address(order[2])
    for node in (first, second):
        # Two of three found nothing, however long they wait; a client learns who is missing.
        def told():
            with node.connect() as connection:
                with pytest.raises(ReplyError, match=r"^CLUSTERDOWN \S") as refusal:
                    connection.call("SET", "key", "value")
            return str(refusal.value).count(missing) and "waiting for" in str(refusal.value)

        wait_until(told, f"it tells that {missing} is missing")
        assert node.info()["cluster_state"] == "forming"
    last.spawn()
    cluster.wait_until_ok()
    assert len(node_ids(cluster)) == 1
    assert last.connect().call("SET", "key", "value") == "OK"
    assert first.connect().call("GET", "key") == b"value"


def test_host_lists_that_differ_are_refused_on_both_sides(make_cluster):
    cluster = make_cluster(2)
    one, other = cluster.nodes
    only_here = f"127.0.0.1:{free_port()}"
    one.settings["discovery.hosts"] = [*one.settings["discovery.hosts"], only_here]
    for node in cluster.nodes:
        node.spawn()
        node.bound("redis")
    for node in cluster.nodes:

        def told():
            with node.connect() as connection:
                try:
                    connection.call("GET", "key")
                except ReplyError as refusal:
                    return "differs" in str(refusal) and only_here in str(refusal)
            raise AssertionError("it serves")

        wait_until(told, "it names the host that is on one list alone")
    other.kill()
    other.settings["discovery.hosts"] = one.settings["discovery.hosts"]
    one.kill()
    for node in cluster.nodes:
        node.settings["discovery.hosts"] = [cluster.peer_address(0), cluster.peer_address(1)]
        cluster.restart(node)
    cluster.wait_until_ok()


def test_a_node_that_is_not_listed_only_joins(make_cluster):
    cluster = make_cluster(2, founders=1)
    founder, joiner = cluster.nodes
    joiner.spawn()
    joiner.bound("redis")
    assert joiner.info()["cluster_state"] == "forming"
    founder.start()
    cluster.wait_until_ok()
    assert len(node_ids(cluster)) == 1


# Requests through any node.


def test_any_node_serves_any_key(make_cluster):
    cluster = make_cluster(3, cluster__shards=8).start()
    connections = [node.connect() for node in cluster.nodes]
    for number in range(300):
        assert connections[number % 3].call("SET", f"key:{number}", number) == "OK"
        assert connections[(number + 1) % 3].call("GET", f"key:{number}") == str(number).encode()
    names = [f"key:{number}" for number in range(300)]
    for connection in connections:
        assert connection.call("MGET", *names) == [str(number).encode() for number in range(300)]
        assert connection.call("DBSIZE") == 300
        assert connection.call("EXISTS", *names, "none") == 300
    assert connections[0].call("DEL", *names[:100]) == 100
    assert connections[1].call("DBSIZE") == 200
    spread = lambda status: {leader_name(status, shard) for shard in range(8)} == {"n1", "n2", "n3"}
    cluster.wait_for(spread, "leaders are spread")


def test_commands_of_a_connection_keep_their_order(make_cluster):
    cluster = make_cluster(3, cluster__shards=4).start()
    for node in cluster.nodes:
        with node.connect() as connection:
            name = cluster.name(node)
            batch = range(1, 1001)
            three = lambda n: command("INCR", name) + command("SET", f"{name}:{n}", n) + command("GET", name)
            connection.send(b"".join(map(three, batch)))
            for number in batch:
                assert connection.reply() == number
                assert connection.reply() == "OK"
                assert connection.reply() == str(number).encode()


def test_a_long_read_costs_a_node_nothing_that_it_leads(make_cluster):
    cluster = make_cluster(3).start()
    leader = cluster.leader()
    follower = cluster.others(leader)[0]
    term = lambda: shard_of(cluster.status(follower), 0)["term"]
    with leader.connect() as connection:
        # The longest strings that LCS takes.
        connection.call("SET", "{k}a", "ab" * 5500)
        connection.call("SET", "{k}b", "ba" * 5500)
        began = time.monotonic()
        connection.call("LCS", "{k}a", "{k}b", "LEN")
        once = time.monotonic() - began
    # Longer than it takes until others are elected, or until a silent peer is given up.
    times = int(3 / once) + 1
    before = term()
    for node in (leader, follower):
        with node.connect(timeout=120) as reader, leader.connect(timeout=120) as other:
            reader.send(command("LCS", "{k}a", "{k}b", "LEN") * times)
            for _ in range(10):
                assert other.call("GET", "{k}a") == b"ab" * 5500
            assert not select.select([reader.socket], [], [], 0)[0], "others read meanwhile"
            # A write takes its turn after the reads, and is not lost.
            assert other.call("INCR", "counter") > 0
            assert [reader.reply() for _ in range(times)] == [10999] * times
    assert term() == before, "nobody else was elected"
    assert "lost a peer" not in leader.log_text(last=1000)


def test_scan_gives_every_key_once_at_least(make_cluster):
    cluster = make_cluster(3, cluster__shards=16).start()
    count = 3000
    with cluster.nodes[0].connect() as connection:
        connection.send(b"".join(command("SET", f"there:{n}", n) for n in range(count)))
        assert all(connection.reply() == "OK" for _ in range(count))
    expected = {f"there:{n}".encode() for n in range(count)}
    for node in cluster.nodes:
        with node.connect() as connection, cluster.nodes[0].connect() as other:
            found, cursor = [], b"0"
            for step in itertools.count():
                cursor, keys = connection.call("SCAN", cursor, "COUNT", 50)
                found += keys
                # Others come and go meanwhile.
                other.call("SET", f"passing:{step}", "x")
                other.call("DEL", f"passing:{step - 1}")
                if cursor == b"0":
                    break
            assert expected <= set(found)
            other.call("DEL", f"passing:{step}")


def test_a_cluster_keeps_what_it_has_over_a_restart_of_all(make_cluster):
    cluster = make_cluster(3, cluster__shards=4, **SMALL).start()
    with cluster.nodes[0].connect() as connection:
        connection.send(b"".join(command("SET", f"key:{n}", "x" * 500) for n in range(8000)))
        assert all(connection.reply() == "OK" for _ in range(8000))
    before = node_ids(cluster)
    for node in cluster.nodes:
        cluster.stop(node)
    for node in reversed(cluster.nodes):
        cluster.restart(node)
    cluster.wait_until_ok()
    assert node_ids(cluster) == before
    for node in cluster.nodes:
        with node.connect() as connection:
            assert connection.call("DBSIZE") == 8000
            assert connection.call("GET", "key:7999") == b"x" * 500


def test_without_a_majority_nothing_is_answered(make_cluster):
    cluster = make_cluster(3).start()
    assert cluster.nodes[0].connect().call("SET", "key", "value") == "OK"
    left = cluster.nodes[0]
    for node in cluster.others(left):
        node.kill()

    def refused():
        with left.connect() as connection:
            for words in (("GET", "key"), ("SET", "key", "other")):
                try:
                    connection.call(*words)
                    return False
                except ReplyError as refusal:
                    # What was sent while it still believed to lead may have an unknown outcome.
                    if not str(refusal).startswith(("CLUSTERDOWN ", "TRYAGAIN ")):
                        return False
        return True

    wait_until(refused, "it refuses", 20)
    cluster.wait_for(lambda status: status["cluster"]["state"] == "no_quorum", "it says so", node=left)
    for node in cluster.others(left):
        cluster.restart(node)
    cluster.wait_until_ok()
    assert left.connect().call("GET", "key") in (b"value", b"other")


# Operators.


def test_status_is_told_by_any_node(make_cluster, piccolo):
    cluster = make_cluster(3, cluster__shards=4).start()
    for node in cluster.nodes:
        # While leaderships move, who leads is not known for moments.
        spread = lambda status: {leader_name(status, shard) for shard in range(4)} == {"n1", "n2", "n3"}
        heard = lambda status: all(each["term"] for each in status["shards"])
        cluster.wait_for(lambda status: spread(status) and heard(status), "leaders are spread and tell of themselves", node=node)
        shown = piccolo(cluster, node, "status")
        assert shown.returncode == 0, shown.stderr
        assert ": ok" in shown.stdout.splitlines()[0]
        for words in ("n1", "n2", "n3", cluster.peer_address(0), "shard", "voters"):
            assert words in shown.stdout, shown.stdout
        status = json.loads(piccolo(cluster, node, "status", "--json").stdout)
        assert [shard["shard"] for shard in status["shards"]] == [0, 1, 2, 3]
        for shard in status["shards"]:
            assert voters(shard, status) == ["n1", "n2", "n3"]
            assert shard["term"] >= 1 and shard["commit"] >= 1
        assert all(each["alive"] and each["memory_bytes"] > 0 and each["disk_total_bytes"] > 0 for each in status["nodes"])
        assert sum(each["shards_led"] for each in status["nodes"]) == 4
    info = cluster.nodes[0].info()
    assert (info["cluster_state"], info["shards"]) == ("ok", "4")
    cluster.nodes[2].kill()
    cluster.wait_for(lambda status: status["cluster"]["state"] == "degraded", "the missing node is noticed", node=cluster.nodes[0])
    assert piccolo(cluster, cluster.nodes[0], "status").returncode == 3


def test_a_node_is_drained_and_undrained(make_cluster, piccolo):
    cluster = make_cluster(3, cluster__shards=4).start()
    asked = piccolo(cluster, cluster.nodes[0], "node", "drain", "n2")
    assert asked.returncode == 0, asked.stderr
    status = cluster.status()
    assert all(leader_name(status, shard) != "n2" for shard in range(4))
    assert next(node for node in status["nodes"] if node["name"] == "n2")["state"] == "draining"
    asked = piccolo(cluster, cluster.nodes[1], "node", "undrain", "n2", "--json")
    assert asked.returncode == 0 and json.loads(asked.stdout)["done"] is True
    cluster.wait_for(lambda status: any(leader_name(status, shard) == "n2" for shard in range(4)), "it leads again")
    asked = piccolo(cluster, cluster.nodes[0], "node", "drain", "nobody")
    assert asked.returncode == 1 and "nobody" in asked.stderr


def test_a_shard_is_led_and_moved_where_it_is_wanted(make_cluster, piccolo):
    cluster = make_cluster(4, founders=3, cluster__shards=2).start()
    for name in ("n1", "n2", "n3"):
        if name in voters(shard_of(cluster.status(), 1), cluster.status()):
            asked = piccolo(cluster, cluster.nodes[0], "shard", "lead", "1", name)
            assert asked.returncode == 0, asked.stderr
    three_voters = lambda status: all(len(each["voters"]) == 3 and not each["learners"] for each in status["shards"])
    status = cluster.wait_for(three_voters, "three voters each")
    of_shard = voters(shard_of(status, 1), status)
    to = next(name for name in ("n1", "n2", "n3", "n4") if name not in of_shard)
    asked = piccolo(cluster, cluster.nodes[0], "shard", "move", "1", of_shard[0], to)
    assert asked.returncode == 0, asked.stderr
    status = cluster.status()
    assert to in voters(shard_of(status, 1), status) and of_shard[0] not in voters(shard_of(status, 1), status)
    assert piccolo(cluster, cluster.nodes[0], "shard", "lead", "7", "n1").returncode == 1


def test_a_node_is_removed_and_told_so_when_it_returns(make_cluster, piccolo):
    cluster = make_cluster(4, founders=3, cluster__shards=2).start()
    assert cluster.nodes[0].connect().call("SET", "key", "value") == "OK"
    gone = cluster.nodes[3]
    gone.kill()
    asked = piccolo(cluster, cluster.nodes[0], "node", "remove", "n4", timeout=90)
    assert asked.returncode == 0, asked.stderr
    cluster.wait_for(lambda status: "n4" not in [node["name"] for node in status["nodes"]], "it is gone", node=cluster.nodes[1])
    gone.spawn()
    assert gone.wait(30) != 0
    assert "removed" in gone.log_text()
    # One that is there is told at once.
    leaving = cluster.nodes[2]
    asked = piccolo(cluster, cluster.nodes[0], "node", "remove", "n3", timeout=90)
    assert asked.returncode == 0, asked.stderr
    wait_until(lambda: not leaving.is_running, "it stops", 30)
    assert "removed" in leaving.log_text()
    assert cluster.nodes[0].connect().call("GET", "key") == b"value"

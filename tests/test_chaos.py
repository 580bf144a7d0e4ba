"""Faults under load. Clients on all nodes go on meanwhile; what they were told must be explained by one copy of the data,
and service must come back by itself.

Here each kind takes some seconds; `cargo xtask chaos --minutes N` runs each for minutes (PICCOLO_CHAOS_SECONDS).
"""

import os
import signal
import time

import pytest

from support.node import run
from support.resp import command
from support.waiting import wait_until

SECONDS = float(os.environ.get("PICCOLO_CHAOS_SECONDS", "0"))
PAUSE = 0.02 if SECONDS else 0.004
"""What a client waits between two operations: a long history must still fit into memory."""
BACK_SECONDS = 20
"""Within which writes are acknowledged again after any fault that leaves a majority; far more than it should take."""
SMALL = {"storage__snapshot_every": "1MiB", "storage__segment_size": "1MiB"}


def rounds(short):
    """The numbers of the rounds: so many, or as many as fit into the time."""
    if not SECONDS:
        yield from range(short)
        return
    until, number = time.monotonic() + SECONDS, 0
    while time.monotonic() < until:
        yield number
        number += 1


def report(what, seconds):
    """Prints a distribution of times."""
    ordered = sorted(seconds)
    at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3
    print(f"{what}: {len(ordered)} times, median {at(0.5):.0f} ms, p99 {at(0.99):.0f} ms, most {ordered[-1] * 1e3:.0f} ms")


def heal_and_judge(cluster, load, folder):
    """All is well again by itself, and what was told can be explained."""
    cluster.wait_until_caught_up()
    load.acknowledged_after(time.monotonic())
    load.judge(folder)


@pytest.mark.parametrize("shards", [1, 4])
def test_kill_9_of_the_leader(make_cluster, tmp_path, shards):
    cluster = make_cluster(3, cluster__shards=shards, **SMALL).start()
    load = cluster.load(pause=PAUSE)
    gaps = []
    for number in rounds(5 if shards == 1 else 1):
        load.acknowledged_after(time.monotonic())
        leader = cluster.leader(shard=number % shards)
        killed = time.monotonic()
        leader.kill()
        gaps.append(load.acknowledged_after(killed, BACK_SECONDS) - killed)
        cluster.restart(leader)
        cluster.wait_until_caught_up()
    if shards == 1:
        # With more, writes to the other shards go on.
        report("from the kill of the leader to the next acknowledged write", gaps)
    heal_and_judge(cluster, load, tmp_path)


def test_kill_9_of_all_nodes_at_once(make_cluster, tmp_path):
    cluster = make_cluster(3, **SMALL).start()
    load = cluster.load(pause=PAUSE)
    for _ in rounds(2):
        load.acknowledged_after(time.monotonic())
        for node in cluster.nodes:
            node.kill()
        for node in cluster.nodes:
            cluster.restart(node)
        cluster.wait_until_ok()
        load.acknowledged_after(time.monotonic(), BACK_SECONDS)
    heal_and_judge(cluster, load, tmp_path)


def test_planned_hand_over(make_cluster, tmp_path):
    cluster = make_cluster(3).start()
    load = cluster.load(pause=PAUSE)
    gaps = []
    for _ in rounds(3):
        load.acknowledged_after(time.monotonic())
        leader = cluster.leader()
        asked = time.monotonic()
        cluster.stop(leader)
        load.acknowledged_after(time.monotonic(), BACK_SECONDS)
        load.run_for(0.3)
        gaps.append(load.longest_gap(after=asked - 0.05))
        cluster.restart(leader)
        cluster.wait_until_caught_up()
    report("the longest time without an acknowledged write while the leader stops in order", gaps)
    heal_and_judge(cluster, load, tmp_path)


def test_rolling_restart(make_cluster, tmp_path):
    cluster = make_cluster(3, cluster__shards=4, **SMALL).start()
    load = cluster.load(pause=PAUSE)
    for number in rounds(3):
        node = cluster.nodes[number % 3]
        cluster.stop(node)
        load.acknowledged_after(time.monotonic(), BACK_SECONDS)
        cluster.restart(node)
        cluster.wait_until_caught_up()
    heal_and_judge(cluster, load, tmp_path)


@pytest.mark.parametrize("seconds", [1.5, 10])
def test_the_leader_is_stopped_for_a_while(make_cluster, tmp_path, seconds):
    # Longer than its lease, and once longer than clients wait: what it answers afterwards must not be stale.
    cluster = make_cluster(3).start()
    load = cluster.load(clients=12, pause=PAUSE)
    gaps = []
    for _ in rounds(2 if seconds < 5 else 1):
        load.acknowledged_after(time.monotonic())
        leader = cluster.leader()
        stopped = time.monotonic()
        leader.pause()
        try:
            gaps.append(load.acknowledged_after(stopped, BACK_SECONDS) - stopped)
            load.run_for(max(0.0, stopped + seconds - time.monotonic()))
        finally:
            leader.resume()
        cluster.wait_until_ok()
    report("from SIGSTOP of the leader to the next acknowledged write", gaps)
    heal_and_judge(cluster, load, tmp_path)


def leader_alone(cluster, hosts, leader, others):
    hosts.partition([leader], others)


def a_follower_alone(cluster, hosts, leader, others):
    hosts.partition([leader, others[0]], [others[1]])


def everybody_alone(cluster, hosts, leader, others):
    hosts.partition([leader], [others[0]], [others[1]])


def the_leader_is_not_heard(cluster, hosts, leader, others):
    hosts.one_way(leader, others)


def the_leader_hears_nobody(cluster, hosts, leader, others):
    hosts.deaf(leader, others)


def a_bridge(cluster, hosts, leader, others):
    # The followers reach each other only by way of the leader.
    hosts.partition([others[0]], [others[1]])


@pytest.mark.parametrize(
    "cut", [leader_alone, a_follower_alone, everybody_alone, the_leader_is_not_heard, the_leader_hears_nobody, a_bridge]
)
def test_partition(make_cluster, network_of, tmp_path, cut):
    hosts = network_of(3)
    cluster = make_cluster(3, hosts=hosts).start()
    load = cluster.load(pause=PAUSE, clients=9)
    gaps = []
    for _ in rounds(1):
        load.acknowledged_after(time.monotonic())
        leader = cluster.number(cluster.leader())
        others = [number for number in range(3) if number != leader]
        cut(cluster, hosts, leader, others)
        parted = time.monotonic()
        if cut is not everybody_alone:
            gaps.append(load.acknowledged_after(parted, BACK_SECONDS) - parted)
        load.run_for(2.0 if SECONDS else 1.0)
        hosts.heal()
        load.acknowledged_after(time.monotonic(), BACK_SECONDS)
        cluster.wait_until_ok()
    if gaps:
        report(f"from {cut.__name__} to the next acknowledged write", gaps)
    heal_and_judge(cluster, load, tmp_path)


def test_flapping_partition(make_cluster, network_of, tmp_path):
    hosts = network_of(3)
    cluster = make_cluster(3, hosts=hosts).start()
    load = cluster.load(pause=PAUSE, clients=9)
    for number in rounds(3):
        alone = number % 3
        hosts.partition([alone], [other for other in range(3) if other != alone])
        load.run_for(2.0)
        hosts.heal()
        load.run_for(2.0 if SECONDS else 0.5)
    load.acknowledged_after(time.monotonic(), BACK_SECONDS)
    cluster.wait_until_ok()
    heal_and_judge(cluster, load, tmp_path)


def test_slow_link(make_cluster, network_of, tmp_path):
    hosts = network_of(3)
    cluster = make_cluster(3, hosts=hosts, **SMALL).start()
    load = cluster.load(pause=PAUSE)
    for number in rounds(1):
        hosts.slow(number % 3, "1mbit")
        # A bulk of 256 KiB takes two seconds on that link, longer than an election timeout; so the leader may lose its
        # office meanwhile, and nobody know what became of the bulk.
        with cluster.leader().connect(timeout=30) as connection:
            for key in range(3):
                connection.send(command("SET", f"bulk:{key}", "x" * (256 << 10)))
                reply = connection.reply()
                assert reply == "OK" or str(reply).startswith(("UNCERTAIN ", "TRYAGAIN ")), reply
        load.acknowledged_after(time.monotonic(), BACK_SECONDS)
        hosts.fast(number % 3)
        cluster.wait_until_caught_up()
    heal_and_judge(cluster, load, tmp_path)


def fill(node, first, count, size=100, batch=500):
    """Writes keys of their own through that node, many at once."""
    with node.connect(timeout=60) as connection:
        for start in range(first, first + count, batch):
            numbers = range(start, min(start + batch, first + count))
            connection.send(b"".join(command("SET", f"fill:{n}", f"{n}:".ljust(size, "x")) for n in numbers))
            replies = [connection.reply() for _ in numbers]
            assert replies == ["OK"] * len(numbers), next(reply for reply in replies if reply != "OK")


def flood(node, size):
    """Has that many bytes written, or refused."""
    with node.connect(timeout=60) as connection:
        for number in range(size >> 16):
            connection.send(command("SET", f"flood:{number % 8}", "x" * (1 << 16)))
            connection.reply()


def verify_filled(node, count, size=100, batch=1000):
    with node.connect(timeout=60) as connection:
        for start in range(0, count, batch):
            numbers = range(start, min(start + batch, count))
            values = connection.call("MGET", *(f"fill:{n}" for n in numbers))
            for number, value in zip(numbers, values):
                assert value == f"{number}:".ljust(size, "x").encode(), f"fill:{number} is {value!r}"


def test_a_follower_is_away_for_many_writes(make_cluster, tmp_path):
    # So many that the others have purged what it lacks: a snapshot must bring it.
    count = 1_000_000 if SECONDS else 40_000
    cluster = make_cluster(3, **SMALL).start()
    leader = cluster.leader()
    follower, other = cluster.others(leader)
    load = cluster.load(pause=PAUSE)
    follower.kill()
    fill(leader, 0, count)
    cluster.restart(follower)
    cluster.wait_until_caught_up(seconds=120)
    follower.wait_for_text("snapshot")
    load.judge(tmp_path)
    # It votes and has everything: with one of the others gone, it is half of the majority.
    other.kill()
    verify_filled(follower, count)
    leader = cluster.leader()
    assert leader is not other
    cluster.restart(other)
    cluster.wait_until_caught_up()


@pytest.mark.parametrize("whose", ["follower", "leader"])
def test_a_disk_is_wiped(make_cluster, tmp_path, whose):
    cluster = make_cluster(3, **SMALL).start()
    load = cluster.load(pause=PAUSE)
    fill(cluster.nodes[0], 0, 5_000)
    for _ in rounds(1):
        leader = cluster.leader()
        lost = leader if whose == "leader" else cluster.others(leader)[0]
        before = cluster.status()["cluster"]["id"]
        lost.kill()
        lost.wipe()
        killed = time.monotonic()
        load.acknowledged_after(killed, BACK_SECONDS)
        cluster.restart(lost)
        # It comes as another node, at the address of the old one, and takes its place.
        status = cluster.wait_for(
            lambda status: len(status["nodes"]) == 3 and cluster.is_ok(status) and status["cluster"]["id"] == before,
            "the new node has taken the place of the old one",
            seconds=90,
        )
        assert all(len(shard["voters"]) == 3 for shard in status["shards"])
        cluster.wait_until_caught_up()
    verify_filled(lost, 5_000)
    load.judge(tmp_path)


@pytest.mark.parametrize("whose", ["follower", "leader"])
def test_a_disk_is_full(make_cluster, small_disk, tmp_path, whose):
    disks = [small_disk(96) for _ in range(3)]
    cluster = make_cluster(3, **SMALL)
    for node, disk in zip(cluster.nodes, disks):
        node.settings["node.data_dir"] = str(disk.folder / "data")
    cluster.start()
    load = cluster.load(pause=PAUSE)
    for _ in rounds(1):
        load.acknowledged_after(time.monotonic())
        leader = cluster.leader()
        full = leader if whose == "leader" else cluster.others(leader)[0]
        disk = disks[cluster.number(full)]
        disk.fill()
        # It has room prepared; more than that must be written until it sees that the disk is full.
        flood(cluster.others(full)[0], 6 << 20)
        load.acknowledged_after(time.monotonic(), BACK_SECONDS)
        disk.empty()
        cluster.wait_until_ok()
        load.acknowledged_after(time.monotonic(), BACK_SECONDS)
    assert all(node.is_running for node in cluster.nodes)
    heal_and_judge(cluster, load, tmp_path)


def test_from_three_nodes_to_five_and_back(make_cluster, tmp_path):
    # No leader is lost here: a machine that is busy for a second must not look as if one were.
    patient = {"cluster__election_ms": 3_000, "cluster__patience_ms": 10_000}
    cluster = make_cluster(3, cluster__shards=4, **patient, **SMALL).start()
    load = cluster.load(pause=PAUSE)
    fill(cluster.nodes[0], 0, 5_000)
    for _ in rounds(1):
        for _ in range(2):
            cluster.add().spawn()
        cluster.wait_for(
            lambda status: cluster.is_ok(status) and len(status["nodes"]) == 5 and is_balanced(status, voters=3),
            "replicas and leaders are even over five nodes",
            seconds=90,
        )
        for leaving in cluster.nodes[-2:]:
            name = cluster.name(leaving)
            address = "%s:%d" % cluster.client_address(cluster.nodes[0])
            removed = run("node", "remove", name, "--address", address, cwd=tmp_path, timeout=90)
            assert removed.returncode == 0, removed.stderr
            wait_until(lambda: not leaving.is_running, "a node that was removed stops", 30)
            cluster.nodes.remove(leaving)
        cluster.wait_for(
            lambda status: cluster.is_ok(status) and len(status["nodes"]) == 3 and is_balanced(status, voters=3),
            "replicas and leaders are even over three nodes",
            seconds=60,
        )
    unexpected = {word: count for word, count in load.refusals.items() if word != "TRYAGAIN"}
    print(f"clients saw {load.refusals}")
    verify_filled(cluster.nodes[0], 5_000)
    load.judge(tmp_path)
    assert not unexpected, "clients see nothing but a few TRYAGAIN"


def is_balanced(status, voters):
    """Each shard has that many voters, and they and the leaders are even over the nodes, within one."""
    names = [node["name"] for node in status["nodes"]]
    replicas = dict.fromkeys(names, 0)
    leaders = dict.fromkeys(names, 0)
    for shard in status["shards"]:
        if shard["leader_name"] not in leaders or shard["learners"] or len(shard["voters"]) != voters:
            return False
        leaders[shard["leader_name"]] += 1
        for voter in shard["voters"]:
            replicas[voter["name"]] = replicas.get(voter["name"], 0) + 1
    return all(max(counts.values()) - min(counts.values()) <= 1 for counts in (replicas, leaders))


def test_a_signal_to_all_ends_all(make_cluster):
    # A stop of the whole cluster, in which there is nobody left to hand over to.
    cluster = make_cluster(3).start()
    for node in cluster.nodes:
        node.signal(signal.SIGTERM)
    for node in cluster.nodes:
        assert node.wait(20) == 0
    for node in cluster.nodes:
        cluster.restart(node)
    cluster.wait_until_ok()

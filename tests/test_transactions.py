"""Transactions as redis-py makes them: on one node, on three through any of them, and while the leader is killed."""

import threading

import pytest
import redis

from support.resp import Closed, Connection, ReplyError
from support.waiting import wait_until


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request, node):
    return node.client(protocol=request.param)


def test_a_pipeline_is_a_transaction(client):
    with client.pipeline(transaction=True) as pipeline:
        replies = pipeline.set("a", "1").incr("a").get("a").hset("h", "f", "v").hgetall("h").execute()
    assert replies == [True, 2, "2", 1, {"f": "v"}]
    with client.pipeline(transaction=True) as pipeline:
        pipeline.incr("a").incr("h").incr("a")
        replies = pipeline.execute(raise_on_error=False)
    assert (replies[0], replies[2]) == (3, 4)
    assert isinstance(replies[1], redis.ResponseError)
    with client.pipeline(transaction=True) as pipeline, pytest.raises(redis.ResponseError, match="unknown command"):
        pipeline.incr("a").execute_command("NOSUCHCOMMAND").execute()
    assert client.get("a") == "4"


def test_watched_keys(client):
    client.set("a", "1")
    with client.pipeline() as pipeline:
        pipeline.watch("a")
        assert pipeline.get("a") == "1"
        client.set("a", "2")
        pipeline.multi()
        pipeline.set("a", "3")
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    assert client.get("a") == "2"

    def double(pipeline):
        value = int(pipeline.get("a"))
        pipeline.multi()
        pipeline.set("a", value * 2)

    assert client.transaction(double, "a") == [True]
    assert client.get("a") == "4"
    client.set("short", "1", px=50)
    with client.pipeline() as pipeline:
        pipeline.watch("short")
        assert pipeline.get("short") == "1"
        wait_until(lambda: client.get("short") is None, "it expires")
        pipeline.multi()
        pipeline.set("short", "2")
        with pytest.raises(redis.WatchError):
            pipeline.execute()


def test_versions_outlive_a_restart(node):
    client = node.client()
    client.set("a", "1")
    client.delete("a")
    client.set("b", "1")
    node.kill()
    node.start()
    client = node.client()
    with client.pipeline() as pipeline:
        pipeline.watch("a", "b")
        pipeline.multi()
        pipeline.incr("a").incr("b")
        assert pipeline.execute() == [1, 2]


def test_counters_under_contention(make_cluster):
    cluster = make_cluster(3).start()
    clients, rounds = 6, 25
    failures = []

    def count(number):
        try:
            client = cluster.nodes[number % 3].client()
            for _ in range(rounds):

                def add(pipeline):
                    value = int(pipeline.get("counter") or 0)
                    pipeline.multi()
                    pipeline.set("counter", value + 1)
                    pipeline.incr("changes")

                client.transaction(add, "counter")
        except Exception as failure:  # noqa: BLE001
            failures.append(failure)

    threads = [threading.Thread(target=count, args=[number]) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    client = cluster.nodes[0].client()
    assert client.mget("counter", "changes") == [str(clients * rounds)] * 2


class Transfer(threading.Thread):
    """Adds 1 to two keys in one transaction, and reads both in another, through any node that answers."""

    def __init__(self, addresses, done):
        super().__init__(daemon=True)
        self.addresses, self.done = addresses, done
        self.acknowledged = self.sent = 0
        self.failure = None

    def run(self):
        turn = 0
        while not self.done.is_set():
            turn += 1
            try:
                connection = Connection(self.addresses[turn % len(self.addresses)], timeout=10)
            except OSError:
                continue
            try:
                self.work(connection)
            except (Closed, OSError, ReplyError):
                pass
            except AssertionError as failure:
                self.failure = failure
                return
            finally:
                connection.socket.close()

    def work(self, connection):
        while not self.done.is_set():
            for words in (["MULTI"], ["INCR", "one"], ["INCR", "other"]):
                connection.call(*words)
            self.sent += 1
            try:
                one, other = connection.call("EXEC")
                assert one == other, f"half of a transaction was run: {one}, {other}"
                self.acknowledged += 1
            except ReplyError as error:
                words = str(error).split()
                assert words[0] in ("UNCERTAIN", "CLUSTERDOWN", "TRYAGAIN"), error
                # What was certainly not run was not sent, as far as counting goes.
                self.sent -= words[0] != "UNCERTAIN"
            for words in (["MULTI"], ["GET", "one"], ["GET", "other"]):
                connection.call(*words)
            try:
                one, other = connection.call("EXEC")
                assert one == other, f"half of a transaction was seen: {one}, {other}"
            except ReplyError as error:
                assert str(error).split()[0] in ("UNCERTAIN", "CLUSTERDOWN", "TRYAGAIN"), error


def test_nothing_is_half_done_when_leaders_die(make_cluster):
    cluster = make_cluster(3).start()
    done = threading.Event()
    clients = [Transfer(cluster.addresses(), done) for _ in range(6)]
    for client in clients:
        client.start()
    for _ in range(3):
        before = sum(client.acknowledged for client in clients)
        wait_until(lambda: sum(client.acknowledged for client in clients) > before + 50, "transactions run", 30)
        leader = cluster.leader()
        leader.kill()
        before = sum(client.acknowledged for client in clients)
        wait_until(lambda: sum(client.acknowledged for client in clients) > before + 50, "they go on without it", 30)
        cluster.restart(leader)
        cluster.wait_until_ok()
    done.set()
    for client in clients:
        client.join(30)
    assert not [client.failure for client in clients if client.failure]
    acknowledged = sum(client.acknowledged for client in clients)
    sent = sum(client.sent for client in clients)
    one, other = cluster.nodes[0].client().mget("one", "other")
    assert one == other
    assert acknowledged <= int(one) <= sent

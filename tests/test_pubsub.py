"""Publish and subscribe over several nodes."""

import threading

from support.resp import command
from support.waiting import wait_until


def listener(node, *channels):
    """A connection in RESP2 that listens to channels, each confirmed."""
    connection = node.connect(timeout=30)
    connection.send(command("SUBSCRIBE", *channels))
    for count, channel in enumerate(channels, 1):
        assert connection.reply() == [b"subscribe", channel.encode(), count]
    return connection


def test_what_is_published_anywhere_reaches_all_who_listen(make_cluster):
    cluster = make_cluster(3).start()
    listeners = [listener(node, "news") for node in cluster.nodes]
    for number, node in enumerate(cluster.nodes):
        with node.connect() as publisher:
            # As soon as a subscription is confirmed, every node knows.
            assert publisher.call("PUBLISH", "news", f"from {number}") == 3
            assert publisher.call("PUBLISH", "other", "x") == 0
            assert publisher.call("PUBSUB", "CHANNELS") == [b"news"]
            assert publisher.call("PUBSUB", "NUMSUB", "news", "other") == [b"news", 3, b"other", 0]
    for connection in listeners:
        assert [connection.reply()[2] for _ in range(3)] == [b"from 0", b"from 1", b"from 2"]


def test_messages_of_one_publisher_keep_their_order(make_cluster):
    cluster = make_cluster(3).start()
    count = 20_000
    listeners = [listener(node, "numbers") for node in cluster.nodes]
    with cluster.nodes[1].connect(timeout=60) as publisher:
        reads = threading.Thread(target=lambda: [publisher.reply() for _ in range(count)])
        reads.start()
        publisher.send(b"".join(command("PUBLISH", "numbers", n) for n in range(count)))
        for connection in listeners:
            numbers = [int(connection.reply()[2]) for _ in range(count)]
            assert numbers == list(range(count))
        reads.join(60)
        assert not reads.is_alive()


def test_a_node_that_goes_away_is_not_waited_for(make_cluster):
    cluster = make_cluster(3).start()
    here, gone = cluster.nodes[0], cluster.nodes[2]
    kept = listener(here, "news")
    lost = listener(gone, "news")
    with here.connect() as publisher:
        assert publisher.call("PUBLISH", "news", "one") == 2
        gone.kill()
        wait_until(lambda: publisher.call("PUBLISH", "news", "two") == 1, "one is reached")
    assert lost.reply()[2] == b"one"
    assert [kept.reply()[2], kept.reply()[2]] == [b"one", b"two"]


def test_a_client_library_listens_on_one_node_and_publishes_on_another(make_cluster):
    cluster = make_cluster(3).start()
    for protocol in (2, 3):
        with cluster.nodes[0].client(protocol=protocol) as subscriber, cluster.nodes[2].client() as publisher:
            listening = subscriber.pubsub(ignore_subscribe_messages=False)
            listening.subscribe("a")
            listening.psubscribe("b*")
            kinds = [listening.get_message(timeout=10)["type"] for _ in range(2)]
            assert kinds == ["subscribe", "psubscribe"]
            assert publisher.publish("a", "one") == 1
            assert publisher.publish("bc", "two") == 1
            first, second = listening.get_message(timeout=10), listening.get_message(timeout=10)
            assert (first["type"], first["data"]) == ("message", "one")
            assert (second["type"], second["pattern"], second["channel"]) == ("pmessage", "b*", "bc")
            listening.unsubscribe()
            listening.punsubscribe()
            kinds = [listening.get_message(timeout=10)["type"] for _ in range(2)]
            assert kinds == ["unsubscribe", "punsubscribe"]
            # It is an ordinary connection again.
            assert publisher.publish("a", "three") == 0
            listening.close()


def test_a_subscriber_that_reads_nothing_is_cut_off(make_cluster):
    cluster = make_cluster(3, redis__pubsub_buffer_limit="1MiB").start()
    slow = listener(cluster.nodes[0], "flood")
    healthy = listener(cluster.nodes[0], "quiet")
    with cluster.nodes[1].connect() as publisher:

        def flooded():
            publisher.send(command("PUBLISH", "flood", "x" * 100_000) * 100)
            return 0 in [publisher.reply() for _ in range(100)]

        wait_until(flooded, "the slow one is cut off", 60)
        assert publisher.call("PUBLISH", "quiet", "still here") == 1
    assert healthy.reply()[2] == b"still here"
    assert "redis.pubsub_buffer_limit" in cluster.nodes[0].log_text(last=1000)
    slow.socket.close()

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


def events_on(node, *classes):
    """A connection to a node that listens to the keyspace events of its clients."""
    with node.connect() as connection:
        connection.call("CONFIG", "SET", "notify-keyspace-events", *classes)
    connection = node.connect(timeout=30)
    connection.call("PSUBSCRIBE", "__key*__:*")
    return connection


def test_what_keys_go_through_is_heard_on_every_node_once(make_cluster):
    # With four nodes, one has no replica.
    cluster = make_cluster(4).start()
    listeners = [events_on(node, "KEA") for node in cluster.nodes]
    calls = [
        (["SET", "a", "1", "PX", "60"], ["set", "expire"]),
        (["RPUSH", "list", "x"], ["rpush"]),
        (["MULTI"], []),
        (["HSET", "hash", "field", "value"], []),
        (["DEL", "hash"], []),
        (["EXEC"], ["hset", "del"]),
        (["LPOP", "list"], ["lpop", "del"]),
    ]
    for number, (words, _) in enumerate(calls):
        if number == 2:
            connection = cluster.nodes[3].connect()
        if number >= 2:
            connection.call(*words)
        else:
            with cluster.nodes[number].connect() as other:
                other.call(*words)
    expected = [event for _, events in calls for event in events] + ["expired"]
    for connection in listeners:
        heard = []
        while len(heard) < len(expected):
            _, _, channel, text = connection.reply()
            if channel.startswith(b"__keyspace@0__:"):
                heard.append(text.decode())
            else:
                assert channel == b"__keyevent@0__:" + heard[-1].encode()
        assert sorted(heard) == sorted(expected)
        assert [event for event in heard if event != "expired"] == expected[:-1]

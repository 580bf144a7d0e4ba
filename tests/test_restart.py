"""Stopping in order and starting again: what was stored is there, and damage to it is never served."""

import os
import signal
import struct
import time

import pytest

from support.resp import command
from support.waiting import wait_until


@pytest.mark.parametrize("fsync", ["always", "everysec", "never"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_stop_keeps_everything(make_node, fsync, number):
    node = make_node(storage__fsync=fsync).start()
    client = node.client()
    client.mset({f"key:{n}": n for n in range(1000)})
    client.set("expires", "x", ex=1000)
    client.set("gone", "x", px=1)
    client.set("deleted", "x")
    client.delete("deleted")
    node.client(db=3).set("key", "of another database")
    identity = node.info()["node_id"]
    node.signal(number)
    assert node.wait() == 0
    node.start()
    client = node.client()
    assert client.mget([f"key:{n}" for n in range(1000)]) == [str(n) for n in range(1000)]
    assert 900 < client.ttl("expires") <= 1000
    assert client.exists("gone", "deleted") == 0
    assert node.client(db=3).get("key") == "of another database"
    assert node.info()["node_id"] == identity
    assert node.info()["fsync"] == fsync


def test_a_second_signal_stops_at_once(make_node):
    node = make_node().start()
    node.signal(signal.SIGTERM)
    try:
        node.signal(signal.SIGTERM)
    except ProcessLookupError:
        pass
    # Which of both it was depends on how fast the orderly stop is.
    assert node.wait() in (0, 143)


def test_a_node_stops_although_clients_hold_on(make_node):
    node = make_node().start()
    held = [node.connect() for _ in range(50)]
    for connection in held:
        assert connection.call("PING") == "PONG"
    started = time.monotonic()
    assert node.stop() == 0
    assert time.monotonic() - started < 10
    for connection in held:
        connection.closed()


def test_a_node_that_says_ready_is(make_node):
    node = make_node()
    for number in range(20):
        node.start()
        with node.connect() as connection:
            assert connection.call("GET", "starts") == (str(number).encode() if number else None)
            assert connection.call("INCR", "starts") == number + 1
        node.kill()


def test_the_start_says_what_it_replayed(make_node):
    node = make_node().start()
    client = node.client()
    for number in range(100):
        client.set(f"key:{number}", number)
    node.kill()
    node.start()
    # The event gives the number of entries and the time.
    node.wait_for_event(lambda event: "replayed" in str(event), "what was replayed")


def test_old_log_goes_once_a_snapshot_holds_it(make_node):
    node = make_node(storage__segment_size="1MiB", storage__snapshot_every="1MiB").start()
    with node.connect() as connection:
        value = os.urandom(1000).hex()
        written = 0
        while written < 40 << 20:
            connection.send(b"".join(command("SET", f"key:{n}", value) for n in range(500)))
            assert {connection.reply() for _ in range(500)} == {"OK"}
            written += 500 * len(value)

    def size():
        return sum(path.stat().st_size for path in node.data.rglob("*") if path.is_file())

    wait_until(lambda: size() < 20 << 20, "old segments go")
    node.kill()
    node.start()
    assert node.client().dbsize() == 500
    assert node.client().get("key:499") == value


def segments(node):
    """The files of the log, the last one last."""
    return sorted((node.data / "log").glob("log-*.seg"))


def end_of_blocks(data):
    """Where the last block of a segment ends (the layout stands in crates/wal/src/block.rs and segment.rs)."""
    offset = 3 * 4096
    while data[offset : offset + 4] == b"pBlk":
        offset += 36 + struct.unpack_from("<I", data, offset + 32)[0]
    return offset


def filled(make_node):
    node = make_node(storage__segment_size="1MiB").start()
    with node.connect() as connection:
        for number in range(3000):
            connection.send(command("SET", f"key:{number}", "x" * 1000))
        assert all(connection.reply() == "OK" for _ in range(3000))
    node.kill()
    files = segments(node)
    assert files, f"no log in {list(node.data.rglob('*'))}"
    return node, files


def test_a_torn_tail_is_cut_and_said(make_node):
    node, files = filled(make_node)
    # Half of a block where the next one would stand, as a power cut leaves it.
    last = [file for file in files if end_of_blocks(file.read_bytes()) > 3 * 4096][-1]
    data = bytearray(last.read_bytes())
    (start,) = struct.unpack_from("<Q", data, 32)
    end = end_of_blocks(data)
    half = struct.pack("<4sIQQQI", b"pBlk", 0, start + end, start + end, 0, 1000) + b"half a record"
    data[end : end + len(half)] = half
    last.write_bytes(data)
    node.start()
    node.wait_for_text("torn")
    assert node.client().dbsize() == 3000
    assert node.stop() == 0
    node.start()
    assert node.client().dbsize() == 3000


def test_damage_elsewhere_stops_the_start_with_the_file(make_node):
    node, files = filled(make_node)
    assert len(files) > 1, files
    data = bytearray(files[0].read_bytes())
    data[len(data) // 2] ^= 0x10
    files[0].write_bytes(data)
    node.spawn()
    assert node.wait() == 1
    assert files[0].name in node.log_text() and "at byte" in node.log_text()

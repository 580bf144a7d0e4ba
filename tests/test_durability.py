"""Durability: under load, killed at a random moment, again and again, every acknowledged write is there."""

import os
import random
import threading
import time

import pytest

from support.resp import Closed, Connection, command
from support.waiting import wait_until

CLIENTS = 8
BATCH = 8
KILLS = int(os.environ.get("PICCOLO_KILLS", "50"))
SEED = int(os.environ.get("PICCOLO_SEED", str(random.randrange(1 << 32))))


class Writer(threading.Thread):
    """One client that writes until its node dies: a counter of its own, and keys that are written once.

    `acknowledged` and `sent` bound what the counter may be after the restart: not below what was acknowledged, and not
    above what was sent.
    """

    def __init__(self, address, name, counter, first):
        super().__init__(daemon=True)
        self.connection = Connection(address)
        self.name = name
        self.acknowledged = self.sent = counter
        self.first = self.next = first
        self.kept = first
        self.failure = None

    def run(self):
        try:
            while True:
                numbers = range(self.next, self.next + BATCH)
                self.sent += BATCH
                self.next += BATCH
                self.connection.send(
                    b"".join(command("INCR", self.name) + command("SET", f"{self.name}:{n}", f"v{n}") for n in numbers)
                )
                for number in numbers:
                    counted = self.connection.reply()
                    if counted != self.acknowledged + 1:
                        raise AssertionError(f"{self.name} counted {counted!r} after {self.acknowledged}")
                    self.acknowledged = counted
                    if (reply := self.connection.reply()) != "OK":
                        raise AssertionError(f"{self.name}:{number} got {reply!r}")
                    self.kept = number + 1
        except (Closed, OSError):
            pass
        except AssertionError as failure:
            self.failure = failure
        finally:
            self.connection.socket.close()


def verify(node, writers):
    """Every acknowledged write of these writers is there, and nothing that was not sent."""
    with node.connect() as connection:
        for writer in writers:
            counter = int(connection.call("GET", writer.name) or 0)
            assert writer.acknowledged <= counter <= writer.sent, (
                f"{writer.name} is {counter}: {writer.acknowledged} was acknowledged, {writer.sent} was sent"
            )
            names = [f"{writer.name}:{n}" for n in range(writer.first, writer.next)]
            values = connection.call("MGET", *names) if names else []
            for number, value in enumerate(values, writer.first):
                expected = b"v%d" % number
                if number < writer.kept:
                    assert value == expected, f"{writer.name}:{number} was acknowledged and is {value!r}"
                else:
                    assert value in (None, expected), f"{writer.name}:{number} is {value!r}"
            writer.acknowledged = counter
    return {writer.name: (writer.acknowledged, writer.next) for writer in writers}


def test_kill_9_under_load_keeps_every_acknowledged_write(make_node):
    chance = random.Random(SEED)
    print(f"PICCOLO_SEED={SEED} PICCOLO_KILLS={KILLS}")
    # Small segments and frequent snapshots, so that kills hit those as well.
    node = make_node(storage__segment_size="1MiB", storage__snapshot_every="1MiB").start()
    state = {f"writer{number}": (0, 0) for number in range(CLIENTS)}
    deadline = time.monotonic() + 200
    for kill in range(KILLS):
        assert time.monotonic() < deadline, f"only {kill} kills in 200 s"
        writers = [Writer(node.redis_address, name, *at) for name, at in state.items()]
        before = sum(writer.acknowledged for writer in writers)
        wanted = before + chance.randrange(1, 3000)
        for writer in writers:
            writer.start()
        enough = lambda: sum(w.acknowledged for w in writers) >= wanted or not all(w.is_alive() for w in writers)
        wait_until(enough, "writes are acknowledged", seconds=30, interval=0.0005)
        assert node.is_running, "it died before it was killed"
        node.kill()
        for writer in writers:
            writer.join(30)
            assert writer.failure is None, writer.failure
        node.start()
        state = verify(node, writers)
    everything = sum(counter for counter, _ in state.values())
    print(f"{KILLS} kills, {everything} writes of counters, all there")
    # Once more through an orderly stop, all of it.
    assert node.stop() == 0
    node.start()
    with node.connect() as connection:
        for name, (counter, following) in state.items():
            assert int(connection.call("GET", name) or 0) == counter
    assert everything > 0


@pytest.mark.parametrize("fsync", ["everysec", "never"])
def test_kill_9_loses_nothing_that_the_system_has(make_node, fsync):
    # The end of the process takes nothing that was acknowledged, whatever fsync is: only the end of the system would.
    node = make_node(storage__fsync=fsync).start()
    for round_number in range(3):
        writers = [Writer(node.redis_address, f"writer{round_number}:{n}", 0, 0) for n in range(CLIENTS)]
        for writer in writers:
            writer.start()
        wait_until(lambda: sum(writer.acknowledged for writer in writers) > 2000, "writes are acknowledged")
        node.kill()
        for writer in writers:
            writer.join(30)
            assert writer.failure is None, writer.failure
        node.start()
        verify(node, writers)

"""Bad input: the node stays up, its memory stays bounded, others are served."""

import contextlib
import os
import random
import socket
import struct
import threading
import time

import pytest

from support.resp import Connection, ReplyError, command
from support.waiting import wait_until

MIB = 1 << 20
STRINGS = int(os.environ.get("PICCOLO_RANDOM_STRINGS", "100000"))


@contextlib.contextmanager
def stays_up(node, memory=100 * MIB):
    """What is done meanwhile costs no more than that much memory, and others are served during it and after it."""
    before = node.memory
    peak, slowest, failures = [before], [0.0], []
    done = threading.Event()

    def watch():
        try:
            with node.connect() as connection:
                while not done.wait(0.02):
                    started = time.monotonic()
                    if connection.call("PING") != "PONG":
                        raise AssertionError("no answer to PING")
                    slowest[0] = max(slowest[0], time.monotonic() - started)
                    peak[0] = max(peak[0], node.memory)
        except Exception as failure:
            failures.append(failure)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join(30)
    assert not failures, failures
    assert node.is_running
    grown = max(peak[0], node.memory) - before
    print(f"memory grew by {grown / MIB:.1f} MiB at most; the slowest PING took {slowest[0] * 1000:.1f} ms")
    assert grown <= memory, f"memory grew by {grown / MIB:.1f} MiB"
    assert slowest[0] < 5
    with node.connect() as connection:
        assert connection.call("SET", "after", "all") == "OK"
        assert connection.call("GET", "after") == b"all"


def abort(connection):
    """Closes with a reset, so that a hundred thousand connections leave no ports waiting."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def random_string(chance):
    """Bytes of every kind: some with the looks of the protocol, so that they get further than the first byte."""
    length = chance.choice((1, 2, 7, 16, 64, 300, 2000))
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(length)
    if kind == 1:
        return bytes(chance.choices(b"*$+-:%~>_#,(=!0123456789\r\n ab", k=length))
    if kind == 2:
        return b"*%d\r\n$%d\r\n" % (chance.randrange(-2, 9), chance.randrange(-2, 70)) + chance.randbytes(length)
    return b"PICCOLO"[: chance.randrange(8)] + struct.pack("<I", chance.randrange(1 << 32)) + chance.randbytes(length)


def throw(address, count, seed):
    chance = random.Random(seed)
    for _ in range(count):
        connection = socket.create_connection(address, timeout=15)
        try:
            connection.sendall(random_string(chance))
            if chance.randrange(16) == 0:
                # Some wait for the answer, whatever it is; most do not.
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
        except ConnectionError:
            pass
        finally:
            abort(connection)


@pytest.mark.parametrize("listener", ["redis", "peer"])
def test_random_bytes(node, listener):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    address = node.bound(listener)
    with stays_up(node):
        threads = [threading.Thread(target=throw, args=(address, STRINGS // 4, seed + n)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    "data, message",
    [
        (b"*1\r\n$-2\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$9223372036854775808\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$629145600\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$18446744073709551616\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$x\r\n", "invalid bulk length"),
        (b"*9223372036854775808\r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
        (b"*1\r\n*1\r\n", "expected '$', got '*'"),
        (b"GET 'a\r\n", "unbalanced quotes in request"),
        (b"x" * 70_000, "too big inline request"),
        (b"*" + b"1" * 70_000, "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * 70_000, "too big bulk count string"),
    ],
)
def test_a_protocol_error_is_told_and_ends_the_connection(node, data, message):
    with stays_up(node, memory=20 * MIB), node.connect() as connection:
        connection.send(command("PING") + data)
        assert connection.closed() == b"+PONG\r\n-ERR Protocol error: " + message.encode() + b"\r\n"


def test_a_large_bulk_costs_what_was_sent_of_it(node):
    with stays_up(node, memory=64 * MIB):
        held = [node.connect() for _ in range(100)]
        for connection in held:
            connection.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nonly this")
        with node.connect() as connection:
            for _ in range(50):
                assert connection.call("PING") == "PONG"
        for connection in held:
            connection.socket.close()


def test_a_million_unterminated_arrays_in_one_connection(node):
    with stays_up(node), node.connect() as connection:
        try:
            connection.send(b"*1\r\n" * 1_000_000)
        except ConnectionError:
            pass
        answer = connection.closed()
        # The reset may overtake the message.
        assert answer in (b"", b"-ERR Protocol error: expected '$', got '*'\r\n")


def test_a_thousand_connections_with_unterminated_arrays_of_a_million(node):
    with stays_up(node):
        held = [node.connect() for _ in range(1000)]
        for connection in held:
            connection.send(b"*1048576\r\n$1\r\na\r\n")
        with node.connect() as connection:
            for _ in range(50):
                assert connection.call("PING") == "PONG"
        for connection in held:
            connection.socket.close()


@pytest.mark.parametrize("listener", ["redis", "peer"])
def test_a_thousand_connections_that_send_one_byte_and_wait(node, listener):
    address = node.bound(listener)
    with stays_up(node):
        held = []
        for _ in range(1000):
            connection = socket.create_connection(address, timeout=15)
            connection.sendall(b"*" if listener == "redis" else b"P")
            held.append(connection)
        started = time.monotonic()
        with node.connect() as connection:
            for number in range(200):
                assert connection.call("SET", f"key:{number}", "value") == "OK"
        assert time.monotonic() - started < 10
        for connection in held:
            abort(connection)


def test_a_client_that_never_reads_its_replies(make_node):
    node = make_node(redis__output_buffer_limit="8MiB").start()
    with node.connect() as connection:
        assert connection.call("SET", "large", b"x" * MIB) == "OK"
    with stays_up(node, memory=64 * MIB), node.connect() as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.socket.settimeout(2)
        data = command("GET", "large") * 1000
        try:
            for _ in range(50):
                connection.send(data)
        except (ConnectionError, TimeoutError):
            # Either is right: the node hung up, or it does not read on while nobody reads.
            pass


def test_many_clients_that_never_read_their_replies(make_node):
    node = make_node(redis__output_buffer_limit="1MiB").start()
    with node.connect() as connection:
        assert connection.call("SET", "large", b"x" * 65536) == "OK"
    with stays_up(node, memory=300 * MIB):
        held = []
        for _ in range(50):
            connection = node.connect(timeout=0.2)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            with contextlib.suppress(ConnectionError, TimeoutError):
                connection.send(command("GET", "large") * 2000)
            held.append(connection)
        for connection in held:
            connection.socket.close()


def test_a_query_beyond_its_limit_ends_the_connection(make_node):
    node = make_node(redis__query_buffer_limit="1MiB").start()
    with stays_up(node, memory=32 * MIB), node.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$104857600\r\n" + b"x" * (100 * MIB))
        connection.closed()
    assert node.client().exists("k") == 0


@pytest.mark.parametrize("first", [b"POST / HTTP/1.1\r\n", b"Host: localhost\r\n"])
def test_a_browser_is_hung_up_on(node, first):
    with stays_up(node), node.connect() as connection:
        connection.send(first + b"SET attacked yes\r\n")
        answer = connection.closed()
        assert b"+OK" not in answer
    assert node.client().exists("attacked") == 0


def test_before_authentication_little_is_read(make_node):
    node = make_node(redis__password="secret").start()
    for data, message in (
        (b"*2\r\n$3\r\nGET\r\n$16385\r\n", b"-ERR Protocol error: unauthenticated bulk length\r\n"),
        (b"*11\r\n", b"-ERR Protocol error: unauthenticated multibulk length\r\n"),
    ):
        with stays_up(node_with_password(node), memory=20 * MIB), node.connect(authenticate=False) as connection:
            connection.send(data)
            assert connection.closed() == message
    with stays_up(node_with_password(node), memory=20 * MIB), node.connect(authenticate=False) as connection:
        # Refusals are replies as well, and nobody reads them.
        connection.socket.settimeout(1)
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(100):
                connection.send(command("GET", "key") * 10_000)


class node_with_password:
    """The node, as those see it who know the password."""

    def __init__(self, node):
        self.node = node

    def __getattr__(self, name):
        return getattr(self.node, name)

    def connect(self):
        connection = self.node.connect()
        connection.call("AUTH", self.node.settings["redis.password"])
        return connection


def test_a_reset_in_the_middle_of_a_command_costs_that_connection_alone(node):
    with stays_up(node, memory=20 * MIB):
        for _ in range(200):
            connection = node.connect()
            connection.send(command("SET", "half", "x" * 10_000)[:5000])
            abort(connection.socket)
    assert node.client().exists("half") == 0


def test_errors_of_one_command_leave_the_others_of_a_pipeline(node):
    with node.connect() as connection:
        connection.send(command("SET", "a", 1) + command("NONSENSE") + command("GET") + command("INCR", "a"))
        replies = [connection.reply() for _ in range(4)]
    assert replies[0] == "OK" and replies[3] == 2
    assert all(isinstance(reply, ReplyError) for reply in replies[1:3])


def test_frames_of_peers_that_lie_about_their_length(node):
    with stays_up(node, memory=20 * MIB):
        for length in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            for order in ("<I", ">I"):
                with Connection(node.peer_address) as connection:
                    with contextlib.suppress(ConnectionError):
                        connection.send(struct.pack(order, length) * 100)
                    connection.socket.settimeout(10)
                    connection.closed()
    wait_until(lambda: node.info()["nodes_known"] == "1", "nobody was taken for a peer")

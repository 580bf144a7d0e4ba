"""The harness itself: that a network has the faults that it is told to have, and that a history is judged rightly."""

import json
import subprocess
import sys

import pytest

from support import history
from support.node import Node
from support.resp import ReplyError

RECEIVE = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 9)); s.settimeout(0.3); print('ready', flush=True)
try: s.recv(9); print('heard')
except TimeoutError: print('silence')
"""
SEND = "import socket, sys; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', (sys.argv[1], 9))"


def hears(hosts, listener, speaker):
    """Whether a datagram from one host reaches the other."""
    receiver = subprocess.Popen(
        [*hosts.enter(listener), sys.executable, "-c", RECEIVE], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    assert receiver.stdout.readline() == "ready\n"
    subprocess.run([*hosts.enter(speaker), sys.executable, "-c", SEND, hosts.address(listener)], check=True)
    return receiver.communicate(timeout=10)[0].strip() == "heard"


def test_a_network_has_the_faults_that_it_is_told_to_have(network_of):
    hosts = network_of(3)

    def heard():
        return [(a, b) for a in range(3) for b in range(3) if a != b and hears(hosts, b, a)]

    everything = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert heard() == everything
    hosts.partition([0], [1, 2])
    assert heard() == [(1, 2), (2, 1)]
    hosts.one_way(0, [1])
    assert heard() == [pair for pair in everything if pair != (0, 1)]
    hosts.heal()
    hosts.slow(0, "2mbit")
    hosts.fast(0)
    assert heard() == everything


def call(client, op, called, returned=None, answer=None, value=None, outcome=None):
    line = {"client": client, "key": "k", "op": op, "called_us": called, "outcome": outcome or "answered"}
    line |= {} if value is None else {"value": value}
    return line | ({} if returned is None else {"returned_us": returned, "answer": answer})


FINE = [
    call(1, "set", 10, 20, "ok", value=1),
    call(2, "set", 15, value=2, outcome="unknown"),
    call(1, "get", 30, 40, {"value": "1"}),
    call(3, "get", 50, 60, {"value": "2"}),
    call(3, "set", 70, value=3, outcome="not_taken"),
]


@pytest.mark.parametrize(
    "wrong",
    [
        call(1, "get", 80, 90, {"value": "1"}),
        call(1, "get", 80, 90, "nil"),
        call(1, "get", 80, 90, {"value": "3"}),
        call(1, "incr", 80, 90, {"number": 2}),
    ],
    ids=["stale", "lost", "of a refused write", "from a stale value"],
)
def test_a_history_is_judged(tmp_path, wrong):
    path = tmp_path / "history.jsonl"
    history.write(path, FINE)
    history.judge(path)
    history.write(path, [*FINE, wrong])
    with pytest.raises(AssertionError, match="not linearizable"):
        history.judge(path)


def test_a_load_writes_down_what_it_was_told(node, tmp_path):
    load = history.Load(lambda: [node.redis_address], clients=4, pause=0.0).start()
    load.acknowledged_after(0)
    load.run_for(0.5)
    load.judge(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "history-k.jsonl").read_text().splitlines()]
    assert {line["outcome"] for line in lines} == {"answered"}
    assert {line["op"] for line in lines} == set(history.WORDS)
    with node.connect() as connection:
        for key in load.called:
            last = [line for line in lines if line["key"] == key][-1]
            value = connection.call("GET", key)
            assert last["answer"] == ("nil" if value is None else {"value": value.decode()})


def test_a_load_goes_on_where_it_is_answered(make_node, tmp_path):
    node = make_node(redis__bind_port=0).start()
    other: Node = make_node().start()
    addresses = [node.redis_address, other.redis_address]
    other.kill()
    load = history.Load(lambda: addresses, clients=3).start()
    moment = load.acknowledged_after(0)
    node.kill()
    node.start()
    assert load.acknowledged_after(moment) > moment
    load.judge(tmp_path)
    assert "unknown" in {call["outcome"] for call in load.calls}


def test_a_reply_that_no_operation_can_get_fails_the_load():
    with pytest.raises(AssertionError):
        history.answer_of(ReplyError("WRONGTYPE"))

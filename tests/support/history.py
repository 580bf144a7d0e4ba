"""Clients that drive a cluster and write down what they did and were told, and the judgement of that.

A client has one operation under way, on whatever node it is connected to; when it gets no answer it connects to another
node, chosen at random, and goes on. It never sends anything twice. What an operation came to is one of three things:

- `answered`: there is a reply, and it says what happened;
- `not_taken`: a refusal that promises that nothing happened, now or later;
- `unknown`: it may have happened, or may still.

A history is judged by `cargo xtask check-history`, whose documentation has the format of the file: each key must look as
if there were one copy of it that does one thing at a time. That also finds acknowledged writes that were lost, because
at the end every key is read once more.
"""

import json
import os
import random
import subprocess
import threading
import time
from pathlib import Path

from .resp import Closed, Connection, ReplyError
from .waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
NOT_TAKEN = ("CLUSTERDOWN", "TRYAGAIN", "BUSY", "MISCONF", "LOADING")
"""The words with which a refusal starts that promises that nothing happened."""
UNKNOWN = ("UNCERTAIN",)
ANSWER_SECONDS = 8.0
"""A client that waits longer for a reply takes it as lost; a node gives up its patience long before."""
CONNECT_SECONDS = 0.5
CALLS_PER_KEY = 150
"""Then another key is taken in its place: judging a key takes time in the square of its calls."""


def mix(**parts):
    return [op for op, count in parts.items() for _ in range(count)]


EVERYTHING = mix(get=8, set=6, incr=2, append=2, getset=1, setnx=1, **{"del": 1})
READS_AND_WRITES = mix(get=1, set=1)

WORDS = {
    "get": lambda key, _: ("GET", key),
    "set": lambda key, value: ("SET", key, value),
    "setnx": lambda key, value: ("SET", key, value, "NX"),
    "getset": lambda key, value: ("GETSET", key, value),
    "append": lambda key, value: ("APPEND", key, value),
    "incr": lambda key, _: ("INCR", key),
    "del": lambda key, _: ("DEL", key),
}
WITH_VALUE = ("set", "setnx", "getset", "append")


def answer_of(reply):
    if reply == "OK":
        return "ok"
    if reply is None:
        return "nil"
    if isinstance(reply, int):
        return {"number": reply}
    if isinstance(reply, bytes):
        return {"value": reply.decode()}
    if isinstance(reply, ReplyError) and str(reply).startswith("ERR "):
        return "refused"
    raise AssertionError(f"no reply to an operation of a history: {reply!r}")


class Load:
    """Some clients at work on a cluster, from `start` to `finish`."""

    def __init__(self, addresses, clients=8, keys=6, ops=None, pause=0.002, seed=None, password=None, name="k"):
        self.addresses = addresses
        """Gives the addresses of the nodes to choose from, each time that one is chosen."""
        self.seed = random.randrange(1 << 32) if seed is None else seed
        self.ops = ops or EVERYTHING
        self.pause, self.password = pause, password
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.active = [f"{name}:{number}" for number in range(keys)]
        self.name, self.made = name, keys
        self.called = dict.fromkeys(self.active, 0)
        self.values = 0
        self.calls = []
        self.writes = []
        """(called, acknowledged) of each write that was acknowledged, in seconds of the monotonic clock."""
        self.failures = []
        self.refusals = {}
        self.clients = [Client(self, number) for number in range(clients)]
        print(f"load {name}: seed {self.seed}")

    def start(self):
        for client in self.clients:
            client.start()
        return self

    def pick(self, chance):
        """A key, and a value that no other operation has."""
        with self.lock:
            place = chance.randrange(len(self.active))
            key = self.active[place]
            self.called[key] += 1
            self.values += 1
            if self.called[key] >= CALLS_PER_KEY:
                self.active[place] = f"{self.name}:{self.made}"
                self.called[self.active[place]] = 0
                self.made += 1
            return key, self.values

    def note(self, call):
        with self.lock:
            self.calls.append(call)
            if call["outcome"] == "answered" and call["op"] != "get":
                self.writes.append((call["called_us"] / 1e6, call["returned_us"] / 1e6))

    def note_refusal(self, word):
        with self.lock:
            self.refusals[word] = self.refusals.get(word, 0) + 1

    def check_alive(self):
        assert not self.failures, self.failures[0]
        assert all(client.is_alive() for client in self.clients), "a client ended"

    def acknowledged_after(self, moment, seconds=30):
        """Waits for the acknowledgement of a write that was called after that moment, and gives when that was."""

        def look():
            self.check_alive()
            with self.lock:
                recent = self.writes[-4096:]
            return min((returned for called, returned in recent if called >= moment), default=None)

        return wait_until(look, "a write is acknowledged", seconds, interval=0.002)

    def run_for(self, seconds):
        """Lets it work for that long; at once if a client fails."""
        until = time.monotonic() + seconds

        def look():
            self.check_alive()
            return time.monotonic() >= until

        wait_until(look, "the load goes on", seconds + 5, interval=0.02)

    def longest_gap(self, after=0.0, before=float("inf")):
        """The longest time between two acknowledgements of writes, in seconds."""
        with self.lock:
            times = sorted(returned for _, returned in self.writes if after <= returned <= before)
        return max((late - early for early, late in zip(times, times[1:])), default=float("inf"))

    def finish(self):
        """Ends the clients and reads every key once more."""
        self.stopping.set()
        for client in self.clients:
            client.join(ANSWER_SECONDS + 10)
            assert not client.is_alive(), "a client hangs"
        assert not self.failures, self.failures[0]
        reader = Client(self, len(self.clients))
        for key in self.called:
            wait_until(lambda: reader.call("get", key, 0) == "answered", f"{key} is read at the end", 30)
        reader.close()
        outcomes = [call["outcome"] for call in self.calls]
        counts = {outcome: outcomes.count(outcome) for outcome in ("answered", "not_taken", "unknown")}
        print(f"load {self.name}: {len(outcomes)} calls on {len(self.called)} keys: {counts}, refusals {self.refusals}")
        return self

    def judge(self, folder):
        """Ends the clients if they are still at work, and has the history judged."""
        if not self.stopping.is_set():
            self.finish()
        path = Path(folder) / f"history-{self.name}.jsonl"
        write(path, self.calls)
        judge(path)


class Client(threading.Thread):
    """One client."""

    def __init__(self, load, number):
        super().__init__(daemon=True, name=f"client {number}")
        self.load, self.number = load, number
        self.chance = random.Random(load.seed * 1_000_003 + number)
        self.connection = None

    def run(self):
        try:
            while not self.load.stopping.wait(self.load.pause):
                key, value = self.load.pick(self.chance)
                self.call(self.chance.choice(self.load.ops), key, value)
        except Exception as failure:  # It fails the test, in `check_alive`.
            self.load.failures.append(failure)
        finally:
            self.close()

    def close(self):
        if self.connection is not None:
            self.connection.socket.close()
            self.connection = None

    def connect(self):
        """A connection to some node, or none when that one cannot be reached now."""
        addresses = list(self.load.addresses())
        try:
            connection = Connection(self.chance.choice(addresses), CONNECT_SECONDS)
        except OSError:
            self.load.stopping.wait(0.005)
            return None
        connection.socket.settimeout(ANSWER_SECONDS)
        if self.load.password is not None:
            try:
                connection.call("AUTH", self.load.password)
            except (Closed, OSError):
                connection.socket.close()
                return None
        return connection

    def call(self, op, key, value):
        """One operation, as soon as there is a connection. Gives its outcome; none when told to stop before that."""
        while self.connection is None:
            self.connection = self.connect()
            if self.connection is None and self.load.stopping.is_set() and threading.current_thread() is self:
                return None
        call = {"client": self.number, "key": key, "op": op}
        if op in WITH_VALUE:
            call["value"] = value
        call["called_us"] = time.monotonic_ns() // 1000
        try:
            reply = self.ask(*WORDS[op](key, value))
        except (Closed, OSError):
            # What was under way may have happened.
            self.close()
            call["outcome"] = "unknown"
        else:
            returned = time.monotonic_ns() // 1000 + 1
            word = str(reply).split(" ")[0] if isinstance(reply, ReplyError) else None
            if word in NOT_TAKEN:
                call["outcome"] = "not_taken"
            elif word in UNKNOWN:
                call["outcome"] = "unknown"
            else:
                call |= {"outcome": "answered", "returned_us": returned, "answer": answer_of(reply)}
            if word is not None and word != "ERR":
                self.load.note_refusal(word)
        self.load.note(call)
        return call["outcome"]

    def ask(self, *words):
        try:
            return self.connection.call(*words)
        except ReplyError as error:
            return error


def write(path, calls):
    with open(path, "w") as file:
        for call in calls:
            file.write(json.dumps(call) + "\n")


def checker():
    """The words that run the checker: what PICCOLO_CHECKER names, else by way of cargo."""
    program = os.environ.get("PICCOLO_CHECKER")
    return [program] if program else ["cargo", "xtask", "check-history"]


def judge(path):
    """Fails with what the checker says unless the history can have come from one copy."""
    ended = subprocess.run(
        [*checker(), str(path)], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, f"{path}:\n{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}"
    print(ended.stdout.strip())

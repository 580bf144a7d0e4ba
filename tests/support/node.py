"""Real nodes: the binary that PICCOLO_BIN names, on free ports, with a folder of their own, ended by pid."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .resp import Connection
from .waiting import SECONDS, wait_until

ROOT = Path(__file__).resolve().parents[2]


def binary():
    path = Path(os.environ.get("PICCOLO_BIN", ROOT / "target/release/piccolo"))
    assert path.exists(), f"{path} is not there: run cargo xtask test, or cargo build --release and set PICCOLO_BIN"
    return path


def environment(**more):
    """The environment without what would change a log or a test."""
    kept = {name: value for name, value in os.environ.items() if name not in ("RUST_LOG", "NO_COLOR")}
    return {**kept, **more}


def free_port(count=1):
    """A port that is free on loopback, with the next `count - 1` ones. Below those that the system gives to clients."""
    while True:
        first = random.randrange(20_000, 32_000)
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
                    probe.listen(1)
            return first
        except OSError:
            continue


def options(settings):
    """Settings as --set options; TOML and JSON agree on what is used here."""
    return [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]


def run(*arguments, cwd, env=None, timeout=30):
    """Runs the binary to its end."""
    return subprocess.run(
        [binary(), *map(str, arguments)],
        cwd=cwd,
        env=env if env is not None else environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def address_of(text):
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


class Node:
    """One node. Its settings stay over a restart, and so do the ports that it was given."""

    def __init__(self, folder, **settings):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        peer_port = free_port()
        self.settings = {
            "node.data_dir": str(self.folder / "data"),
            "discovery.hosts": [f"127.0.0.1:{peer_port}"],
            "discovery.bind_port": peer_port,
            "redis.bind_port": 0,
            "log.format": "json",
            **{key.replace("__", "."): value for key, value in settings.items()},
        }
        self.enter = []
        """The words before the binary, such as those that run it in a network namespace."""
        self.process = None
        self.starts = 0
        self.events = []

    # Starting and stopping.

    def spawn(self, *arguments, **env):
        """Starts the process and returns at once."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        self.starts += 1
        self.events, self.unread, self.read_to = [], b"", 0
        self.log_path = self.folder / f"log-{self.starts}"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*self.enter, binary(), *options(self.settings), *arguments],
                cwd=self.folder,
                env=environment(**env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        return self

    def start(self, *arguments, **env):
        """Starts the process and waits until it serves clients."""
        self.spawn(*arguments, **env)
        self.wait_until_ready()
        # A node that starts again must have the same address for clients.
        self.settings["redis.bind_port"] = self.redis_address[1]
        return self

    def wait_until_ready(self, seconds=SECONDS):
        self.wait_for_event(lambda event: event["message"].startswith("ready to serve"), "the node is ready", seconds)

    def signal(self, number):
        os.kill(self.process.pid, number)

    def wait(self, seconds=SECONDS):
        """The exit code, once it has ended; negative for the signal that ended it."""
        return self.process.wait(seconds)

    def stop(self):
        """Asks it to stop, and gives the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        """Ends it as a crash would."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def pause(self):
        """From now on it does nothing, as on a machine that hangs."""
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def wipe(self):
        """Its disk is lost. It does not run."""
        assert not self.is_running
        shutil.rmtree(self.settings["node.data_dir"])

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    # What it says.

    def log(self):
        """Every event so far, in order."""
        with open(self.log_path, "rb") as file:
            file.seek(self.read_to)
            new = file.read()
        self.read_to += len(new)
        *lines, self.unread = (self.unread + new).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"level": "RAW", "message": line.decode(errors="replace")}
            event.setdefault("message", "")
            self.events.append(event)
        return self.events

    def wait_for_event(self, wanted, what, seconds=SECONDS, after=0):
        """The first event from the index `after` on for which `wanted` is true."""

        def look():
            found = next((event for event in self.log()[after:] if wanted(event)), None)
            if found is None and not self.is_running:
                raise AssertionError(f"{what}: the node ended with {self.process.returncode}\n{self.log_text()}")
            return found

        return wait_until(look, what, seconds)

    def wait_for_text(self, text, seconds=SECONDS, after=0):
        """The first event that holds the text, in its message or a field."""
        return self.wait_for_event(lambda event: text in json.dumps(event), f"an event with {text!r}", seconds, after)

    def log_text(self, last=60):
        """The last lines of its log, as they are."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-last:])

    def bound(self, listener):
        event = self.wait_for_event(
            lambda event: event["message"] == "bound" and event.get("listener") == listener, f"{listener} is bound"
        )
        return address_of(event["address"])

    @property
    def redis_address(self):
        return self.bound("redis")

    @property
    def peer_address(self):
        return self.bound("peer")

    @property
    def data(self):
        """The folder of its files."""
        return Path(self.settings["node.data_dir"]) / f"node-{self.peer_address[1]}"

    @property
    def memory(self):
        """Bytes that are resident."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS: the node has ended")

    # Talking to it.

    @property
    def password(self):
        return self.settings.get("redis.password")

    def connect(self, timeout=15.0, authenticate=True):
        connection = Connection(self.redis_address, timeout)
        if authenticate and self.password is not None:
            connection.call("AUTH", self.password)
        return connection

    def client(self, **options):
        """A redis-py client that never tries again behind the test's back."""
        host, port = self.redis_address
        defaults = {"protocol": 3, "socket_timeout": 15.0, "retry": Retry(NoBackoff(), 0), "decode_responses": True}
        defaults["password"] = self.password
        return redis.Redis(host=host, port=port, **{**defaults, **options})

    def info(self):
        """`INFO piccolo` by name."""
        with self.connect() as connection:
            return self.parse_info(connection.call("INFO", "piccolo"))

    @staticmethod
    def parse_info(text):
        head, *lines = text.decode().split("\r\n")
        assert head == "# Piccolo", head
        return dict(line.split(":", 1) for line in lines if line)

    def peers(self):
        """The peers of `INFO piccolo`, each as a dict, in their order."""
        info = self.info()
        names = sorted(
            (name for name in info if name.startswith("peer") and name[4:].isdigit()), key=lambda n: int(n[4:])
        )
        return [dict(field.split("=", 1) for field in info[name].split(",")) for name in names]

"""Several nodes that form one cluster, and what can be done to them."""

import json
import signal
import time

from .history import Load
from .node import free_port
from .resp import Closed, ReplyError
from .waiting import wait_until

FORMING_SECONDS = 30.0
PASSWORD = "of the test"


class Cluster:
    """Nodes `n1`, `n2`, ... that have the same list of hosts: all of them are founders, unless told otherwise.

    Each has an address for peers and one for clients that stay over restarts. With a `network.Network`, each node is on
    a host of it, and asks clients for a password, because they are not on its machine.
    """

    def __init__(self, make_node, size, hosts=None, founders=None, **settings):
        self.make_node, self.hosts = make_node, hosts
        self.settings = settings
        self.nodes = []
        self.founders = size if founders is None else founders
        for _ in range(size):
            self.add()
        listed = [self.peer_address(number) for number in range(self.founders)]
        for node in self.nodes:
            node.settings["discovery.hosts"] = listed

    def add(self):
        """One more node, not yet started. It knows the founders."""
        number = len(self.nodes)
        node = self.make_node(**self.settings)
        node.settings["node.name"] = f"n{number + 1}"
        if self.hosts is None:
            node.settings["redis.bind_port"] = free_port()
        else:
            address = self.hosts.address(number)
            node.enter = self.hosts.enter(number)
            node.settings |= {
                "discovery.bind_host": address,
                "discovery.bind_port": 19919,
                "redis.bind_host": address,
                "redis.bind_port": 6379,
                "redis.password": PASSWORD,
            }
        if self.nodes:
            node.settings["discovery.hosts"] = self.nodes[0].settings["discovery.hosts"]
        self.nodes.append(node)
        return node

    def peer_address(self, number):
        settings = self.nodes[number].settings
        return f"{settings.get('discovery.bind_host', '127.0.0.1')}:{settings['discovery.bind_port']}"

    def client_address(self, node):
        return node.settings.get("redis.bind_host", "127.0.0.1"), node.settings["redis.bind_port"]

    def addresses(self):
        """Where clients try to connect, whether the nodes run or not."""
        return [self.client_address(node) for node in self.nodes]

    # What it is told.

    def start(self):
        for node in self.nodes:
            node.spawn()
        return self.wait_until_ok()

    def named(self, name):
        return next(node for node in self.nodes if node.settings["node.name"] == name)

    @staticmethod
    def name(node):
        return node.settings["node.name"]

    def number(self, node):
        return self.nodes.index(node)

    def others(self, *these):
        return [node for node in self.nodes if node not in these]

    def running(self):
        return [node for node in self.nodes if node.is_running]

    def load(self, **options):
        """Clients at work on all nodes, already started."""
        password = None if self.hosts is None else PASSWORD
        return Load(self.addresses, password=password, **options).start()

    # What it says.

    def status(self, node=None):
        """The answer to PICCOLO STATUS of that node, or of any that answers; none if none does."""
        for asked in [node] if node is not None else self.running():
            try:
                with asked.connect(timeout=2.0) as connection:
                    return json.loads(connection.call("PICCOLO", "STATUS"))
            except (Closed, OSError, ReplyError):
                continue
        return None

    def wait_for(self, holds, what, seconds=FORMING_SECONDS, node=None):
        """Waits until `holds` is true of the status, and gives that status."""
        last = None

        def look():
            nonlocal last
            for ended in (node for node in self.nodes if node.process is not None and node.process.poll() not in (None, 0, -9)):
                raise AssertionError(f"{what}: {self.name(ended)} ended with {ended.process.returncode}\n{ended.log_text()}")
            last = self.status(node)
            return last is not None and holds(last)

        try:
            wait_until(look, what, seconds, interval=0.02)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(last, indent=1)}") from None
        return last

    def wait_until_ok(self, seconds=FORMING_SECONDS):
        """Waits until every node that runs says that all is well, and that all of them are alive."""
        for node in self.running():
            self.wait_for(self.is_ok, f"{self.name(node)} says that the cluster is ok", seconds, node)
        return self

    def is_ok(self, status):
        alive = {node["name"] for node in status["nodes"] if node["alive"]}
        return status["cluster"]["state"] == "ok" and alive >= {self.name(node) for node in self.running()}

    def leader_of(self, status, shard=0):
        name = leader_name(status, shard)
        return None if name is None else self.named(name)

    def leader(self, shard=0, among=None, seconds=FORMING_SECONDS):
        """The node that leads a shard, as soon as one of `among` (all that run) says that one of them does."""
        among = self.running() if among is None else among

        def look():
            for node in among:
                status = self.status(node)
                leader = status and self.leader_of(status, shard)
                if leader in among:
                    return leader
            return None

        return wait_until(look, f"shard {shard} has a leader", seconds, interval=0.02)

    def wait_until_caught_up(self, seconds=FORMING_SECONDS):
        """Waits until every replica has all that its leader has."""
        return self.wait_for(
            lambda status: self.is_ok(status) and all(lag == 0 for shard in status["shards"] for lag in lags(shard).values()),
            "every replica has caught up",
            seconds,
        )

    # What can be done to it.

    def restart(self, node):
        """Starts a node that ended; it may take a while until it serves."""
        node.spawn()
        return node

    def stop(self, node, seconds=20):
        """Asks a node to stop, and gives how long that took."""
        start = time.monotonic()
        node.signal(signal.SIGTERM)
        assert node.wait(seconds) == 0, node.log_text()
        return time.monotonic() - start


def names(status):
    return {node["id"]: node["name"] for node in status["nodes"]}


def shard_of(status, shard):
    return next(each for each in status["shards"] if each["shard"] == shard)


def leader_name(status, shard=0):
    """The name of the node that leads a shard, or none."""
    leader = shard_of(status, shard)["leader"]
    return names(status).get(leader, leader)


def voters(shard, status):
    return sorted(names(status).get(each["node"], each["node"]) for each in shard["voters"])


def lags(shard):
    """By how many entries each replica is behind; one of which nothing is known counts as far behind."""
    return {each["node"]: each.get("lag", 1 << 60) for each in shard["voters"] + shard["learners"]}

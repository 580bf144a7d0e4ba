"""A network of its own for a few nodes, with faults: namespaces, a bridge, nftables and tc. Root alone may make one.

Each node has a namespace with one interface, `eth0`, on a bridge in a namespace of its own, which also has a cable to
this process. Every namespace is held by a process that ends when this one does, however that ends; so nothing is left
behind. Rules are kept in the namespaces of the nodes: what one of them does not let in. Clients are never cut off.
"""

import json
import os
import random
import shutil
import subprocess


def missing():
    """Why there can be no network of its own here, or None."""
    if os.geteuid() != 0:
        return "it takes root to make network namespaces"
    for program in ("unshare", "nsenter", "ip", "nft", "tc"):
        if shutil.which(program) is None:
            return f"the program {program} is not here"
    probe = subprocess.run(["unshare", "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if probe.returncode != 0:
        return f"no network namespaces here: {probe.stderr.strip()}"
    return None


def run(*words, feed=None):
    ended = subprocess.run([*map(str, words)], input=feed or "", capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, f"{' '.join(map(str, words))}: {ended.stderr.strip()}"
    return ended.stdout


class Namespace:
    """A network namespace, there as long as its holder reads from this process."""

    def __init__(self):
        self.holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "echo; read nothing"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.holder.stdout.readline() == b"\n", "unshare -n gives no namespace"
        self.enter = ["nsenter", "-t", str(self.holder.pid), "-n"]

    def run(self, *words, feed=None):
        return run(*self.enter, *words, feed=feed)

    def close(self):
        self.holder.stdin.close()
        self.holder.wait()
        self.holder.stdout.close()


class Network:
    """A bridge with a host for each node. The first host is 0."""

    def __init__(self, hosts):
        self.namespaces = []
        # Both are tried anew where another network has them already.
        self.number = random.randrange(1 << 16)
        self.prefix = f"10.{200 + self.number % 50}.{self.number >> 8}"
        self.cable = f"pic{self.number:04x}"
        try:
            self.hub = self.namespace()
            self.hub.run("ip", "link", "add", "hub", "type", "bridge")
            self.hub.run("ip", "link", "set", "hub", "up")
            # A cable from this process to the bridge; it goes with the namespace of its other end.
            run("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "clients", "netns", self.hub.holder.pid)
            self.hub.run("ip", "link", "set", "clients", "master", "hub", "up")
            run("ip", "address", "add", f"{self.prefix}.1/24", "dev", self.cable)
            run("ip", "link", "set", self.cable, "up")
            self.hosts = [self.host(number) for number in range(hosts)]
        except BaseException:
            self.close()
            raise

    def namespace(self):
        namespace = Namespace()
        self.namespaces.append(namespace)
        return namespace

    def host(self, number):
        host = self.namespace()
        pid = self.hub.holder.pid
        host.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", f"node{number}", "netns", pid)
        self.hub.run("ip", "link", "set", f"node{number}", "master", "hub", "up")
        host.run("ip", "link", "set", "lo", "up")
        host.run("ip", "address", "add", f"{self.address(number)}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        chain = "add table inet faults\nadd chain inet faults in { type filter hook input priority 0; }\n"
        host.run("nft", "-f", "-", feed=chain)
        return host

    def address(self, number):
        return f"{self.prefix}.{10 + number}"

    def enter(self, number):
        """The words that run a program on that host."""
        return self.hosts[number].enter

    def deaf(self, number, to):
        """From now on this host hears none of those in `to`, and only those are not heard."""
        rules = "".join(f"add rule inet faults in ip saddr {self.address(other)} drop\n" for other in to)
        self.hosts[number].run("nft", "-f", "-", feed=f"flush chain inet faults in\n{rules}")

    def partition(self, *sides):
        """Hosts of different sides do not hear each other; those of one side do."""
        for side in sides:
            for number in side:
                self.deaf(number, [other for others in sides if others is not side for other in others])

    def one_way(self, speaker, listeners):
        """What the speaker says does not reach the listeners; it hears all of them."""
        for number in range(len(self.hosts)):
            self.deaf(number, [speaker] if number in listeners else [])

    def heal(self):
        for number in range(len(self.hosts)):
            self.deaf(number, [])

    def slow(self, number, rate):
        """What this host sends goes out no faster than that, such as `2mbit`."""
        self.hosts[number].run(
            "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", rate, "burst", "32kbit", "latency", "400ms"
        )

    def fast(self, number):
        qdiscs = json.loads(self.hosts[number].run("tc", "-j", "qdisc", "show", "dev", "eth0"))
        if any(qdisc["kind"] == "tbf" for qdisc in qdiscs):
            self.hosts[number].run("tc", "qdisc", "del", "dev", "eth0", "root")

    def close(self):
        """Takes it down, the hub last."""
        for namespace in reversed(self.namespaces):
            namespace.close()
        self.namespaces.clear()

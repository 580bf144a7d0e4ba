"""Fixtures, a bound on each test, and results in the form that `cargo xtask test` reads."""

import faulthandler
import os
import resource
import signal

import pytest

from support import disk, network
from support.cluster import Cluster
from support.node import Node

TEST_SECONDS = 240 + 2 * float(os.environ.get("PICCOLO_CHAOS_SECONDS", "0"))
"""No test takes longer; one that hangs fails and says where."""


def pytest_configure():
    faulthandler.enable()
    # A thousand connections to a node are a thousand files here.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture(autouse=True)
def bounded():
    def expired(*_):
        raise TimeoutError(f"the test took longer than {TEST_SECONDS} s")

    signal.signal(signal.SIGALRM, expired)
    signal.alarm(int(TEST_SECONDS))
    yield
    signal.alarm(0)


@pytest.fixture
def make_node(tmp_path):
    """Makes nodes that are not started yet; whatever still runs at the end of the test is killed by its pid."""
    nodes = []

    def make(**settings):
        node = Node(tmp_path / f"node{len(nodes) + 1}", **settings)
        nodes.append(node)
        return node

    yield make
    for number, node in enumerate(nodes, 1):
        node.kill()
        if node.process is not None:
            print(f"--- the log of node {number} ends with")
            print(node.log_text())


@pytest.fixture
def node(make_node):
    """A node that serves."""
    return make_node().start()


@pytest.fixture
def network_of():
    """Makes networks of that many hosts; the test is skipped by name where there can be none."""
    networks = []

    def make(hosts):
        if reason := network.missing():
            pytest.skip(reason)
        networks.append(network.Network(hosts))
        return networks[-1]

    yield make
    for made in networks:
        made.close()


@pytest.fixture
def small_disk(tmp_path):
    """Makes a disk of that many MiB; the test is skipped by name where there can be none."""
    disks = []

    def make(mib):
        if reason := disk.missing():
            pytest.skip(reason)
        disks.append(disk.SmallDisk(tmp_path / f"disk{len(disks) + 1}", mib))
        return disks[-1]

    yield make
    for made in disks:
        made.close()


@pytest.fixture
def make_cluster(network_of, small_disk, make_node):
    """Makes clusters that are not started yet. Their nodes end before their networks and disks do."""
    return lambda *args, **settings: Cluster(make_node, *args, **settings)


@pytest.fixture
def tool():
    """The path of a program of Redis; the test is skipped by name where it is not there."""

    def find(variable):
        path = os.environ.get(variable)
        if not path:
            pytest.skip(f"{variable} is not set: the program is not to be had here")
        return path

    return find


results = {}


def pytest_runtest_logreport(report):
    if report.failed:
        results[report.nodeid] = ("FAILED", "")
    elif report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        results.setdefault(report.nodeid, ("SKIPPED", reason.removeprefix("Skipped: ")))
    elif report.when == "call":
        results.setdefault(report.nodeid, ("PASSED", ""))


def pytest_terminal_summary(terminalreporter):
    terminalreporter.ensure_newline()
    for name, (result, reason) in results.items():
        name = name.removeprefix("tests/")
        terminalreporter.write_line(f"{result} tests/{name}" + (f": {reason}" if reason else ""))

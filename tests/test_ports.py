"""Ports: a taken one is passed over, and the same command may be started many times."""

import socket

from support.node import free_port, options, run


def occupy(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1)
    return listener


def test_a_taken_client_port_is_passed_over(make_node):
    first = free_port(count=3)
    with occupy(first), occupy(first + 1):
        node = make_node(redis__bind_port=first).start()
        assert node.redis_address == ("127.0.0.1", first + 2)
        errors = [event for event in node.log() if event["level"] == "ERROR"]
        assert len(errors) == 2, errors
        for port, event in zip((first, first + 1), errors):
            assert str(port) in event["message"], "the line names the port"
        assert node.connect().call("PING") == "PONG"
        assert node.info()["redis_address"] == f"127.0.0.1:{first + 2}"


def test_a_taken_peer_port_is_passed_over_and_names_the_folder(make_node):
    first = free_port(count=2)
    with occupy(first):
        node = make_node(discovery__bind_port=first, discovery__hosts=[f"127.0.0.1:{first + 1}"]).start()
        assert node.peer_address == ("127.0.0.1", first + 1)
        assert node.data.name == f"node-{first + 1}" and node.data.is_dir()
        assert node.info()["peer_address"] == f"127.0.0.1:{first + 1}"


def test_port_zero_takes_any(make_node):
    node = make_node(discovery__bind_port=0).spawn()
    assert node.peer_address[1] != 0 and node.redis_address[1] != 0


def test_when_no_port_is_left_the_node_says_so(make_node, tmp_path):
    with occupy(65535):
        result = run(*options({"redis.bind_port": 65535, "discovery.bind_port": 0}), cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert "65535" in result.stderr and "redis.bind_port" in result.stderr


def test_the_same_command_three_times_in_one_folder(make_node, tmp_path):
    peer, client = free_port(count=3), free_port(count=3)
    settings = {
        "node__data_dir": str(tmp_path / "shared"),
        "discovery__bind_port": peer,
        "discovery__hosts": [f"127.0.0.1:{peer}"],
        "redis__bind_port": client,
    }
    first = make_node(**settings).start()
    others = [make_node(**settings).spawn() for _ in range(2)]
    nodes = [first, *others]
    assert sorted(node.peer_address[1] for node in nodes) == [peer, peer + 1, peer + 2]
    assert sorted(node.redis_address[1] for node in nodes) == [client, client + 1, client + 2]
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == [f"node-{peer + i}" for i in range(3)]
    ids = {node.info()["node_id"] for node in nodes}
    assert len(ids) == 3

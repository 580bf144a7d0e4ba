"""The command line and the configuration: exit codes, places, and what is expected."""

import json
import os
import signal
import socket
import subprocess

import pytest

from support.node import binary, environment, free_port, options, run
from support.waiting import wait_until


def refused(result, *texts):
    """It was refused as usage or configuration, and standard error holds each text."""
    assert result.returncode == 2, result.stderr
    for text in texts:
        assert text in result.stderr, result.stderr
    return result.stderr


def write(folder, text, name="config.toml"):
    path = folder / name
    path.write_text(text)
    return path


def test_version_and_help(tmp_path):
    version = run("--version", cwd=tmp_path)
    assert (version.returncode, version.stdout.split()[0]) == (0, "piccolo")
    help_text = run("--help", cwd=tmp_path)
    assert help_text.returncode == 0
    for text in (
        "--config",
        "--set",
        "--check",
        "--threads",
        "bench",
        "Exit codes",
        "redis-cli",
        "SIGTERM",
        "RUST_LOG",
    ):
        assert text in help_text.stdout, text


@pytest.mark.parametrize(
    "arguments", [["--confg", "x"], ["stop"], ["--config"], ["--threads", "0"], ["--threads", "many"]]
)
def test_a_wrong_command_line_is_a_usage_error(tmp_path, arguments):
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.strip(), "it says why"


def test_the_defaults_are_in_order(tmp_path):
    for arguments in (["--check"], ["start", "--check"]):
        result = run(*arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == [], "a check leaves nothing behind"


def test_the_file_of_the_working_directory_is_read(tmp_path):
    write(tmp_path, "[redis]\nbind_port = 70000\n")
    refused(run("--check", cwd=tmp_path), "config.toml:2:13: redis.bind_port: ", "70000", "expected a port")
    refused(run(cwd=tmp_path), "config.toml:2:13: ")


def test_an_explicit_file_goes_before_that_of_the_working_directory(tmp_path):
    write(tmp_path, "nonsense")
    good = write(tmp_path, "redis.bind_port = 7000", "good.toml")
    assert run("--config", good, "--check", cwd=tmp_path).returncode == 0


def test_a_missing_explicit_file_is_an_error(tmp_path):
    refused(run("--config", "nowhere.toml", "--check", cwd=tmp_path), "nowhere.toml: ", "no such file")


def test_unreadable_files_are_told_apart(tmp_path):
    refused(run("--config", tmp_path, "--check", cwd=tmp_path), str(tmp_path), "cannot be read")
    path = tmp_path / "bytes.toml"
    path.write_bytes(b"[node]\nname = '\xff'\n")
    refused(run("--config", path, "--check", cwd=tmp_path), "bytes.toml:2:9: ", "UTF-8")


@pytest.mark.parametrize(
    "text, place, expected",
    [
        ("[redis]\nbind_prot = 1", "2:1", "did you mean `redis.bind_port`"),
        ("[rediss]\nx = 1", "1:2", "unknown key `rediss`"),
        ("[redis]\nbind_port = 'x'", "2:13", "expected a port"),
        ("[redis]\nbind_port = ", "2:13", "expected"),
        ("[redis]\nbind_port 1", "2:11", "expected `=`"),
        ("[redis]\n[redis]", "2:2", "duplicate key"),
        ("[discovery]\nhosts = ['a:1',\n 'b']", "3:2", "has no port"),
        ("discovery.hosts = []", "1:19", "expected at least one host"),
        ("discovery.hosts = ['a:1', 'a:1']", "1:19", "stands twice"),
        ("storage.segment_size = '64MB'", "1:24", "expected a size such as"),
        ("storage.segment_size = '2GiB'", "1:24", "expected a size from 1MiB to 1GiB"),
        ("storage.fsync = 'sometimes'", "1:17", "expected one of `always`, `everysec`, `never`"),
        ("cluster.shards = 1025", "1:18", "expected a number from 1 to 1024"),
        ("cluster.replicas = 2", "1:20", "expected 1, 3, 5 or 7"),
        ("cluster.election_ms = 200", "1:23", "expected an election timeout of at least 3 heartbeats"),
        ("log.level = 'loud'", "1:13", "expected one of `error`, `warn`, `info`, `debug`, `trace`"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, text, place, expected):
    write(tmp_path, text, "c.toml")
    refused(run("--config", "c.toml", "--check", cwd=tmp_path), f"c.toml:{place}: ", expected)


def test_contradictions_are_told_all_at_once(tmp_path):
    write(tmp_path, "cluster.shards = 0\ncluster.replicas = 2\n")
    error = refused(run("--check", cwd=tmp_path), "cluster.shards", "cluster.replicas")
    assert len(error.strip().splitlines()) == 2


def test_options_go_over_the_file(tmp_path):
    write(tmp_path, "cluster.shards = 0")
    refused(run("--check", cwd=tmp_path), "config.toml:1:18")
    assert run("--check", "--set", "cluster.shards=4", cwd=tmp_path).returncode == 0
    refused(
        run("--check", "--set", "cluster.shards=4", "--set", "cluster.shards=2000", cwd=tmp_path),
        "--set cluster.shards=2000: ",
    )


def test_an_unknown_option_names_the_nearest(tmp_path):
    refused(
        run("--set", "discovery.bind_prot=1", "--check", cwd=tmp_path),
        "--set discovery.bind_prot=1: unknown key `discovery.bind_prot`, did you mean `discovery.bind_port`?",
    )
    refused(run("--set", "redis", "--check", cwd=tmp_path), "expected KEY=VALUE")


def test_a_password_is_in_no_message(tmp_path):
    write(tmp_path, "[redis]\npassword = 31337\n")
    assert "31337" not in refused(run("--check", cwd=tmp_path), "config.toml:2:12: redis.password")
    assert "31337" not in refused(run("--set", "redis.password=[31337]", cwd=tmp_path.parent), "redis.password")


def test_a_log_filter_that_makes_no_sense_is_refused(tmp_path):
    refused(
        run("--set", "redis.bind_port=0", cwd=tmp_path, env=environment(RUST_LOG="peer=loud")), "RUST_LOG=peer=loud"
    )


def test_an_address_of_another_machine_stops_the_node(tmp_path):
    # 192.0.2.0/24 is kept for documentation (RFC 5737).
    for key in ("redis.bind_host", "discovery.bind_host"):
        ports = {"redis.bind_port": 0, "discovery.bind_port": 0}
        result = run(*options({**ports, key: "192.0.2.1"}), cwd=tmp_path)
        assert result.returncode == 1, result.stderr
        assert "192.0.2.1" in result.stderr and key in result.stderr, result.stderr


def test_a_folder_that_cannot_be_made_stops_the_node(tmp_path):
    write(tmp_path, "", "taken")
    ports = {"redis.bind_port": 0, "discovery.bind_port": 0}
    result = run(*options({**ports, "node.data_dir": str(tmp_path / "taken")}), cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert str(tmp_path / "taken") in result.stderr


def test_a_folder_is_locked_against_a_second_process(node, tmp_path):
    settings = {**node.settings, "discovery.bind_host": "127.0.0.2", "redis.bind_port": 0}
    result = run(*options(settings), cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert str(node.data) in result.stdout + result.stderr
    assert "in use" in result.stdout + result.stderr
    assert node.connect().call("PING") == "PONG"


def test_the_log_is_text_or_json_and_the_environment_sets_its_level(make_node):
    node = make_node().start()
    for line in node.log_text(last=1000).splitlines():
        event = json.loads(line)
        assert {"timestamp", "level", "target", "message"} <= event.keys(), line
    text = make_node(log__format="text").spawn()
    text.wait_for_text("ready to serve")
    with pytest.raises(ValueError):
        json.loads(text.log_text().splitlines()[0])
    assert "\x1b" not in text.log_text(), "no colours where there is no terminal"
    port = free_port()
    quiet = make_node(redis__bind_port=port).spawn(RUST_LOG="error")
    wait_until(lambda: accepts(port), "the node that says nothing is up")
    assert quiet.log_text() == ""


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except OSError:
        return False


def test_it_needs_no_environment_and_no_standard_streams(tmp_path):
    port = free_port()
    settings = {"discovery.bind_port": port, "discovery.hosts": [f"127.0.0.1:{port}"], "redis.bind_port": free_port()}
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", binary(), *options(settings)], cwd=tmp_path, env={}
    )
    try:

        def answers():
            assert process.poll() is None, "it ended"
            try:
                with socket.create_connection(("127.0.0.1", settings["redis.bind_port"]), timeout=5) as client:
                    client.sendall(b"PING\r\n")
                    return client.recv(100) == b"+PONG\r\n"
            except OSError:
                return False

        wait_until(answers, "it serves")
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()

"""The store as real clients use it: redis-py in both protocols, redis-cli, redis-benchmark."""

import subprocess
import threading

import pytest
import redis

from support.resp import ReplyError, command
from support.waiting import wait_until


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request, node):
    return node.client(protocol=request.param)


def test_strings(client):
    assert client.set("key", "value") is True
    assert client.get("key") == "value"
    assert client.get("none") is None
    assert client.set("key", "other", nx=True) is None
    assert client.set("key", "other", xx=True, get=True) == "value"
    assert client.append("key", "wise") == 9
    assert client.strlen("key") == 9
    assert client.getrange("key", 5, -1) == "wise"
    assert client.setrange("key", 0, "O") == 9
    assert client.getdel("key") == "Otherwise"
    assert client.exists("key") == 0
    assert client.mset({"a": "1", "b": "2", "c": ""}) is True
    assert client.mget("a", "b", "c", "d") == ["1", "2", "", None]
    assert client.msetnx({"a": "9", "e": "9"}) is False
    assert client.exists("a", "e") == 1


def test_binary_is_kept_as_it_is(node):
    client = node.client(decode_responses=False)
    key, value = bytes(range(256)), bytes(reversed(range(256))) * 100
    client.set(key, value)
    assert client.get(key) == value
    assert client.keys() == [key]


def test_counters(client):
    assert client.incr("n") == 1
    assert client.incrby("n", 41) == 42
    assert client.decr("n") == 41
    assert client.decrby("n", 41) == 0
    assert float(client.incrbyfloat("f", 1.5)) == 1.5
    client.set("n", 2**63 - 1)
    with pytest.raises(redis.ResponseError, match="overflow"):
        client.incr("n")
    client.set("s", "abc")
    with pytest.raises(redis.ResponseError, match="not an integer"):
        client.incr("s")
    assert client.get("s") == "abc"


def test_expiry(client):
    client.set("key", "value", px=60_000)
    assert 0 < client.pttl("key") <= 60_000
    assert client.persist("key") is True
    assert client.ttl("key") == -1
    assert client.ttl("none") == -2
    client.set("short", "value", px=30)
    wait_until(lambda: client.get("short") is None, "it expires")
    assert client.expire("key", 100) is True
    assert client.expire("key", 50, gt=True) is False
    assert client.expire("key", 50, lt=True) is True
    assert client.expiretime("key") > 1_700_000_000
    assert client.expire("key", -1) is True
    assert client.exists("key") == 0


def test_keys(client):
    client.mset({f"user:{n}": n for n in range(1000)})
    client.set("other", "x")
    assert client.dbsize() == 1001
    assert sorted(client.scan_iter(match="user:*", count=100)) == sorted(f"user:{n}" for n in range(1000))
    assert len(client.keys("user:99?")) == 10
    assert client.randomkey() is not None
    assert client.type("other") == "string"
    client.rename("other", "renamed")
    assert client.copy("renamed", "copied") is True
    assert client.mget("renamed", "copied") == ["x", "x"]
    assert client.delete("renamed", "copied", "none") == 2
    assert client.unlink("user:1", "user:2") == 2
    assert client.touch("user:3", "user:4") == 2
    assert client.flushall() is True
    assert client.dbsize() == 0


def test_databases_are_apart(node):
    first, second = node.client(db=0), node.client(db=5)
    first.set("key", "0")
    second.set("key", "5")
    assert (first.get("key"), second.get("key")) == ("0", "5")
    second.flushdb()
    assert (first.get("key"), second.get("key")) == ("0", None)
    with node.connect() as connection, pytest.raises(ReplyError, match="^ERR DB index is out of range"):
        connection.call("SELECT", 16)


def test_pipelines_keep_their_order(client):
    pipeline = client.pipeline(transaction=False)
    for number in range(10_000):
        pipeline.set(f"key:{number % 100}", number)
        pipeline.get(f"key:{number % 100}")
    replies = pipeline.execute()
    assert replies[0::2] == [True] * 10_000
    assert replies[1::2] == [str(number) for number in range(10_000)]


def test_many_clients_count_to_the_same_sum(node):
    def count():
        client = node.client()
        for _ in range(50):
            pipeline = client.pipeline(transaction=False)
            for _ in range(20):
                pipeline.incr("sum")
            pipeline.execute()

    threads = [threading.Thread(target=count) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert node.client().get("sum") == str(16 * 50 * 20)


def test_large_values(node):
    client = node.client(decode_responses=False)
    value = bytes(1 << 20) * 20
    client.set("large", value)
    assert client.get("large") == value
    assert client.strlen("large") == len(value)
    assert client.append("large", b"tail") == len(value) + 4


def test_inline_commands(node):
    with node.connect() as connection:
        connection.send(b"PING\r\nSET key \"a b\"\nGET key\r\n\r\nECHO 'it\\'s'\r\n")
        assert [connection.reply() for _ in range(4)] == ["PONG", "OK", b"a b", b"it's"]


def test_a_command_may_come_in_pieces(node):
    with node.connect() as connection:
        data = command("SET", "key", "value") + command("GET", "key")
        for index in range(len(data)):
            connection.send(data[index : index + 1])
        assert [connection.reply(), connection.reply()] == ["OK", b"value"]


def test_hello_changes_the_protocol(node):
    with node.connect() as connection:
        assert connection.call("GET", "none") is None
        greeting = connection.call("HELLO", 3)
        assert {"server", "version", "proto", "id", "mode", "role", "modules"} == greeting.keys()
        assert (greeting["proto"], greeting["mode"], greeting["role"]) == (3, b"standalone", b"master")
        connection.send(command("GET", "none"))
        assert connection.line() == b"_"
        with pytest.raises(ReplyError, match="^NOPROTO "):
            connection.call("HELLO", 4)
        greeting = connection.call("HELLO", 2)
        assert isinstance(greeting, list) and greeting[greeting.index(b"proto") + 1] == 2


def test_a_password_is_asked_for(make_node):
    node = make_node(redis__password="a long secret").start()
    with node.connect(authenticate=False) as connection:
        with pytest.raises(ReplyError, match="^NOAUTH "):
            connection.call("GET", "key")
        with pytest.raises(ReplyError, match="^WRONGPASS "):
            connection.call("AUTH", "guess")
        assert connection.call("AUTH", "a long secret") == "OK"
        assert connection.call("SET", "key", "value") == "OK"
    for protocol in (2, 3):
        assert node.client(password="a long secret", protocol=protocol).get("key") == "value"
    with pytest.raises(redis.AuthenticationError):
        node.client(password="guess").get("key")
    assert "a long secret" not in node.log_text(last=10_000)


def test_more_clients_than_allowed_are_told_so(make_node):
    node = make_node(redis__max_clients=3).start()
    address = node.redis_address
    held = [node.connect() for _ in range(3)]
    assert [connection.call("PING") for connection in held] == ["PONG"] * 3
    with node.connect() as one_more:
        assert one_more.closed() == b"-ERR max number of clients reached\r\n"
    held.pop().socket.close()

    def accepted():
        with node.connect() as connection:
            try:
                return connection.call("PING") == "PONG"
            except Exception:
                return False

    wait_until(accepted, "a place is free again")
    assert address == node.redis_address


def test_info_is_what_tools_expect(client):
    info = client.info()
    assert info["redis_version"].startswith("7.2.")
    assert info["redis_mode"] == "standalone"
    assert info["role"] == "master"
    assert info["server_name"] == "piccolo"
    assert len(info["run_id"]) == 40
    assert info["connected_clients"] >= 1
    assert info["used_memory"] > 0
    client.set("key", "value", ex=100)
    assert client.info("keyspace")["db0"]["keys"] == 1
    assert client.info("keyspace")["db0"]["expires"] == 1


def test_the_connection_commands(client):
    assert client.ping() is True
    assert client.echo("text") == "text"
    assert client.client_setname("me") is True
    assert client.client_getname() == "me"
    assert client.client_id() > 0
    assert any(entry["name"] == "me" for entry in client.client_list())
    assert client.config_get("maxclients") == {"maxclients": "10000"}
    assert client.command_count() > 50
    assert client.time()[0] > 1_700_000_000
    with pytest.raises(redis.ResponseError, match="unknown subcommand"):
        client.execute_command("CLIENT", "NONSENSE")
    with pytest.raises(redis.ResponseError, match="unknown command"):
        client.execute_command("NONSENSE")
    with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
        client.execute_command("GET")


def test_redis_cli(node, tool):
    program = tool("PICCOLO_REDIS_CLI")
    port = str(node.redis_address[1])

    def cli(*words, stdin=""):
        result = subprocess.run([program, "-p", port, *words], input=stdin, capture_output=True, text=True, timeout=30)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    assert cli("ping") == "PONG"
    assert cli("set", "greeting", "hello") == "OK"
    assert cli("-3", "get", "greeting") == "hello"
    assert cli("incr", "n") == "1"
    assert cli("--scan").split() in (["greeting", "n"], ["n", "greeting"])
    assert "piccolo_version" in cli("info", "piccolo")
    assert "summary" in cli("command", "docs", "get")
    load = "".join(f"SET key:{number} {number}\r\n" for number in range(1000))
    assert "errors: 0, replies: 1000" in cli("--pipe", stdin=load)
    assert cli("dbsize") == "1002"
    assert cli(stdin="set a 1\nget a\n").split() == ["OK", "1"]
    assert "Biggest string" in cli("--bigkeys")


def test_redis_benchmark(node, tool):
    program = tool("PICCOLO_REDIS_BENCHMARK")
    words = ["-p", str(node.redis_address[1]), "-t", "get,set,incr,mset", "-P", "16", "-n", "20000", "--csv"]
    result = subprocess.run([program, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "ERR" not in result.stdout + result.stderr
    for name in ("GET", "SET", "INCR", "MSET"):
        assert f'"{name}' in result.stdout, result.stdout

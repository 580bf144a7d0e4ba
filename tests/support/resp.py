"""RESP by hand, for what a client library would not send or would not show."""

import socket


class Closed(Exception):
    """The node closed the connection."""


class ReplyError(Exception):
    """An error reply, with its prefix."""


def command(*words):
    """The words as a RESP command."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Connection:
    """A connection to a node. Replies are str for simple strings, bytes, int, None, list, dict, or a ReplyError."""

    def __init__(self, address, timeout=15.0):
        self.socket = socket.create_connection(address, timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def call(self, *words):
        """Sends a command and gives its reply; raises ReplyError for an error."""
        self.send(command(*words))
        reply = self.reply()
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def reply(self):
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return ReplyError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self.exactly(length + 2)[:-2]
        if kind in b"*~>":
            length = int(rest)
            return None if length < 0 else [self.reply() for _ in range(length)]
        if kind == b"%":
            return {self.key(self.reply()): self.reply() for _ in range(int(rest))}
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind == b"=":
            return self.exactly(int(rest) + 2)[4:-2]
        raise AssertionError(f"no reply starts like {line[:40]!r}")

    @staticmethod
    def key(value):
        return value.decode() if isinstance(value, bytes) else value

    def line(self):
        while b"\r\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def exactly(self, length):
        parts, missing = [self.buffer], length - len(self.buffer)
        while missing > 0:
            self.buffer = b""
            self.fill()
            parts.append(self.buffer)
            missing -= len(self.buffer)
        data = b"".join(parts)
        self.buffer = data[length:]
        return data[:length]

    def fill(self):
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionError as error:
            raise Closed() from error
        if not data:
            raise Closed()
        self.buffer += data

    def closed(self):
        """Reads whatever still comes, to the end: raises TimeoutError if the node does not close. Gives what came."""
        received = self.buffer
        self.buffer = b""
        while True:
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionError:
                return received
            if not data:
                return received
            received += data

"""Conversations in HTTP/1 and HTTP/2, octet by octet, and a server that takes its part in them."""

import socket
import threading

from harness import Server, connect, echo, receive_exactly

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS, ACKNOWLEDGE = 1, 4, 1
GET, POST, OK, NOT_FOUND = b"\x82", b"\x83", b"\x88", b"\x8d"
HTTPS_AND_PATH = b"\x86\x84"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def field(name, value, kept=False):
    """A header that is written in full; one that is kept can be named by its place later."""
    name, value = name.encode(), value.encode()
    return (b"\x40" if kept else b"\x00") + bytes((len(name),)) + name + bytes((len(value),)) + value


class ScriptedServer(Server):
    """Takes part in the next script of its list; without one it echoes."""

    def __init__(self):
        self.scripts, self.lock = [], threading.Lock()
        super().__init__(self._handle)

    def _handle(self, connection):
        # One that was made to see whether the service is there is closed at once, and has no part in a script.
        if self._is_closed(connection):
            return None
        with self.lock:
            script = self.scripts.pop(0) if self.scripts else None
        if script is None:
            return echo(connection)
        for is_client, data in script:
            if not is_client:
                connection.sendall(data)
            elif receive_exactly(connection, len(data)) != data:
                connection.sendall(b"the server got other octets")
                return None
        while connection.recv(1 << 16):
            pass
        return None

    @staticmethod
    def _is_closed(connection):
        usual = connection.gettimeout()
        connection.settimeout(0.5)
        try:
            return connection.recv(1, socket.MSG_PEEK) == b""
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            connection.settimeout(usual)


class Conversation:
    """One connection through `port`. Steps are (from the client?, octets)."""

    def __init__(self, port, server, steps, wrap=None):
        with server.lock:
            server.scripts.append(steps)
        self.steps, self.early = steps, b""
        self.socket = connect(port)
        self.address = self.socket.getsockname()
        self.end = wrap(self.socket) if wrap else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def run(self):
        for is_client, data in self.steps:
            if is_client:
                self.socket.sendall(data) if self.end is None else self.end.send(data)
            else:
                got = self._receive(len(data))
                assert got == data, f"the client got {got[:200]!r}... instead of {data[:200]!r}..."
        return self

    def _receive(self, count):
        if self.end is None:
            return receive_exactly(self.socket, count)
        while len(self.early) < count and (piece := self.end.receive()):
            self.early += piece
        data, self.early = self.early[:count], self.early[count:]
        return data


def talk(port, server, steps, wrap=None):
    with Conversation(port, server, steps, wrap) as conversation:
        conversation.run()
        return conversation.address


# What passes, by name: steps, and what is on record of each request in the order of their beginnings.
HTTP1 = {
    "one after the other": ([
        (True, b"GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7, 192.0.2.8\r\n\r\n"),
        (False, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        (True, b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"),
        (False, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")], [
            {"protocol": "HTTP/1.1", "method": "GET", "result": "200", "reason": "OK", "octets": 0,
             "octets_reverse": 5, "source_host": "192.0.2.7"},
            {"protocol": "HTTP/1.1", "method": "POST", "result": "503", "reason": "Service Unavailable", "octets": 4,
             "octets_reverse": 0}]),
    "all at once": ([
        (True, b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nHEAD /b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (False, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        (False, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")], [
            {"protocol": "HTTP/1.1", "method": "GET", "result": "200", "reason": "OK", "octets": 0,
             "octets_reverse": 2},
            {"protocol": "HTTP/1.1", "method": "HEAD", "result": "200", "reason": "OK", "octets": 0,
             "octets_reverse": 0}]),
    "in chunks, with a response in between": ([
        (True, b"PUT /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (False, b"HTTP/1.1 100 Continue\r\n\r\n"),
        (True, b"5\r\nabcde\r\n"), (True, b"a\r\n0123456789\r\n0\r\n\r\n"),
        (False, b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n" + b"z" * 16),
        (False, b"\r\n0\r\nDigest: x\r\n\r\n"),
        (True, b"DELETE /a HTTP/1.1\r\nHost: a\r\n\r\n"), (False, b"HTTP/1.1 204 No Content\r\n\r\n")], [
            {"protocol": "HTTP/1.1", "method": "PUT", "result": "201", "reason": "Created", "octets": 15,
             "octets_reverse": 16},
            {"protocol": "HTTP/1.1", "method": "DELETE", "result": "204", "reason": "No Content", "octets": 0,
             "octets_reverse": 0}]),
    "until the end": ([
        (True, b"GET /a HTTP/1.0\r\n\r\n"), (False, b"HTTP/1.0 200 Fine\r\n\r\n" + b"x" * 300_000)], [
            {"protocol": "HTTP/1.0", "method": "GET", "result": "200", "reason": "Fine", "octets": 0,
             "octets_reverse": 300_000}]),
}
HTTP2 = {
    "requests beside each other": ([
        (True, PREFACE + frame(SETTINGS, 0, 0)
         + frame(HEADERS, END_HEADERS | END_STREAM, 1, GET + HTTPS_AND_PATH + field("x-forwarded-for", "192.0.2.9"))
         + frame(HEADERS, END_HEADERS, 3, POST + HTTPS_AND_PATH + field("x-kept", "value", kept=True))),
        (False, frame(SETTINGS, 0, 0)),
        (True, frame(SETTINGS, ACKNOWLEDGE, 0) + frame(DATA, END_STREAM, 3, b"abc")),
        (False, frame(HEADERS, END_HEADERS, 3, OK) + frame(HEADERS, END_HEADERS, 1, OK)
         + frame(DATA, 0, 1, b"y" * 16_000) + frame(DATA, END_STREAM, 3, b"zz") + frame(DATA, END_STREAM, 1, b"y")),
        (True, frame(HEADERS, END_HEADERS | END_STREAM, 5, GET + HTTPS_AND_PATH + b"\xbe")),
        (False, frame(HEADERS, END_HEADERS | END_STREAM, 5, NOT_FOUND))], [
            {"protocol": "HTTP/2", "method": "GET", "result": "200", "octets": 0, "octets_reverse": 16_001,
             "stream": 1, "source_host": "192.0.2.9"},
            {"protocol": "HTTP/2", "method": "POST", "result": "200", "octets": 3, "octets_reverse": 2, "stream": 3},
            {"protocol": "HTTP/2", "method": "GET", "result": "404", "octets": 0, "stream": 5}]),
    "trailers": ([
        (True, PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, POST + HTTPS_AND_PATH)),
        (False, frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, OK) + frame(DATA, 0, 1, b"12345")),
        (True, frame(DATA, END_STREAM, 1, b"1234567")),
        (False, frame(HEADERS, END_HEADERS | END_STREAM, 1, field("grpc-status", "0")))], [
            {"protocol": "HTTP/2", "method": "POST", "result": "200", "octets": 7, "octets_reverse": 5, "stream": 1}]),
}
OTHER = {
    "no HTTP": ([(True, b"\x16\x03\x01\x02\x00\x01\x00\x01"), (False, b"\x16\x03\x03")], []),
    "the server speaks first": ([(False, b"220 mail\r\n"), (True, b"EHLO a\r\n"), (False, b"250 a\r\n")], []),
}

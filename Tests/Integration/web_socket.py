"""A WebSocket client (RFC 6455) that looks like a socket, and can also say what none should."""

import base64
import hashlib
import os
import socket
import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Refused(Exception):
    """The server's answer was not 101."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


class Closed(Exception):
    """The server has sent a close; None for one without a code."""

    def __init__(self, code):
        super().__init__(f"closed with {code}")
        self.code = code


def frame(opcode, payload=b"", final=True, mask=None, reserved=0):
    """`mask` b"" for none."""
    mask = os.urandom(4) if mask is None else mask
    length = len(payload)
    first, bit = opcode | (0x80 if final else 0) | reserved, 0x80 if mask else 0
    if length < 126:
        head = bytes([first, bit | length])
    elif length < 65536:
        head = bytes([first, bit | 126]) + struct.pack(">H", length)
    else:
        head = bytes([first, bit | 127]) + struct.pack(">Q", length)
    if mask:
        wide = (mask * (length // 4 + 1))[:length]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(wide, "big")).to_bytes(length, "big")
    return head + mask + payload


def request(protocols="amqp", path="/", key=None, **fields):
    key = key or base64.b64encode(os.urandom(16)).decode()
    wanted = {"Host": "x", "Upgrade": "websocket", "Connection": "keep-alive, Upgrade", "Sec-WebSocket-Version": "13",
              "Sec-WebSocket-Key": key, "Sec-WebSocket-Protocol": protocols,
              **{name.replace("_", "-"): value for name, value in fields.items()}}
    lines = [f"GET {path} HTTP/1.1"] + [f"{name}: {value}" for name, value in wanted.items() if value is not None]
    return key, ("\r\n".join(lines) + "\r\n\r\n").encode()


class WebSocket:
    """`sendall`, `recv` and `close` carry octets in binary frames of at most `cut` octets; several make a message."""

    def __init__(self, port, protocols="amqp", context=None, cut=None, timeout=20, **arguments):
        self.cut = cut
        self.raw = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.input = b""
        self.frames = []
        self.ended = False
        try:
            if context is not None:
                self.raw = context.wrap_socket(self.raw, server_hostname="127.0.0.1")
            key, octets = request(protocols, **arguments)
            self.raw.sendall(octets)
            self._read_answer(key)
        except BaseException:
            self.raw.close()
            raise

    def _read_answer(self, key):
        while b"\r\n\r\n" not in self.input:
            self._more()
        head, _, self.input = self.input.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        status = int(lines[0].split()[1])
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        if status != 101:
            while len(self.input) < int(fields.get("content-length", 0)):
                self._more()
            raise Refused(status, self.input.decode())
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        assert fields["sec-websocket-accept"] == base64.b64encode(digest).decode(), fields
        assert fields["upgrade"].lower() == "websocket" and fields["connection"].lower() == "upgrade", fields
        self.protocol = fields["sec-websocket-protocol"]

    def _more(self):
        octets = self.raw.recv(1 << 18)
        if not octets:
            raise ConnectionError("the server has closed the connection")
        self.input += octets

    def _take(self, count):
        while len(self.input) < count:
            self._more()
        octets, self.input = self.input[:count], self.input[count:]
        return octets

    def read_frame(self):
        """(opcode, payload) of the next frame, which must be as a server's are to be."""
        first, second = self._take(2)
        assert first & 0x70 == 0 and second & 0x80 == 0, (first, second)
        length = second & 0x7F
        if length == 126:
            length = struct.unpack(">H", self._take(2))[0]
            assert length >= 126
        elif length == 127:
            length = struct.unpack(">Q", self._take(8))[0]
            assert length >= 65536
        opcode = first & 0x0F
        assert first & 0x80 and (opcode < 8 or length <= 125), (opcode, length)
        return opcode, self._take(length)

    def send_raw(self, octets):
        self.raw.sendall(octets)

    def sendall(self, octets):
        if self.cut is None:
            return self.raw.sendall(frame(BINARY, octets))
        pieces = [octets[at:at + self.cut] for at in range(0, len(octets), self.cut)]
        self.raw.sendall(b"".join(
            frame(BINARY if at == 0 else CONTINUATION, piece, at == len(pieces) - 1) + frame(PING, b"between")
            for at, piece in enumerate(pieces)))

    def recv(self, _):
        """Octets of the next binary frame; Closed when the server ends the WebSocket."""
        while True:
            opcode, payload = self.read_frame()
            if opcode == BINARY and payload:
                return payload
            if opcode == CLOSE:
                raise Closed(struct.unpack(">H", payload[:2])[0] if payload else None)
            if opcode == PING:
                self.raw.sendall(frame(PONG, payload))
            assert opcode in (BINARY, PING, PONG), opcode

    def end(self, code=1000):
        """The closing handshake begun by the client: the code that comes back, once the server has left."""
        self.raw.sendall(frame(CLOSE, struct.pack(">H", code)))
        try:
            while True:
                self.recv(1)
        except Closed as closed:
            if self.raw.recv(1) != b"":
                raise AssertionError("octets behind the close") from None
            return closed.code

    def settimeout(self, seconds):
        self.raw.settimeout(seconds)

    def close(self):
        self.raw.close()

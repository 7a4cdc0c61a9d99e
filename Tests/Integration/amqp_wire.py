"""A small AMQP 1.0 peer written from the specification, independent of the code under test.

It speaks enough for a management client (a session, a dynamic receiver, a sender to `$management`) and gives
the hostile-peer tests correct bytes to spoil. Part and section numbers are those of the OASIS standard.
"""

import itertools
import socket
import struct

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"


# --- values (part 1, section 1.6) -------------------------------------------------------------------------------


class Symbol(str):
    """An ASCII name from a constrained domain."""


class UInt(int):
    """32-bit unsigned."""


class ULong(int):
    """64-bit unsigned."""


class UByte(int):
    """8-bit unsigned."""


class UShort(int):
    """16-bit unsigned."""


class Described:
    def __init__(self, descriptor, value):
        self.descriptor, self.value = descriptor, value

    def __repr__(self):
        return f"Described({self.descriptor!r}, {self.value!r})"


def _sized(short, long, data):
    if len(data) < 256:
        return bytes([short, len(data)]) + data
    return bytes([long]) + struct.pack(">I", len(data)) + data


def encode(value):
    if value is None:
        return b"\x40"
    if value is True or value is False:
        return b"\x41" if value else b"\x42"
    if isinstance(value, Described):
        return b"\x00" + encode(value.descriptor) + encode(value.value)
    if isinstance(value, UByte):
        return b"\x50" + bytes([value])
    if isinstance(value, UShort):
        return b"\x60" + struct.pack(">H", value)
    if isinstance(value, UInt):
        return b"\x70" + struct.pack(">I", value)
    if isinstance(value, ULong):
        return b"\x53" + bytes([value]) if value < 256 else b"\x80" + struct.pack(">Q", value)
    if isinstance(value, int):
        fits = -(1 << 31) <= value < 1 << 31
        return b"\x71" + struct.pack(">i", value) if fits else b"\x81" + struct.pack(">q", value)
    if isinstance(value, Symbol):
        return _sized(0xA3, 0xB3, value.encode("ascii"))
    if isinstance(value, str):
        return _sized(0xA1, 0xB1, value.encode())
    if isinstance(value, bytes):
        return _sized(0xA0, 0xB0, value)
    if isinstance(value, (list, tuple)):
        body = b"".join(map(encode, value))
        return b"\xd0" + struct.pack(">II", len(body) + 4, len(value)) + body
    if isinstance(value, dict):
        body = b"".join(map(encode, itertools.chain.from_iterable(value.items())))
        return b"\xd1" + struct.pack(">II", len(body) + 4, 2 * len(value)) + body
    raise TypeError(f"no AMQP encoding for {type(value)}")


_FIXED = {
    0x40: (0, lambda b: None), 0x41: (0, lambda b: True), 0x42: (0, lambda b: False),
    0x43: (0, lambda b: UInt(0)), 0x44: (0, lambda b: ULong(0)), 0x45: (0, lambda b: []),
    0x50: (1, lambda b: UByte(b[0])), 0x51: (1, lambda b: struct.unpack(">b", b)[0]),
    0x52: (1, lambda b: UInt(b[0])), 0x53: (1, lambda b: ULong(b[0])),
    0x54: (1, lambda b: struct.unpack(">b", b)[0]), 0x55: (1, lambda b: struct.unpack(">b", b)[0]),
    0x56: (1, lambda b: b[0] == 1), 0x60: (2, lambda b: UShort(struct.unpack(">H", b)[0])),
    0x61: (2, lambda b: struct.unpack(">h", b)[0]), 0x70: (4, lambda b: UInt(struct.unpack(">I", b)[0])),
    0x71: (4, lambda b: struct.unpack(">i", b)[0]), 0x72: (4, lambda b: struct.unpack(">f", b)[0]),
    0x73: (4, lambda b: chr(struct.unpack(">I", b)[0])), 0x80: (8, lambda b: ULong(struct.unpack(">Q", b)[0])),
    0x81: (8, lambda b: struct.unpack(">q", b)[0]), 0x82: (8, lambda b: struct.unpack(">d", b)[0]),
    0x83: (8, lambda b: struct.unpack(">q", b)[0]), 0x98: (16, bytes),
}
_TEXT = {0x0: bytes, 0x1: lambda b: b.decode(), 0x3: lambda b: Symbol(b.decode("ascii"))}


def decode(data, at=0):
    """(value, index after it); ValueError or IndexError when the bytes are not AMQP."""
    code = data[at]
    if code == 0:
        descriptor, at = decode(data, at + 1)
        value, at = decode(data, at)
        return Described(descriptor, value), at
    return _decode_body(code, data, at + 1)


def _decode_body(code, data, at):
    if code in _FIXED:
        size, convert = _FIXED[code]
        if at + size > len(data):
            raise ValueError("value cut short")
        return convert(data[at:at + size]), at + size
    width = 1 if code & 0x10 == 0 else 4
    size = int.from_bytes(data[at:at + width], "big")
    at += width
    end = at + size
    if end > len(data):
        raise ValueError("value cut short")
    family = code & 0xE0
    if family == 0xA0:
        return _TEXT[code & 0x0F](data[at:end]), end
    count = int.from_bytes(data[at:at + width], "big")
    at += width
    if family == 0xE0:
        return _decode_array(data, at, count), end
    values = []
    for _ in range(count):
        value, at = decode(data, at)
        values.append(value)
    if code & 0x0F == 0:
        return values, end
    return dict(zip(map(_hashable, values[::2]), values[1::2])), end


def _decode_array(data, at, count):
    code = data[at]
    at += 1
    descriptor = None
    if code == 0:
        descriptor, at = decode(data, at)
        code = data[at]
        at += 1
    values = []
    for _ in range(count):
        value, at = _decode_body(code, data, at)
        values.append(value if descriptor is None else Described(descriptor, value))
    return values


def _hashable(value):
    return repr(value) if isinstance(value, (list, dict, Described)) else value


# --- frames and performatives (part 2, section 2.3 and 2.7; part 5, section 5.3) ---------------------------------

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SASL_MECHANISMS, SASL_INIT, SASL_OUTCOME = 0x40, 0x41, 0x44
ACCEPTED, SOURCE, TARGET = 0x24, 0x28, 0x29
HEADER, PROPERTIES, APPLICATION_PROPERTIES, AMQP_VALUE = 0x70, 0x73, 0x74, 0x77


def frame(body, channel=0, kind=0):
    return struct.pack(">IBBH", len(body) + 8, 2, kind, channel) + body


def performative(code, *fields):
    return encode(Described(ULong(code), list(fields)))


def sasl_init(mechanism="EXTERNAL", response=b""):
    return frame(performative(SASL_INIT, Symbol(mechanism), response), kind=1)


def open_frame(container="test-peer", max_frame_size=16384, idle_milliseconds=None, hostname=None, offered=None,
               properties=None):
    idle = None if idle_milliseconds is None else UInt(idle_milliseconds)
    return frame(performative(OPEN, container, hostname, UInt(max_frame_size), UShort(100), idle, None, None, offered,
                              None, properties))


class PeerClosed(Exception):
    """The other side ended the connection; carries its Close performative when it sent one."""


class Peer:
    """The client side of one AMQP connection over a plain or TLS socket."""

    def __init__(self, connection, mechanism="ANONYMOUS", container="test-peer", response=None, **open_fields):
        self.socket = connection
        self.mechanism = mechanism
        self.response = response if response is not None else b"" if mechanism == "EXTERNAL" else b"anonymous"
        self.container = container
        self.open_fields = open_fields
        self.remote_open = None
        self.mechanisms = None
        # Frames that go out together with Open.
        self.pipelined = b""
        # The channel of the frame that was read last.
        self.channel = None
        self._buffer = b""

    def handshake(self):
        """SASL, then Open in both directions."""
        self.socket.sendall(SASL_HEADER)
        self._expect_header(SASL_HEADER)
        code, fields, _ = self._read_frame()
        if code != SASL_MECHANISMS:
            raise AssertionError(f"expected sasl-mechanisms, got {code:#x}")
        self.mechanisms = fields[0] if isinstance(fields[0], list) else [fields[0]]
        self.socket.sendall(sasl_init(self.mechanism, self.response))
        code, fields, _ = self._read_frame()
        if code != SASL_OUTCOME or fields[0] != 0:
            raise PeerClosed(f"SASL refused: {fields}")
        self.socket.sendall(AMQP_HEADER + open_frame(self.container, **self.open_fields) + self.pipelined)
        self._expect_header(AMQP_HEADER)
        self.remote_open = self.expect(OPEN)
        return self

    def send(self, code, *fields, payload=b"", channel=0):
        self.socket.sendall(frame(performative(code, *fields) + payload, channel))

    def expect(self, *codes):
        """The fields of the next performative whose code is one of `codes`; others are passed over."""
        return self.next_of(*codes)[1]

    def next_of(self, *codes):
        while True:
            code, fields, payload = self._read_frame()
            if code in codes:
                return code, fields, payload
            if code == CLOSE:
                raise PeerClosed(f"closed by the peer: {fields}")

    def _expect_header(self, header):
        got = self._read(8)
        if got != header:
            raise AssertionError(f"expected protocol header {header!r}, got {got!r}")

    def _read_frame(self):
        while True:
            size, offset, _, self.channel = struct.unpack(">IBBH", self._read(8))
            body = self._read(size - 8)[offset * 4 - 8:]
            if body:
                value, at = decode(body)
                return value.descriptor, value.value, body[at:]

    def _read(self, count):
        while len(self._buffer) < count:
            data = self.socket.recv(65536)
            if not data:
                raise PeerClosed("end of stream")
            self._buffer += data
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def close(self):
        try:
            self.send(CLOSE)
        except OSError:
            pass
        self.socket.close()


class ManagementError(Exception):
    def __init__(self, status, text):
        super().__init__(f"{status} {text}")
        self.status, self.text = status, text


class ManagementClient:
    """Requests to `$management` one after another (router-protocol sheet, section 6.1)."""

    # What a correlation-id sent as ulong must come back as; the agent of skrouterd makes an int of it.
    correlation_type = ULong

    def __init__(self, port, host="127.0.0.1", context=None, mechanism=None, timeout=20, connection=None):
        connection = connection or socket.create_connection((host, port), timeout=timeout)
        if context is not None:
            connection = context.wrap_socket(connection, server_hostname=host)
        mechanism = mechanism or ("EXTERNAL" if context is not None else "ANONYMOUS")
        self.peer = Peer(connection, mechanism, container="management-client").handshake()
        self.peer.send(BEGIN, None, UInt(0), UInt(1000), UInt(1000))
        self.peer.expect(BEGIN)
        source = Described(ULong(SOURCE), [None, UInt(0), Symbol("session-end"), UInt(0), True])
        self.peer.send(ATTACH, "replies", UInt(0), True, UByte(2), UByte(0), source,
                       Described(ULong(TARGET), []))
        attach = self.peer.expect(ATTACH)
        self.reply_to = attach[5].value[0]
        self.peer.send(FLOW, UInt(0), UInt(1000), UInt(0), UInt(1000), UInt(0), UInt(0), UInt(500))
        self.peer.send(ATTACH, "requests", UInt(1), False, UByte(2), UByte(0),
                       Described(ULong(SOURCE), ["me"]), Described(ULong(TARGET), ["$management"]), None, None, UInt(0))
        self.peer.expect(FLOW)
        self._numbers = itertools.count()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.peer.close()

    def request(self, operation, body=None, **properties):
        """(status, description, body) of one management operation."""
        number = next(self._numbers)
        correlation = ULong(1000 + number)
        message = b"".join([
            encode(Described(ULong(PROPERTIES), [None, None, "$management", None, self.reply_to, correlation])),
            encode(Described(ULong(APPLICATION_PROPERTIES), {"operation": operation, **properties})),
            encode(Described(ULong(AMQP_VALUE), body if body is not None else {})),
        ])
        self.peer.send(TRANSFER, UInt(1), UInt(number), number.to_bytes(4, "big"), UInt(0), True, False,
                       payload=message)
        return self._response(correlation)

    def _response(self, correlation):
        message = b""
        while True:
            _, fields, payload = self.peer.next_of(TRANSFER)
            message += payload
            if len(fields) > 5 and fields[5]:
                continue
            sections, at = {}, 0
            while at < len(message):
                section, at = decode(message, at)
                sections[section.descriptor] = section.value
            message = b""
            if len(fields) < 5 or not fields[4]:
                self.peer.send(DISPOSITION, True, fields[1], None, True, Described(ULong(ACCEPTED), []))
            answered = sections[PROPERTIES][5]
            if answered != correlation:
                raise AssertionError(f"response to {answered!r} while waiting for {correlation!r}")
            if not isinstance(answered, self.correlation_type):
                raise AssertionError(f"the correlation-id changed its type from ulong to {type(answered)}")
            properties = sections[APPLICATION_PROPERTIES]
            return properties["statusCode"], properties["statusDescription"], sections.get(AMQP_VALUE)

    def _checked(self, *arguments, **properties):
        status, text, body = self.request(*arguments, **properties)
        if not 200 <= status < 300:
            raise ManagementError(status, text)
        return body

    def query(self, kind, *attributes):
        """A dictionary for each entity of the type."""
        body = self._checked("QUERY", {"attributeNames": list(attributes)}, entityType=f"io.skupper.router.{kind}")
        return [dict(zip(body["attributeNames"], row)) for row in body["results"]]

    def create(self, kind, name, **attributes):
        return self._checked("CREATE", attributes, type=f"io.skupper.router.{kind}", name=name)

    def read(self, kind, name):
        return self._checked("READ", {}, type=f"io.skupper.router.{kind}", name=name)

    def update(self, kind, name, **attributes):
        return self._checked("UPDATE", attributes, type=f"io.skupper.router.{kind}", name=name)

    def delete(self, kind, name):
        return self._checked("DELETE", {}, type=f"io.skupper.router.{kind}", name=name)

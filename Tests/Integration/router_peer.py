"""A router of our own making at the other end of an inter-router connection, for neighbours that misbehave.

It speaks what makes a neighbour (router-protocol sheet, sections 2 and 3): control links, HELLO, link state and
addresses, and streaming links as its test wants them; it never acknowledges what comes on those.
"""

import socket
import time

from amqp_wire import (ATTACH, BEGIN, CLOSE, DETACH, DISPOSITION, FLOW, TRANSFER, Described, Peer, PeerClosed, Symbol,
                       UByte, UInt, ULong, UShort, decode, encode)

ANNOTATIONS = 0x534B50522D2D5241
EVERYWHERE = "amqp:/_topo/0/all/"
# The channel of the session on which it sends streams itself.
STREAMS_OUT = 90


class RouterPeer:
    """One control connection as router `name`. `step` does what is due; nothing happens between calls."""

    def __init__(self, connection, name, instance=None):
        self.name = name
        self.instance = instance or int(time.time())
        self.peer = Peer(connection, "EXTERNAL", container=name).handshake()
        self.neighbour = self.peer.remote_open[0]
        self.seen = set()
        self.link_state = {self.neighbour: 1}
        self.link_state_sequence = 1
        self.addresses = []
        self.mobile_sequence = 1
        self.heard = []
        self.attached = []
        self.received = 0
        # Sessions and streaming links that the router begins are answered, with credit for all there may be.
        self.takes_streams = False
        self.streams_taken = set()
        self.stream_octets = 0
        # Where the replies to streams that came are to go.
        self.reply_addresses = []
        self.streams_sent = 0
        self._hello_due = 0
        self.peer.send(BEGIN, None, UInt(0), UInt(10000), UInt(10000))
        self.peer.expect(BEGIN)
        self.control_channel = self.peer.channel
        self._attach("control-in", 0, receiver=True)
        self._attach("control-out", 1, receiver=False)
        self.peer.send(FLOW, UInt(0), UInt(1 << 20), UInt(0), UInt(1 << 20), UInt(0), UInt(0), UInt(1 << 20))
        self.sent = 0

    def _attach(self, name, handle, receiver, channel=0):
        capability = Symbol("qd.router")
        source = Described(ULong(0x28), [None, UInt(0), Symbol("link-detach"), UInt(0), False, None, None, None, None,
                                         None, capability])
        target = Described(ULong(0x29), [None, UInt(0), Symbol("link-detach"), UInt(0), False, None, capability])
        self.peer.send(ATTACH, name, UInt(handle), receiver, UByte(2), UByte(0), source, target, None, None, UInt(0),
                       channel=channel)

    # --- sending

    def message(self, to, opcode, body):
        number = self.sent
        self.sent += 1
        origin = "0/" + self.name
        octets = b"".join([
            encode(Described(ULong(ANNOTATIONS), [UInt(0), None, origin, [origin]])),
            encode(Described(ULong(0x70), [False])),
            encode(Described(ULong(0x73), [None, None, to])),
            encode(Described(ULong(0x74), {"opcode": opcode})),
            encode(Described(ULong(0x77), body)),
        ])
        # Frames of at most 16,000 octets.
        parts = [octets[at:at + 15000] for at in range(0, len(octets), 15000)]
        for index, part in enumerate(parts):
            self.peer.send(TRANSFER, UInt(1), UInt(number), number.to_bytes(4, "big"), UInt(0), True,
                           index + 1 < len(parts), payload=part)

    def body(self, **fields):
        return {"id": self.name, "pv": 1, "area": "0", "instance": self.instance, **fields}

    def hello(self):
        self.message("amqp:/_local/qdhello", "HELLO", self.body(seen=sorted(self.seen)))

    def advertise(self):
        self.message(EVERYWHERE + "qdrouter", "RA",
                     self.body(ls_seq=self.link_state_sequence, mobile_seq=self.mobile_sequence))

    def send_link_state(self, to=None):
        state = {"id": self.name, "area": "0", "ls_seq": self.link_state_sequence, "peers": self.link_state}
        self.message(f"amqp:/_topo/0/{to or self.neighbour}/qdrouter", "LSU",
                     self.body(ls_seq=self.link_state_sequence, ls=state))

    def send_addresses(self, to=None, addresses=None):
        exist = self.addresses if addresses is None else addresses
        self.message(f"amqp:/_topo/0/{to or self.neighbour}/qdrouter.ma", "MAU", self._mobile(exist=exist))

    def request_addresses(self, have):
        """Asks for the neighbour's addresses, as one that knows those up to `have`."""
        self.message(f"amqp:/_topo/0/{self.neighbour}/qdrouter.ma", "MAR",
                     {"id": self.name, "pv": 2, "area": "0", "have_seq": have})

    def add_addresses(self, added, removed=()):
        self.mobile_sequence += 1
        self.message(EVERYWHERE + "qdrouter.ma", "MAU",
                     self._mobile(add=list(added), **{"del": [[key] for key in removed]}))

    def _mobile(self, **fields):
        return {"id": self.name, "pv": 2, "area": "0", "mobile_seq": self.mobile_sequence, **fields}

    # --- receiving

    def step(self, seconds=0.1, answers=True):
        """Sends HELLO when it is due, and answers what arrives for so long."""
        deadline = time.monotonic() + seconds
        while True:
            if time.monotonic() >= self._hello_due:
                self._hello_due = time.monotonic() + 0.5
                self.hello()
            left = deadline - time.monotonic()
            if left <= 0:
                return self
            self.peer.socket.settimeout(max(0.01, min(left, 0.1)))
            try:
                code, fields, payload = self.peer._read_frame()
            except (socket.timeout, TimeoutError):
                continue
            finally:
                self.peer.socket.settimeout(20)
            if code == CLOSE:
                raise PeerClosed(f"closed by the router: {fields}")
            if code == TRANSFER:
                self._transfer(fields, payload, answers)
            elif code == BEGIN and fields[0] is None:
                self._session_begun()
            elif code == ATTACH:
                self.attached.append(fields)
                if self.takes_streams and not fields[2] and self.peer.channel != self.control_channel:
                    self._take_streams(fields)

    def _session_begun(self):
        if not self.takes_streams:
            raise AssertionError("a session without our channel: read it through `begin`")
        self.peer.send(BEGIN, UShort(self.peer.channel), UInt(0), UInt(1 << 30), UInt(1 << 30),
                       channel=self.peer.channel)

    def _take_streams(self, attach):
        channel, handle = self.peer.channel, UInt(attach[1])
        self.peer.send(ATTACH, attach[0], handle, True, UByte(2), UByte(0), Described(ULong(0x28), []),
                       Described(ULong(0x29), []), channel=channel)
        self.peer.send(FLOW, UInt(0), UInt(1 << 30), UInt(0), UInt(1 << 30), handle, UInt(0), UInt(1 << 20),
                       channel=channel)

    def begin_streams(self):
        """A session and an anonymous link for streams that it sends."""
        self.peer.send(BEGIN, None, UInt(0), UInt(1 << 30), UInt(1 << 30), channel=STREAMS_OUT)
        self.peer.expect(BEGIN)
        self.peer.send(ATTACH, "streams-out", UInt(0), False, UByte(2), UByte(0), Described(ULong(0x28), []),
                       Described(ULong(0x29), []), None, None, UInt(0), channel=STREAMS_OUT)
        self.peer.expect(FLOW)

    def send_stream(self, address, octets=b"", replied=True):
        """A stream with its end, so that the next can follow on the same link; its reply is to come here."""
        number = self.streams_sent
        self.streams_sent += 1
        origin = "0/" + self.name
        reply_to = f"amqp:/_topo/0/{self.name}/temp.stream{number}" if replied else None
        head = b"".join([
            encode(Described(ULong(ANNOTATIONS), [UInt(5), None, origin, [origin]])),
            encode(Described(ULong(0x73), [None, None, address, None, reply_to, None, "application/octet-stream"])),
            encode(Described(ULong(0x74), {"V": UInt(1)})),
            encode(Described(ULong(0x77), None)),
        ])
        for more, payload in ((True, head), (False, octets)):
            self.peer.send(TRANSFER, UInt(0), UInt(number), number.to_bytes(8, "little"), UInt(0), False, more,
                           payload=payload, channel=STREAMS_OUT)

    def _stream(self, fields, payload):
        self.stream_octets += len(payload)
        key = self.peer.channel, fields[0], fields[1]
        if fields[1] is None or key in self.streams_taken:
            return
        self.streams_taken.add(key)
        at, section = 0, None
        while section is None or section.descriptor != 0x73:
            section, at = decode(payload, at)
        self.reply_addresses.append(section.value[4])

    def _transfer(self, fields, payload, answers):
        self.received += len(payload)
        if self.peer.channel != self.control_channel:
            return self._stream(fields, payload)
        if fields[0] != 0:
            return
        sections, at = {}, 0
        while at < len(payload):
            section, at = decode(payload, at)
            sections[section.descriptor] = section.value
        opcode, body = sections[0x74]["opcode"], sections[0x77]
        self.heard.append((opcode, body))
        if not answers:
            return
        if opcode == "HELLO":
            self.seen.add(body["id"])
        elif opcode == "LSR":
            self.send_link_state(body["id"])
        elif opcode == "MAR":
            self.send_addresses(body["id"])

    def until_neighbour(self, seconds=10):
        """Until the router lists us, and has our link state and addresses."""
        end = time.monotonic() + seconds
        self.advertise()
        asked = set()
        while time.monotonic() < end:
            self.step(0.1)
            asked |= {opcode for opcode, _ in self.heard}
            if {"LSR", "MAR"} <= asked:
                return self
        raise AssertionError(f"no neighbour after {seconds} s; heard {sorted(asked)}")

    def close(self):
        self.peer.socket.close()


__all__ = ["RouterPeer", "DETACH", "DISPOSITION"]

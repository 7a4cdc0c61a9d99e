"""AMQP over WebSocket: exact octets both ways, in clear and over TLS; handshakes, frames and ends of every kind."""

import os
import socket
import struct
import unittest

from amqp_wire import (ATTACH, BEGIN, FLOW, SOURCE, TARGET, TRANSFER, Described, ManagementClient, Peer, PeerClosed,
                       UByte, UInt, ULong)
from harness import MeshCase, client_context, free_port, wait_until
from web_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Closed, Refused, WebSocket, frame


class WebSockets(MeshCase):
    def setUp(self):
        super().setUp()
        self.hub = self.router("hub", self.authority)
        self.port, self.secure_port = free_port(), free_port()
        self.hub.add("listener", name="web", host="127.0.0.1", port=self.port, http=True, idleTimeoutSeconds=120)
        self.hub.add("listener", name="secure", host="127.0.0.1", port=self.secure_port, http=True, sslProfile="mesh",
                     requireSsl=True, idleTimeoutSeconds=120)

    def start(self):
        self.hub.start()
        self.management = self.resources.enter_context(ManagementClient(self.hub.amqp_port))

    def web_socket(self, port=None, **arguments):
        client = WebSocket(port or self.port, **arguments)
        self.addCleanup(client.close)
        return client

    def peer(self, container, **arguments):
        client = self.web_socket(**arguments)
        return Peer(client, container=container).handshake()

    def connections(self, container):
        return [row for row in self.management.query("connection") if row["container"] == container]

    def wait_gone(self, container):
        wait_until(f"the connection of {container} to be gone", lambda: not self.connections(container), 10)

    def test_management_over_web_sockets(self):
        self.start()
        context = client_context(self.authority.certificate)
        for arguments in ({"protocols": "amqp"}, {"protocols": "mqtt, binary,amqp"}, {"cut": 1}, {"cut": 7},
                          {"port": self.secure_port, "context": context},
                          {"port": self.secure_port, "context": context, "cut": 5}, {"path": "/any/path?x"}):
            with self.subTest(**{name: str(value) for name, value in arguments.items()}):
                client = self.web_socket(**arguments)
                self.assertEqual(client.protocol, "binary" if "mqtt" in arguments.get("protocols", "") else "amqp")
                with ManagementClient(0, connection=client, mechanism="ANONYMOUS") as management:
                    address, port = client.raw.getsockname()
                    row, = (row for row in management.query("connection") if row["container"] == "management-client"
                            and row["host"] == f"{address}:{port}")
                    self.assertEqual((row["role"], row["dir"]), ("normal", "in"))
                    self.assertGreater(len(management.query("router.address")), 1)

    def receiver(self, address, credit, **arguments):
        peer = self.peer("receiver", **arguments)
        peer.send(BEGIN, None, UInt(0), UInt(100_000), UInt(100_000))
        peer.expect(BEGIN)
        peer.send(ATTACH, "in", UInt(0), True, UByte(2), UByte(0), Described(ULong(SOURCE), [address]),
                  Described(ULong(TARGET), []))
        peer.expect(ATTACH)
        peer.send(FLOW, UInt(0), UInt(100_000), UInt(0), UInt(100_000), UInt(0), UInt(0), UInt(credit))
        return peer

    def sender(self, address, **arguments):
        peer = self.peer("sender", **arguments)
        peer.send(BEGIN, None, UInt(0), UInt(100_000), UInt(100_000))
        peer.expect(BEGIN)
        peer.send(ATTACH, "out", UInt(0), False, UByte(2), UByte(0), Described(ULong(SOURCE), []),
                  Described(ULong(TARGET), [address]), None, None, UInt(0))
        peer.expect(FLOW)
        return peer

    def send_message(self, peer, number, octets):
        message = b"\x00\x53\x75\xb0" + struct.pack(">I", len(octets)) + octets
        for at in range(0, len(message), 16_000):
            peer.send(TRANSFER, UInt(0), UInt(number), number.to_bytes(4, "big"), UInt(0), True,
                      at + 16_000 < len(message), payload=message[at:at + 16_000])

    def read_message(self, peer):
        pieces = []
        while True:
            _, fields, payload = peer.next_of(TRANSFER)
            pieces.append(payload)
            if len(fields) < 6 or not fields[5]:
                return b"".join(pieces)[8:]

    def test_large_messages_wait_for_a_receiver_that_stops(self):
        self.start()
        context = client_context(self.authority.certificate)
        message = os.urandom(6 << 20)
        for name, place in (("clear", {}), ("tls", {"port": self.secure_port, "context": context})):
            with self.subTest(name):
                receiver = self.receiver(name, 100, **place)
                sender = self.sender(name, **place)
                # Less than a router holds for one connection. How little waits in the relay is asked in unit tests.
                for number in range(5):
                    self.send_message(sender, number, message)
                for number in range(5):
                    self.assertTrue(self.read_message(receiver) == message, number)
                self.assertEqual(receiver.socket.end(), 1000)
                self.assertEqual(sender.socket.end(), 1000)

    def test_one_large_frame(self):
        """A message of many AMQP frames in one WebSocket frame with a length of 64 bits."""
        self.start()
        receiver = self.receiver("big", 10)
        sender = self.sender("big")
        sent, octets = [], os.urandom(3 << 20)
        real, sender.socket = sender.socket, type("Kept", (), {"sendall": lambda _, data: sent.append(data)})()
        self.send_message(sender, 0, octets)
        sender.socket = real
        real.sendall(b"".join(sent))
        self.assertTrue(self.read_message(receiver) == octets)

    def test_handshakes_that_are_refused(self):
        quiet = free_port()
        asked = free_port()
        self.hub.add("listener", name="asked", host="127.0.0.1", port=asked, http=True, websockets=True,
                     httpRootDir="disabled")
        self.hub.add("listener", name="quiet", host="127.0.0.1", port=quiet, http=True, websockets=False)
        self.start()
        for status, words, arguments in (
                (400, "amqp or binary", {"protocols": "mqtt"}), (400, "amqp or binary", {"protocols": None}),
                (400, "amqp or binary", {"protocols": "AMQP"}), (426, "use 13", {"Sec_WebSocket_Version": "8"}),
                (426, "use 13", {"Sec_WebSocket_Version": None}), (400, "base64", {"Sec_WebSocket_Key": "short"}),
                (400, "base64", {"Sec_WebSocket_Key": None}), (400, "Upgrade", {"Connection": "keep-alive"}),
                (404, "nothing here", {"Upgrade": "h2c"}), (404, "nothing here", {"port": quiet}),
                (404, "nothing here", {"port": self.hub.http_port})):
            with self.subTest(**{name: str(value) for name, value in arguments.items()}):
                with self.assertRaises(Refused) as refused:
                    self.web_socket(**arguments)
                self.assertEqual(refused.exception.status, status)
                self.assertIn(words, refused.exception.text)
        self.assertEqual(self.hub.get("/healthz")[0], 200)
        self.assertEqual(self.web_socket(port=asked).protocol, "amqp")

    def test_frames_that_end_a_web_socket(self):
        self.start()
        witness = self.peer("witness")
        for code, octets in (
                (1002, frame(BINARY, b"AMQP", mask=b"")), (1002, frame(PING, mask=b"")), (1003, frame(TEXT, b"hello")),
                (1002, frame(BINARY, b"x", reserved=0x40)), (1002, frame(CONTINUATION, b"x")), (1002, frame(3, b"x")),
                (1002, frame(BINARY, b"x", final=False) + frame(BINARY, b"y")), (1002, frame(PING, b"x" * 126)),
                (1002, frame(PING, b"x", final=False)), (1002, frame(CLOSE, b"x")), (1002, frame(CLOSE, b"\x03\xed")),
                (1007, frame(CLOSE, b"\x03\xe8\xff")), (1009, b"\x82\xff" + struct.pack(">Q", 1 << 40) + b"mask"),
                (1002, b"\x82\xff" + struct.pack(">Q", 1 << 63) + b"mask"), (1002, b"\x82\xfe\x00\x05mask"),
                (1002, b"GET / HTTP/1.1\r\n\r\n" * 5000), (1000, frame(BINARY, b"HTTP/1.1 200 OK\r\n\r\n")),
                (1000, frame(BINARY, b"AMQP\x00\x01\x00\x00" + os.urandom(1000)))):
            with self.subTest(code=code, octets=octets[:20]):
                client = self.web_socket()
                with self.assertRaises((Closed, ConnectionError)) as closed:
                    client.send_raw(octets)
                    while True:
                        client.recv(1)
                self.assertEqual(getattr(closed.exception, "code", closed.exception), code)
        wait_until("the others to be gone", lambda: len(self.management.query("connection")) == 2, 10)
        witness.socket.send_raw(frame(PING, b"still there?"))
        while (got := witness.socket.read_frame())[0] == BINARY:
            pass
        self.assertEqual(got, (PONG, b"still there?"))

    def test_pings_and_closes(self):
        self.start()
        for end, answer in ((1000, 1000), (3456, 3456)):
            self.assertEqual(self.peer("closes").socket.end(end), answer)
            self.wait_gone("closes")
        bare = self.peer("bare").socket
        bare.send_raw(frame(CLOSE))
        with self.assertRaises(Closed) as closed:
            while True:
                bare.recv(1)
        self.assertIsNone(closed.exception.code)
        # What was sent before the close still arrives, the close of the AMQP connection too.
        leaving = self.peer("leaves")
        leaving.send(0x18)
        with self.assertRaises((Closed, PeerClosed)):
            leaving.expect(0x7F)
        self.wait_gone("leaves")

    def test_clients_that_vanish(self):
        self.start()
        descriptors = self.hub.process.descriptors()
        context = client_context(self.authority.certificate)
        for secure in ({}, {"port": self.secure_port, "context": context}):
            for reset in (False, True):
                peers = [self.peer("vanishes", **secure) for _ in range(5)]
                wait_until("all to be known", lambda: len(self.connections("vanishes")) == 5, 10)
                for peer in peers:
                    if reset:
                        peer.socket.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    peer.socket.raw.close()
                self.wait_gone("vanishes")
        self.web_socket().close()
        wait_until("all descriptors to be given back", lambda: self.hub.process.descriptors() <= descriptors, 10)

    def test_silence_is_noticed_by_amqp(self):
        brief = free_port()
        self.hub.add("listener", name="brief", host="127.0.0.1", port=brief, http=True, idleTimeoutSeconds=1)
        self.start()
        client = self.peer("silent", port=brief).socket
        with self.assertRaises(Closed) as closed:
            while True:
                client.recv(1)
        self.assertEqual(closed.exception.code, 1000)
        self.wait_gone("silent")

    def test_the_listener_goes(self):
        self.start()
        peer = self.peer("stays until then")
        other = self.peer("other", port=self.secure_port, context=client_context(self.authority.certificate))
        self.management.delete("listener", "web")
        with self.assertRaises((Closed, ConnectionError, PeerClosed)):
            while True:
                peer.socket.recv(1)
        self.wait_gone("stays until then")
        self.assertEqual(len(self.connections("other")), 1)
        self.assertEqual(other.socket.end(), 1000)

    def test_who_must_prove_himself(self):
        strict, clear = free_port(), free_port()
        self.hub.add("listener", name="strict", host="127.0.0.1", port=strict, http=True, sslProfile="mesh",
                     authenticatePeer=True)
        self.hub.add("listener", name="clear", host="127.0.0.1", port=clear, http=True, authenticatePeer=True)
        self.start()
        context = client_context(self.authority.certificate, self.authority.issue("somebody"))
        self.peer("somebody", port=strict, context=context)
        with self.assertRaises(OSError):
            self.peer("nobody", port=strict, context=client_context(self.authority.certificate))
        # There is no mechanism that would do.
        with self.assertRaises((PeerClosed, Closed, ConnectionError, IndexError)):
            self.peer("nobody", port=clear)
        self.assertEqual(len(self.connections("somebody")), 1)


if __name__ == "__main__":
    unittest.main()

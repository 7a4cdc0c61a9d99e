"""Every queue, table and wait of the router has a bound, and nothing a client may ask for within it goes unanswered."""

import contextlib
import hashlib
import random
import re
import socket
import struct
import threading
import time
import unittest

from amqp_wire import (ATTACH, BEGIN, CLOSE, DETACH, DISPOSITION, END, FLOW, TRANSFER, Described, ManagementClient,
                       Peer, PeerClosed, Symbol, UByte, UInt, ULong, encode, frame, performative)
from harness import SANITIZED, SEED, SLOWNESS, RouterCase, connect, free_port, wait_until

WINDOW = UInt((1 << 31) - 1)
BODY = encode(Described(ULong(0x77), "hello"))


class BoundsCase(RouterCase):
    """One router with a listener for clients."""

    def setUp(self):
        super().setUp()
        self.hub = self.router("hub")
        self.hub.start()

    def client(self, name="client", port=None, **open_fields):
        peer = Peer(connect(port or self.hub.amqp_port, timeout=20 * SLOWNESS), container=name,
                    **open_fields).handshake()
        self.addCleanup(peer.socket.close)
        peer.send(BEGIN, None, UInt(0), WINDOW, WINDOW)
        peer.begin = peer.expect(BEGIN)
        return peer

    def attach(self, peer, name, handle, receives, address, source=None):
        peer.send(ATTACH, name, UInt(handle), receives, UByte(2), UByte(0),
                  source or Described(ULong(0x28), [address] if receives else []),
                  Described(ULong(0x29), [] if receives else [address]), None, None,
                  None if receives else UInt(0))
        return peer.expect(ATTACH)

    def credit(self, peer, handle, credit, count=0, drain=False, echo=False, next_incoming=0):
        peer.send(FLOW, UInt(next_incoming), WINDOW, UInt(0), WINDOW, UInt(handle), UInt(count), UInt(credit), None,
                  drain, echo)

    def transfer(self, peer, number, more=False, settled=False, payload=BODY, handle=0):
        peer.send(TRANSFER, UInt(handle), UInt(number), struct.pack(">I", number), UInt(0), settled, more,
                  payload=payload)

    @staticmethod
    def read_and_forget(peer):
        def read():
            with contextlib.suppress(OSError):
                while peer.socket.recv(1 << 20):
                    pass
        threading.Thread(target=read, daemon=True).start()

    def assert_alive(self):
        self.assertEqual(self.hub.get("/healthz")[0], 200)
        consumer, producer = self.client("again"), self.client("another")
        self.attach(consumer, "c", 0, True, "alive")
        self.credit(consumer, 0, 1)
        self.attach(producer, "p", 0, False, "alive")
        producer.expect(FLOW)
        self.transfer(producer, 0)
        consumer.expect(TRANSFER)


class Sender:
    """A producer link that keeps within its credit and its session's window."""

    def __init__(self, case, peer, address):
        self.peer, self.case = peer, case
        case.attach(peer, "sender", 0, False, address)
        self.window, self.frames = peer.begin[2], 0
        self.limit, self.deliveries = 0, 0
        self.take(peer.expect(FLOW))

    def take(self, flow):
        if len(flow) > 6 and flow[4] is not None:
            self.limit = flow[5] + flow[6]
        self.window = flow[1] - (self.frames - flow[0])

    def send(self, payload, more=False, settled=True):
        while self.window <= 0 or self.limit <= self.deliveries:
            self.take(self.peer.expect(FLOW))
        self.case.transfer(self.peer, self.deliveries, more, settled, payload)
        self.frames += 1
        self.window -= 1
        if not more:
            self.deliveries += 1


class Queues(BoundsCase):
    def test_ten_thousand_waiting_messages_leave_on_one_credit(self):
        count = 2000 if SANITIZED else 9990
        consumer = self.client("consumer")
        self.attach(consumer, "c", 0, True, "queue")
        sender = Sender(self, self.client("producer"), "queue")
        for _ in range(count):
            sender.send(BODY)
        self.credit(consumer, 0, count + 10)
        number = 0
        while number < count:
            fields = consumer.expect(TRANSFER)
            self.assertEqual(fields[1], number)
            # What had not wholly arrived when its turn came takes two frames.
            number += not (len(fields) > 5 and fields[5])
        self.assert_alive()

    def test_large_message_waits_for_a_slow_consumer(self):
        """Three times what the router holds: the producer is slowed down, nothing is dropped, memory stays small."""
        size, piece = 24 << 20, 8000
        consumer = self.client("consumer", max_frame_size=16384)
        self.attach(consumer, "c", 0, True, "queue")
        self.credit(consumer, 0, 1)
        # One frame of window at first: the consumer is as slow as can be.
        consumer.send(FLOW, UInt(0), UInt(1), UInt(0), WINDOW)
        sender = Sender(self, self.client("producer"), "queue")
        before = self.hub.process.resident_kilobytes()
        data = random.Random(SEED).randbytes(size)
        sent = threading.Event()

        def produce():
            sender.send(encode(Described(ULong(0x75), b""))[:-2] + b"\xb0" + struct.pack(">I", size), more=True)
            for at in range(0, size, piece):
                sender.send(data[at:at + piece], more=at + piece < size)
            sent.set()

        producer = threading.Thread(target=produce, daemon=True)
        producer.start()
        self.assertFalse(sent.wait(2), "the router took the whole message with no consumer for it")
        grown = self.hub.process.resident_kilobytes() - before
        digest, got, frames = hashlib.sha256(), 0, 0
        head = 0
        while True:
            _, fields, payload = consumer.next_of(TRANSFER)
            if head == 0:
                head = payload.index(struct.pack(">I", size)) + 4
                payload = payload[head:]
            digest.update(payload)
            got += len(payload)
            frames += 1
            self.assertFalse(len(fields) > 9 and fields[9], "the delivery was aborted")
            if len(fields) <= 5 or not fields[5]:
                break
            consumer.send(FLOW, UInt(frames), UInt(100), UInt(0), WINDOW)
        self.assertEqual(got, size)
        self.assertEqual(digest.digest(), hashlib.sha256(data).digest())
        self.assertTrue(sent.wait(10))
        self.assertLess(grown, 20_000 * (4 if SANITIZED else 1), "kB held for a consumer that does not read")

    def test_large_message_between_loops_waits_as_well(self):
        """Eight connections go round the loops: some pairs share one, some do not."""
        for number in range(3):
            self.client(f"filler {number}")
            self.test_large_message_waits_for_a_slow_consumer()

    def test_message_head_in_single_octets(self):
        message = (encode(Described(ULong(0x73), [None, None, "queue", "s" * 20_000])) + BODY)
        consumer, producer = self.client("consumer"), self.client("producer")
        self.attach(consumer, "c", 0, True, "queue")
        self.credit(consumer, 0, 1)
        producer.send(ATTACH, "p", UInt(0), False, UByte(2), UByte(0), Described(ULong(0x28), []),
                      Described(ULong(0x29), []), None, None, UInt(0))
        producer.expect(FLOW)
        frames = b"".join(
            frame(performative(TRANSFER, UInt(0), UInt(0), b"t", UInt(0), True, at + 1 < len(message)) +
                  message[at:at + 1]) for at in range(len(message)))
        threading.Thread(target=producer.socket.sendall, args=(frames,), daemon=True).start()
        got = b""
        while True:
            _, fields, payload = consumer.next_of(TRANSFER)
            got += payload
            if len(fields) <= 5 or not fields[5]:
                break
        self.assertEqual(got, message)


class Answers(BoundsCase):
    def test_frame_larger_than_a_record_is_sent_at_once(self):
        port = free_port()
        with ManagementClient(self.hub.amqp_port) as management:
            management.create("listener", "large", role="normal", host="127.0.0.1", port=str(port), maxFrameSize=65536)
        peer = self.client("large", port, max_frame_size=65536)
        name = "n" * 20_000
        self.assertEqual(self.attach(peer, name, 0, True, "queue")[0], name)

    def test_drain_without_messages_gives_the_credit_back(self):
        peer = self.client()
        self.attach(peer, "c", 0, True, "queue")
        self.credit(peer, 0, 10, drain=True)
        flow = peer.expect(FLOW)
        self.assertEqual((flow[5], flow[6], flow[8]), (10, 0, True))

    def test_drain_of_no_credit_is_answered(self):
        peer = self.client()
        self.attach(peer, "c", 0, True, "queue")
        self.credit(peer, 0, 0, drain=True)
        flow = peer.expect(FLOW)
        self.assertEqual((flow[5], flow[6]), (0, 0))

    def test_drain_during_a_long_message(self):
        consumer, producer = self.client("consumer"), self.client("producer")
        self.attach(consumer, "c", 0, True, "queue")
        self.credit(consumer, 0, 5)
        self.attach(producer, "p", 0, False, "queue")
        producer.expect(FLOW)
        self.transfer(producer, 0, more=True, settled=True)
        consumer.expect(TRANSFER)
        self.credit(consumer, 0, 5, drain=True, next_incoming=1)
        flow = consumer.expect(FLOW)
        self.assertEqual((flow[5], flow[6]), (5, 0))

    def test_echo_is_answered(self):
        peer = self.client()
        self.attach(peer, "c", 0, True, "queue")
        self.credit(peer, 0, 7, echo=True)
        flow = peer.expect(FLOW)
        self.assertEqual((flow[4], flow[6]), (0, 7))
        peer.send(FLOW, UInt(0), WINDOW, UInt(0), WINDOW, None, None, None, None, False, True)
        self.assertTrue(len(peer.expect(FLOW)) < 5 or peer is None)

    def test_wide_disposition_ranges_are_cheap(self):
        peer, producer = self.client(), self.client("producer")
        self.attach(peer, "c", 0, True, "queue")
        self.credit(peer, 0, 10)
        self.attach(producer, "p", 0, False, "queue")
        producer.expect(FLOW)
        for number in range(3):
            self.transfer(producer, number)
            peer.expect(TRANSFER)
        started = time.monotonic()
        for _ in range(2000):
            peer.send(DISPOSITION, True, UInt(1), UInt(0x7FFFFFFF), True, Described(ULong(0x24), []))
        peer.send(DISPOSITION, True, UInt(0), None, True, Described(ULong(0x26), []))
        states = {}
        while len(states) < 3:
            fields = producer.expect(DISPOSITION)
            for number in range(fields[1], (fields[2] if fields[2] is not None else fields[1]) + 1):
                states[number] = fields[4].descriptor
        self.assertEqual(states, {0: 0x26, 1: 0x24, 2: 0x24})
        self.assertLess(time.monotonic() - started, 5 * SLOWNESS)

    def test_heartbeats_for_an_impatient_peer(self):
        peer = Peer(connect(self.hub.amqp_port, timeout=5), idle_milliseconds=300).handshake()
        gaps, last, end = [], time.monotonic(), time.monotonic() + 3
        while time.monotonic() < end:
            self.assertTrue(peer.socket.recv(4096))
            gaps.append(time.monotonic() - last)
            last = time.monotonic()
        peer.socket.close()
        self.assertLess(max(gaps), 0.3 * SLOWNESS)


class Limits(BoundsCase):
    def test_sessions_can_be_begun_after_many_were_ended(self):
        peer = Peer(connect(self.hub.amqp_port, timeout=20), container="sessions").handshake()
        self.addCleanup(peer.socket.close)
        for round_number in range(2):
            # The test peer's channel-max is 100; the router's is higher, so channels above it are ours to use.
            for channel in range(2048):
                peer.send(BEGIN, None, UInt(0), UInt(10), UInt(10), channel=channel)
            for _ in range(2048):
                peer.expect(BEGIN)
            for channel in range(2048):
                peer.send(END, channel=channel)
            for _ in range(2048):
                peer.expect(END)

    def test_peer_that_asks_and_never_reads_is_cut_off(self):
        peer = self.client("deaf")
        before = self.hub.process.resident_kilobytes()
        ask = frame(performative(FLOW, UInt(0), UInt(100), UInt(0), UInt(100), None, None, None, None, False, True))
        peer.socket.settimeout(10 * SLOWNESS)
        with self.assertRaises((ConnectionResetError, BrokenPipeError)):
            for _ in range(2000):
                peer.socket.sendall(ask * 1000)
        if not SANITIZED:
            # AddressSanitizer keeps what was freed for a while, up to 256 MB.
            self.assertLess(self.hub.process.resident_kilobytes() - before, 30_000)
        self.assert_alive()

    def test_flood_of_attach_and_detach(self):
        peer = self.client("flood")
        before = self.hub.process.resident_kilobytes()
        pairs = b"".join(
            frame(performative(ATTACH, f"l{n}", UInt(n), True, UByte(2), UByte(0), Described(ULong(0x28), [f"a{n}"]),
                               Described(ULong(0x29), []))) + frame(performative(DETACH, UInt(n), True))
            for n in range(500))
        self.read_and_forget(peer)
        for _ in range(10 if SANITIZED else 60):
            peer.socket.sendall(pairs)
            self.assertEqual(self.hub.get("/healthz")[0], 200)
        self.assertLess(self.hub.process.resident_kilobytes() - before, 40_000 * (4 if SANITIZED else 1))
        self.assert_alive()

    def test_silent_connections_make_room(self):
        port = free_port()
        with ManagementClient(self.hub.amqp_port) as management:
            management.create("listener", "patient", role="normal", host="127.0.0.1", port=str(port),
                              initialHandshakeTimeoutSeconds=120)
        loops = int(re.search(r"(\d+) loops", self.hub.process.log()).group(1))
        silent = []
        try:
            for _ in range(512 * loops + 100):
                silent.append(connect(port))
            peer = self.client("real", port)
            self.attach(peer, "c", 0, True, "queue")

            def closed():
                count = 0
                for connection in silent[:100]:
                    connection.setblocking(False)
                    try:
                        count += connection.recv(10) == b""
                    except BlockingIOError:
                        pass
                    except ConnectionResetError:
                        count += 1
                return count
            wait_until("the oldest silent connections to be closed", lambda: closed() >= 90, 5)
        finally:
            for connection in silent:
                connection.close()

    def test_log_lines_of_one_peer_are_bounded(self):
        peer = self.client("noisy")
        bad = b"".join(
            frame(performative(ATTACH, f"l{n}", UInt(n), True, UByte(2), UByte(0), Described(ULong(0x28), []),
                               Described(ULong(0x29), []))) + frame(performative(DETACH, UInt(n), True))
            for n in range(1000))
        started = time.monotonic()
        self.read_and_forget(peer)
        for _ in range(12):
            peer.socket.sendall(bad)
        self.assert_alive()
        lines = self.hub.process.log().count("refused")
        allowed = 5000 + 100 * (time.monotonic() - started + 2)
        self.assertGreater(lines, 1000)
        self.assertLess(lines, allowed)


class Leftovers(BoundsCase):
    def test_connection_of_a_listener_deleted_during_its_handshake_is_closed(self):
        port = free_port()
        with ManagementClient(self.hub.amqp_port) as management:
            management.create("listener", "short", role="normal", host="127.0.0.1", port=str(port))
            waiting = connect(port, timeout=10)
            wait_until("the connection to be accepted", lambda: True, 1)
            management.delete("listener", "short")
        peer = Peer(waiting, container="late")
        with self.assertRaises((PeerClosed, ConnectionResetError, BrokenPipeError)):
            peer.handshake()
            while True:
                peer.expect(CLOSE)
        self.assert_alive()

    def test_connector_tries_every_address_of_a_name(self):
        """`localhost` is ::1 and 127.0.0.1 on most machines: one of them has a listener, whichever comes first."""
        addresses = {entry[4][0] for entry in socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)}
        if len(addresses) < 2:
            self.skipTest(f"localhost has one address here: {addresses}")
        first = socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)[0][4][0]
        other = next(address for address in addresses if address != first)
        port = free_port()
        family = socket.AF_INET6 if ":" in other else socket.AF_INET
        with socket.socket(family) as listener:
            listener.bind((other, port))
            listener.listen()
            listener.settimeout(5 * SLOWNESS)
            with ManagementClient(self.hub.amqp_port) as management:
                management.create("connector", "named", role="route-container", host="localhost", port=str(port))
            accepted, _ = listener.accept()
            accepted.close()

    def test_credit_comes_back_for_messages_refused_before_they_are_routed(self):
        port = free_port()
        with ManagementClient(self.hub.amqp_port) as management:
            management.create("listener", "routers", role="inter-router", host="127.0.0.1", port=str(port))
        peer = self.client("neighbour", port)
        terminus = [None, UInt(0), Symbol("link-detach"), UInt(0), False]
        for number, receives in enumerate((True, False)):
            peer.send(ATTACH, f"control{number}", UInt(number), receives, UByte(2), UByte(0),
                      Described(ULong(0x28), terminus + [None, None, None, None, None, Symbol("qd.router")]),
                      Described(ULong(0x29), terminus + [None, Symbol("qd.router")]), None, None,
                      None if receives else UInt(0))
        flow = peer.expect(FLOW)
        limit, sent = flow[5] + flow[6], 0
        while sent < 1000:
            while sent >= limit:
                flow = peer.expect(FLOW)
                if flow[4] is not None:
                    limit = flow[5] + flow[6]
            # No message at all: a list where sections should stand.
            self.transfer(peer, sent, settled=True, payload=b"\x45", handle=1)
            sent += 1


if __name__ == "__main__":
    unittest.main()

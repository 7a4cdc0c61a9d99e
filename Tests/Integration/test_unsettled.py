"""Deliveries that their receiver never settles: the sender is held, memory stays small, and what is beside goes on."""

import contextlib
import socket
import struct
import threading
import unittest

from amqp_wire import (ATTACH, BEGIN, DETACH, DISPOSITION, FLOW, TRANSFER, Described, ManagementClient, PeerClosed,
                       UByte, UInt, ULong, frame, performative)
from harness import SANITIZED, Server, connect, free_port, is_refused, wait_until
from router_peer import RouterPeer
from test_bounds import BODY, WINDOW, BoundsCase
from test_hostile import HostileCase

# What one session leaves unsettled towards a peer, whatever credit it has.
MOST = 65_536
# Credit of the sender, by the linkCapacity of its listener: all of that and some that waits in the router.
CREDIT = 70_000
RELEASED, MODIFIED = 0x26, 0x27
# Kilobytes that the router may grow by: less than 2 kB for each delivery.
CEILING = 130_000


class Collector(threading.Thread):
    """Reads all that comes on a connection: transfers counted by channel, outcomes by delivery, credit."""

    def __init__(self, peer):
        super().__init__(daemon=True)
        self.peer, self.transfers, self.outcomes, self.limit, self.detached = peer, {}, {}, 0, False
        self.start()

    def run(self):
        try:
            self.peer.socket.settimeout(None)
            while True:
                code, fields, _ = self.peer._read_frame()
                if code == TRANSFER and not (len(fields) > 5 and fields[5]):
                    self.transfers[self.peer.channel] = self.transfers.get(self.peer.channel, 0) + 1
                elif code == DISPOSITION:
                    for number in range(fields[1], (fields[1] if fields[2] is None else fields[2]) + 1):
                        self.outcomes[number] = fields[4].descriptor, bool(fields[3])
                elif code == FLOW and len(fields) > 6 and fields[4] is not None:
                    self.limit = fields[5] + fields[6]
                elif code == DETACH:
                    self.detached = True
        except (PeerClosed, OSError, ValueError):
            pass


class NeverSettled(BoundsCase):
    def setUp(self):
        super().setUp()
        self.wide = free_port()
        with ManagementClient(self.hub.amqp_port) as management:
            management.create("listener", "wide", role="normal", host="127.0.0.1", port=str(self.wide),
                              linkCapacity=CREDIT, idleTimeoutSeconds=600)

    def begin(self, peer, channel):
        """One more session with a receiver for `beside`."""
        peer.send(BEGIN, None, UInt(0), WINDOW, WINDOW, channel=channel)
        peer.expect(BEGIN)
        peer.send(ATTACH, "beside", UInt(0), True, UByte(2), UByte(0), Described(ULong(0x28), ["beside"]),
                  Described(ULong(0x29), []), channel=channel)
        peer.expect(ATTACH)
        peer.send(FLOW, UInt(0), WINDOW, UInt(0), WINDOW, UInt(0), UInt(0), UInt(1000), channel=channel)

    def send(self, peer, first, count):
        """Unsettled messages in large writes."""
        for start in range(first, first + count, 500):
            peer.socket.sendall(b"".join(
                frame(performative(TRANSFER, UInt(0), UInt(number), struct.pack(">I", number), UInt(0), False, False)
                      + BODY) for number in range(start, min(start + 500, first + count))))

    def await_transfers(self, collector, channel, count):
        wait_until(f"{count} transfers on channel {channel}",
                   lambda: collector.transfers.get(channel, 0) == count, 200, 0.05)

    @unittest.skipIf(SANITIZED, "70,000 deliveries take too long")
    def test_consumer_with_credit_for_all_that_settles_none(self):
        consumer = self.client("hoarder", self.wide)
        self.begin(consumer, 1)
        self.attach(consumer, "c", 0, True, "hoard")
        self.credit(consumer, 0, 1 << 30)
        taken = Collector(consumer)
        producer = self.client("producer", self.wide)
        self.attach(producer, "p", 0, False, "hoard")
        self.assertEqual(producer.expect(FLOW)[6], CREDIT)
        answers = Collector(producer)
        answers.limit = CREDIT
        beside = self.client("beside")
        self.attach(beside, "p", 0, False, "beside")
        beside.expect(FLOW)
        before = self.hub.process.resident_kilobytes()
        self.send(producer, 0, CREDIT)
        self.await_transfers(taken, 0, MOST)
        # The other session of this consumer goes on, and its full one gets no more meanwhile.
        for number in range(20):
            self.transfer(beside, number, settled=True)
        self.await_transfers(taken, 1, 20)
        self.assert_alive()
        self.assertEqual(taken.transfers[0], MOST)
        self.assertEqual((answers.limit, answers.outcomes), (CREDIT, {}), "credit or outcomes that nobody gave")
        grown = self.hub.process.resident_kilobytes() - before
        print(f"{CREDIT} unsettled deliveries: {grown} kB")
        self.assertLess(grown, CEILING)
        # As many as it settles come in their place.
        consumer.send(DISPOSITION, True, UInt(0), UInt(999), True, Described(ULong(0x24), []))
        self.await_transfers(taken, 0, MOST + 1000)
        wait_until("a thousand to be accepted", lambda: len(answers.outcomes) == 1000, 10)
        consumer.send(DETACH, UInt(0), True)
        wait_until("an outcome for every message", lambda: len(answers.outcomes) == CREDIT, 30, 0.05)
        states = {number: state for number, (state, settled) in answers.outcomes.items() if settled}
        self.assertEqual(len(states), CREDIT)
        self.assertEqual({states[number] for number in range(1000)}, {0x24})
        self.assertLessEqual({states[number] for number in range(1000, MOST + 1000)}, {RELEASED, MODIFIED})
        self.assertEqual({states[number] for number in range(MOST + 1000, CREDIT)}, {RELEASED})
        for number in range(20, 40):
            self.transfer(beside, number, settled=True)
        self.await_transfers(taken, 1, 40)

    def test_ordinary_sender_is_held_after_its_250(self):
        consumer = self.client("hoarder")
        self.attach(consumer, "c", 0, True, "hoard")
        self.credit(consumer, 0, 1 << 30)
        taken = Collector(consumer)
        producer = self.client("producer")
        self.attach(producer, "p", 0, False, "hoard")
        self.assertEqual(producer.expect(FLOW)[6], 250)
        answers = Collector(producer)
        answers.limit = 250
        self.send(producer, 0, 250)
        self.await_transfers(taken, 0, 250)
        self.assert_alive()
        self.assertEqual((answers.limit, answers.outcomes), (250, {}))
        consumer.socket.shutdown(socket.SHUT_RDWR)
        wait_until("an outcome for every message", lambda: len(answers.outcomes) == 250, 10)
        self.assertLessEqual({state for state, _ in answers.outcomes.values()}, {RELEASED, MODIFIED})


class NeverAcknowledged(HostileCase):
    """The router `peer` is a neighbour of `far`: it takes streams and says of none how much of it has arrived."""

    STREAMS = 20 if SANITIZED else 150
    # Octets of one stream that may be under way to a router that acknowledges nothing, and its head.
    WINDOW = 1_042_432 + 1000
    # Kilobytes for all of them: what a slow neighbour has not taken yet waits, up to the window of each stream.
    CEILING = 20_000 + STREAMS * WINDOW // 1024

    def peer(self, **fields):
        connection = self.context().wrap_socket(connect(self.port, timeout=20), server_hostname="127.0.0.1")
        peer = RouterPeer(connection, "peer")
        self.addCleanup(peer.close)
        peer.takes_streams = True
        vars(peer).update(fields)
        return peer

    def settle_down(self, peer, count):
        """Reads until so many streams were taken and nothing more comes."""
        def still():
            before = peer.stream_octets
            peer.step(0.5)
            return len(peer.streams_taken) >= count and peer.stream_octets == before
        wait_until(f"{count} streams to have come and to be held", still, 60, 0)

    def assert_bounded(self, before):
        if not SANITIZED:
            for router, resident in before.items():
                self.assertLess(router.process.resident_kilobytes() - resident, self.CEILING, router.name)

    def resident(self):
        return {router: router.process.resident_kilobytes() for router in (self.near, self.far)}

    def test_clients_are_held_at_their_window(self):
        listener = self.near.tcp_listener("hole")
        with ManagementClient(self.near.amqp_port) as management:
            management.create("tcpListener", **self.near.entities[-1][1])
        peer = self.peer(addresses=[["Mhole", 3, 0]]).until_neighbour()
        wait_until("the listener to open", lambda: peer.step(0.2) and not is_refused(listener), 15)
        before = self.resident()

        def push(client):
            with contextlib.suppress(OSError):
                while True:
                    client.send(bytes(1 << 16))
        clients = [connect(listener, 120) for _ in range(self.STREAMS)]
        for client in clients:
            threading.Thread(target=push, args=(client,), daemon=True).start()
        wait_until("the streams", lambda: len(peer.step(0.2).reply_addresses) >= self.STREAMS, 20)
        # A client's octets are read when its reply has begun.
        peer.begin_streams()
        for address in peer.reply_addresses:
            peer.send_stream(address, replied=False)
        self.settle_down(peer, self.STREAMS)
        self.assert_others_go_on()
        count = len(peer.streams_taken)
        print(f"{count} clients: {peer.stream_octets} octets came")
        self.assertGreater(peer.stream_octets, self.STREAMS * self.WINDOW // 2)
        self.assertLess(peer.stream_octets, count * self.WINDOW)
        self.assert_bounded(before)
        peer.close()
        for client in clients:
            client.settimeout(20)
            with contextlib.suppress(ConnectionError):
                self.assertEqual(client.recv(1), b"")
        self.assert_others_go_on()

    def test_servers_are_held_at_their_window(self):
        sent, ended = [], []

        def endless(connection):
            number = len(sent)
            sent.append(0)
            try:
                while True:
                    sent[number] += connection.send(bytes(1 << 16))
            except OSError:
                ended.append(number)
        server = self.keep(Server(endless))
        with ManagementClient(self.far.amqp_port) as management:
            management.create("tcpConnector", "spring", host="127.0.0.1", port=str(server.port), address="spring")
        peer = self.peer().until_neighbour()
        before = self.resident()
        peer.begin_streams()
        for _ in range(self.STREAMS):
            peer.send_stream("spring", b"flow!")
        self.settle_down(peer, self.STREAMS)
        self.assert_others_go_on()
        print(f"{self.STREAMS} servers: {peer.stream_octets} octets came")
        self.assertEqual(len(sent), self.STREAMS)
        self.assertGreater(peer.stream_octets, self.STREAMS * self.WINDOW // 2)
        self.assertLess(peer.stream_octets, self.STREAMS * self.WINDOW)
        self.assert_bounded(before)
        peer.close()
        wait_until("every server to learn of the end", lambda: len(ended) == self.STREAMS, 20)
        self.assert_others_go_on()


if __name__ == "__main__":
    unittest.main()

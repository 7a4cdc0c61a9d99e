"""What routers write in front of a message, what they make of it, and how they count deliveries."""

import contextlib
import hashlib
import socket
import struct
import threading
import unittest

from amqp_wire import (ACCEPTED, ATTACH, BEGIN, DISPOSITION, FLOW, TRANSFER, Described, ManagementClient, Peer,
                       PeerClosed, Symbol, UByte, UInt, ULong, decode, encode)
from harness import MeshCase, RouterCase, connect, free_port, wait_until

ANNOTATIONS = 0x534B50522D2D5241
REJECTED, RELEASED, MODIFIED = 0x25, 0x26, 0x27
WINDOW = UInt(1 << 20)
BODY = encode(Described(ULong(0x77), "hello"))


def client(test, port, name, **open_fields):
    peer = Peer(connect(port, timeout=10), container=name, **open_fields).handshake()
    test.addCleanup(peer.socket.close)
    peer.send(BEGIN, None, UInt(0), WINDOW, WINDOW)
    peer.expect(BEGIN)
    return peer


def receiver(test, port, address, credit=100, **open_fields):
    peer = client(test, port, "receiver", **open_fields)
    peer.send(ATTACH, "receiver", UInt(0), True, UByte(2), UByte(0), Described(ULong(0x28), [address]),
              Described(ULong(0x29), []))
    peer.expect(ATTACH)
    peer.send(FLOW, UInt(0), WINDOW, UInt(0), WINDOW, UInt(0), UInt(0), UInt(credit))
    return peer


def sender(test, port, address=None, capability=None):
    """Without an address each message tells its own."""
    peer = client(test, port, "sender")
    target = Described(ULong(0x29), [address, None, None, None, None, None, capability and Symbol(capability)])
    peer.send(ATTACH, "sender", UInt(0), False, UByte(2), UByte(0), Described(ULong(0x28), []), target, None, None,
              UInt(0))
    peer.expect(FLOW)
    return peer


def transfer(peer, number, message, settled=False):
    peer.send(TRANSFER, UInt(0), UInt(number), struct.pack(">I", number), UInt(0), settled, False, payload=message)


def transfer_in_frames(peer, message, size=8000):
    for at in range(0, len(message), size):
        first = at == 0
        peer.send(TRANSFER, UInt(0), UInt(0) if first else None, b"0000" if first else None,
                  UInt(0) if first else None, False, at + size < len(message), payload=message[at:at + size])


def annotations(value):
    return encode(Described(ULong(ANNOTATIONS), value))


def to(address):
    return encode(Described(ULong(0x73), [None, None, address]))


class Annotations(MeshCase):
    """near - far, an edge router under far; clients that see what routers say to each other."""

    def setUp(self):
        super().setUp()
        self.near, self.far = self.pair()
        self.edge = self.router("edge", self.authority, mode="edge")
        self.edge.connect_to(self.far.listen_for_routers(role="edge"), role="edge")
        self.ports = {}
        for router in (self.near, self.far, self.edge):
            self.ports[router] = free_port()
            router.add("listener", name="annotated", role="normal", host="127.0.0.1", port=self.ports[router],
                       stripAnnotations="no")
            router.start()

    def await_known(self, address):
        with ManagementClient(self.near.amqp_port) as management:
            wait_until("near to know of the receiver", lambda: any(
                row["name"].endswith(address) and row["remoteCount"] > 0
                for row in management.query("router.address")), 10)

    def sent(self, target, said, address="place"):
        """The annotations in front of a message from near's client that says `said`, as its receiver sees them."""
        taker = receiver(self, self.ports[target], address)
        self.await_known(address)
        transfer(sender(self, self.ports[self.near]), 0, annotations(said) + to(address) + BODY)
        section, _ = decode(taker.next_of(TRANSFER)[2])
        self.assertEqual(section.descriptor, ANNOTATIONS)
        return section.value

    def test_a_message_from_a_router_that_nobody_knows_passes(self):
        value = self.sent(self.far, [UInt(0x80), None, "0/nowhere", []])
        self.assertEqual(value, [0x80, None, "0/nowhere", ["0/near", "0/far"]])

    def test_an_address_in_front_stands_above_that_of_the_message(self):
        taker = receiver(self, self.ports[self.near], "other")
        peer = sender(self, self.ports[self.near])
        transfer(peer, 0, annotations([UInt(0), "other", None, []]) + to("nobody") + BODY)
        section, _ = decode(taker.next_of(TRANSFER)[2])
        self.assertEqual(section.value, [0, "other", "0/near", ["0/near"]])

    def test_an_edge_router_tells_no_way(self):
        value = self.sent(self.edge, [UInt(0), None, None, []])
        self.assertEqual(value, [0, "place", None, []])

    def test_a_message_that_is_all_in_comes_on_its_receivers_link(self):
        """The streaming mark alone opens no new link, also where the receiver takes streams on links of their own."""
        taker = receiver(self, self.ports[self.far], "place", offered=Symbol("qd.streaming-links"))
        self.await_known("place")
        transfer(sender(self, self.ports[self.near]), 0, annotations([UInt(1), None, None, []]) + to("place") + BODY)
        code, fields, payload = taker.next_of(ATTACH, TRANSFER)
        self.assertEqual((code, decode(payload)[0].value[0]), (TRANSFER, 1))

    def test_what_is_no_list_is_no_message(self):
        for number, (said, condition) in enumerate((({Symbol("a"): "b"}, "amqp:decode-error"),
                                                    ([UInt(0)], "amqp:invalid-field"),
                                                    ([UInt(0), None, None, "way"], "amqp:invalid-field"))):
            receiver(self, self.ports[self.near], "place")
            peer = sender(self, self.ports[self.near], "place")
            transfer(peer, 0, annotations(said) + BODY)
            state = peer.expect(DISPOSITION)[4]
            self.assertEqual((state.descriptor, state.value[0].value[0]), (REJECTED, condition), number)


MESSAGE = to("place") + encode(Described(ULong(0x75), bytes(range(256)) * 400))
DIGEST = hashlib.sha256(MESSAGE).hexdigest()


class Taker:
    """A receiver that answers each message with one state."""

    def __init__(self, peer, state, settled=True):
        self.peer, self.state, self.settled = peer, Described(ULong(state), []), settled
        # What was received, as digests.
        self.messages = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self):
        message = b""
        with contextlib.suppress(OSError, PeerClosed):
            while True:
                _, fields, payload = self.peer.next_of(TRANSFER)
                number = fields[1] if not message else number
                message += payload
                if len(fields) > 5 and fields[5]:
                    continue
                self.messages.append(hashlib.sha256(message).hexdigest())
                message = b""
                self.peer.send(DISPOSITION, True, number, None, self.settled, self.state)


class SecondChances(MeshCase):
    """near - far - edge; released messages of a sender that wants them to be sent to somebody else."""

    def setUp(self):
        super().setUp()
        self.near, self.far = self.pair()
        self.edge = self.router("edge", self.authority, mode="edge")
        self.edge.connect_to(self.far.listen_for_routers(role="edge"), role="edge")
        for router in (self.near, self.far, self.edge):
            router.start()

    def takers(self, *states, settled=True):
        """Two at near, one at far, one at the edge."""
        places = (self.near, self.near, self.far, self.edge)
        takers = [Taker(receiver(self, place.amqp_port, "place"), state, settled)
                  for place, state in zip(places, states, strict=True)]
        for router, subscribers, remotes in ((self.near, 2, 1), (self.far, 2, 1)):
            with ManagementClient(router.amqp_port) as management:
                wait_until(f"{router.name} to know all receivers", lambda: any(
                    row["name"].endswith("place")
                    and (row["subscriberCount"], row["remoteCount"]) == (subscribers, remotes)
                    for row in management.query("router.address")), 10)
        return takers

    def outcome(self, router, capability="qd.resend-released"):
        peer = sender(self, router.amqp_port, "place", capability)
        transfer_in_frames(peer, MESSAGE)
        while True:
            fields = peer.expect(DISPOSITION)
            if fields[3]:
                return fields[4].descriptor

    def test_each_is_asked_once_before_it_is_released(self):
        takers = self.takers(*[RELEASED] * 4)
        for number, router in enumerate((self.near, self.far, self.edge), 1):
            self.assertEqual(self.outcome(router), RELEASED)
            self.assertEqual([taker.messages for taker in takers], [[DIGEST] * number] * 4, router.name)

    def test_receivers_that_wait_for_the_sender_to_settle(self):
        takers = self.takers(*[RELEASED] * 4, settled=False)
        self.assertEqual(self.outcome(self.near), RELEASED)
        self.assertEqual([taker.messages for taker in takers], [[DIGEST]] * 4)

    def test_who_accepts_it_is_found(self):
        for accepting in range(4):
            with self.subTest(accepting=accepting):
                states = [ACCEPTED if index == accepting else RELEASED for index in range(4)]
                takers = self.takers(*states)
                for router in (self.near, self.edge):
                    self.assertEqual(self.outcome(router), ACCEPTED)
                self.assertEqual(takers[accepting].messages, [DIGEST] * 2)
                for taker in takers:
                    taker.peer.socket.shutdown(socket.SHUT_RDWR)
                self.await_nobody()

    def await_nobody(self):
        for router in (self.near, self.far):
            with ManagementClient(router.amqp_port) as management:
                wait_until(f"{router.name} to forget all receivers", lambda: not any(
                    row["name"].endswith("place") and row["subscriberCount"] + row["remoteCount"] > 0
                    for row in management.query("router.address")), 10)

    def test_another_answer_ends_it(self):
        takers = self.takers(*[MODIFIED] * 4)
        self.assertEqual(self.outcome(self.near), MODIFIED)
        self.assertEqual(sum(len(taker.messages) for taker in takers), 1)

    def test_who_does_not_ask_has_one(self):
        takers = self.takers(*[RELEASED] * 4)
        self.assertEqual(self.outcome(self.near, capability=None), RELEASED)
        self.assertEqual(sum(len(taker.messages) for taker in takers), 1)


class Counters(RouterCase):
    def test_settled_messages_that_nobody_takes_are_counted(self):
        router = self.router("alone").start()
        with ManagementClient(router.amqp_port) as management:
            peer = sender(self, router.amqp_port)
            for number in range(10):
                transfer(peer, number, to("nobody") + BODY, settled=True)
            transfer(peer, 10, to("nobody") + BODY)
            self.assertEqual(peer.expect(DISPOSITION)[4].descriptor, RELEASED)
            links = [row for row in management.query("router.link") if row["linkName"] == "sender"]
            self.assertEqual([(row["deliveryCount"], row["presettledCount"], row["droppedPresettledCount"],
                               row["releasedCount"]) for row in links], [(11, 10, 10, 1)])
            totals = management.query("routerMetrics")[0]
            self.assertEqual((totals["droppedPresettledDeliveries"], totals["releasedDeliveries"]), (10, 1))

    def test_stuck_deliveries_are_counted_while_they_are(self):
        """They are looked for every half minute, so that this takes some time."""
        router, port = self.router("alone"), free_port()
        router.add("listener", name="patient", role="normal", host="127.0.0.1", port=port, idleTimeoutSeconds=120)
        router.start()

        def metric(name):
            with ManagementClient(router.amqp_port) as management:
                return management.query("routerMetrics")[0][name]

        def stuck():
            return metric("deliveriesStuck")

        # A sender that has nobody to send to, and a receiver that wants nothing yet.
        idle = client(self, port, "idle")
        for handle, receives, address in ((0, False, "nobody"), (1, True, "nothing")):
            termini = [Described(ULong(0x28), [address]), Described(ULong(0x29), [])]
            if not receives:
                termini = [Described(ULong(0x28), []), Described(ULong(0x29), [address])]
            idle.send(ATTACH, address, UInt(handle), receives, UByte(2), UByte(0), *termini, None, None,
                      None if receives else UInt(0))
            idle.expect(ATTACH)
        # One that has had what it wanted is idle: it is not blocked.
        served, giver = receiver(self, port, "one", credit=1), sender(self, port, "one")
        transfer(giver, 0, BODY, settled=True)
        served.expect(TRANSFER)
        taker = receiver(self, port, "place")
        peer = sender(self, port, "place")
        for number in range(3):
            transfer(peer, number, BODY)
            taker.expect(TRANSFER)
        # Each counts on the link that it came on and on the link that it went to.
        wait_until("all to be stuck", lambda: stuck() == 6, 50)
        self.assertEqual(metric("linksBlocked"), 2)
        idle.send(FLOW, UInt(0), WINDOW, UInt(0), WINDOW, UInt(1), UInt(0), UInt(1))
        wait_until("the receiver with credit not to be blocked", lambda: metric("linksBlocked") == 1, 15)
        taker.send(DISPOSITION, True, UInt(0), None, True, Described(ULong(ACCEPTED), []))
        wait_until("one to be settled by its receiver", lambda: stuck() == 4, 5)
        peer.send(DISPOSITION, False, UInt(1), None, True, Described(ULong(ACCEPTED), []))
        wait_until("one to be settled by its sender", lambda: stuck() == 2, 5)
        taker.socket.close()
        wait_until("the last one to end with its receiver", lambda: stuck() == 0, 5)

    def test_answers_to_a_container_are_counted(self):
        router = self.router("alone")
        port = free_port()
        router.add("listener", name="container", role="route-container", host="127.0.0.1", port=port)
        router.start()
        with ManagementClient(port) as management:
            first, second = (management.query("routerMetrics")[0]["deliveriesEgressRouteContainer"] for _ in range(2))
        self.assertEqual(second - first, 1)


if __name__ == "__main__":
    unittest.main()

"""AMQP clients that leave, repeat themselves or stop in the middle: their deliveries end and the router goes on."""

import struct
import unittest

from amqp_wire import (ATTACH, BEGIN, DETACH, DISPOSITION, FLOW, TRANSFER, Described, Peer, PeerClosed, Symbol,
                       UByte, UInt, ULong, encode, frame, performative)
from harness import RouterCase, connect, free_port

WINDOW = UInt(1 << 20)
BODY = encode(Described(ULong(0x77), "hello"))
ACCEPT = Described(ULong(0x24), [])


class LinkCase(RouterCase):
    """One router with a listener for clients."""

    def setUp(self):
        super().setUp()
        self.hub = self.router("hub")
        self.hub.add("address", prefix="closed", distribution="unavailable")
        self.edge_port = free_port()
        self.hub.add("listener", name="edge", role="edge", host="127.0.0.1", port=self.edge_port,
                     saslMechanisms="ANONYMOUS")
        self.hub.start()

    def client(self, name, port=None):
        peer = Peer(connect(port or self.hub.amqp_port, timeout=10), container=name).handshake()
        peer.send(BEGIN, None, UInt(0), WINDOW, WINDOW)
        peer.expect(BEGIN)
        self.addCleanup(peer.socket.close)
        return peer

    def consumer(self, name="consumer", address="queue"):
        peer = self.client(name)
        peer.send(ATTACH, name, UInt(0), True, UByte(2), UByte(0), Described(ULong(0x28), [address]),
                  Described(ULong(0x29), []))
        peer.expect(ATTACH)
        peer.send(FLOW, UInt(0), WINDOW, UInt(0), WINDOW, UInt(0), UInt(0), UInt(100))
        return peer

    def producer(self, name="producer", address="queue", port=None):
        peer = self.client(name, port)
        peer.send(ATTACH, name, UInt(0), False, UByte(2), UByte(0), Described(ULong(0x28), []),
                  Described(ULong(0x29), [address]), None, None, UInt(0))
        peer.expect(FLOW)
        return peer

    def transfer(self, peer, number, more=False, settled=False, payload=BODY):
        peer.send(TRANSFER, UInt(0), UInt(number), struct.pack(">I", number), UInt(0), settled, more, payload=payload)

    def assert_alive(self):
        """A management answer proves that the loops and the control thread run."""
        self.assertEqual(self.hub.get("/healthz")[0], 200)
        first, second = self.consumer("again", "alive"), self.producer("another", "alive")
        self.transfer(second, 0)
        self.assertTrue(first.expect(TRANSFER))
        self.assertTrue(self.hub.process.is_alive(), self.hub.process.log_tail())

    def settle(self, consumer, first=0, last=None):
        consumer.send(DISPOSITION, True, UInt(first), None if last is None else UInt(last), True, ACCEPT)


class Links(LinkCase):
    def test_producer_detaches_before_the_consumer_decides(self):
        consumer, producer = self.consumer(), self.producer()
        self.transfer(producer, 0)
        consumer.expect(TRANSFER)
        producer.send(DETACH, UInt(0), True)
        producer.expect(DETACH)
        self.settle(consumer)
        consumer.socket.close()
        self.assert_alive()

    def test_credit_of_a_client_is_taken_back_with_the_first_message_that_finds_nobody(self):
        consumer, producer = self.consumer(), self.producer()
        consumer.send(DETACH, UInt(0), True)
        consumer.expect(DETACH)
        # The producer's loop may hear of that after its first messages: those find a consumer that has gone.
        number, drained = -1, False
        while not drained:
            number += 1
            self.assertLess(number, 200, "the credit is not taken back")
            self.transfer(producer, number)
            while True:
                code, fields, _ = producer.next_of(FLOW, DISPOSITION)
                if code == DISPOSITION:
                    break
                if len(fields) > 8 and fields[8]:
                    self.assertEqual((fields[5], fields[6]), (number + 1, 249))
                    drained = True
            self.assertIn(fields[4].descriptor, (0x26, 0x27))
        # What is under way has its outcome all the same, and credit comes back with the next receiver.
        self.transfer(producer, number + 1)
        self.assertEqual(producer.expect(DISPOSITION)[4].descriptor, 0x26)
        self.consumer("second")
        self.assertEqual(producer.expect(FLOW)[5:7], [number + 2, 250])

    def test_edge_router_keeps_its_credit_when_nobody_takes_its_messages(self):
        """Its clients' credit is its own affair, and messages of several of them may be on their way."""
        proxy = self.producer("edge", port=self.edge_port)
        for number in range(300):
            self.transfer(proxy, number)
            while True:
                code, fields, _ = proxy.next_of(FLOW, DISPOSITION)
                if code == DISPOSITION:
                    break
                self.assertFalse(len(fields) > 8 and fields[8], "the interior has taken the credit back")
            self.assertEqual((fields[1], fields[4].descriptor), (number, 0x26))

    def test_message_released_before_its_end_has_one_outcome(self):
        producer = self.producer(address=None)
        head = encode(Described(ULong(0x73), [None, None, "nobody"])) + encode(Described(ULong(0x75), b"x" * 1000))
        for number in range(3):
            # In one write, so that the end is there when the first part is found to have no receiver.
            both = [frame(performative(TRANSFER, UInt(0), UInt(number), b"t", UInt(0), False, more) + payload)
                    for more, payload in ((True, head), (False, encode(Described(ULong(0x75), b"y"))))]
            producer.socket.sendall(b"".join(both))
            _, fields, _ = producer.next_of(DISPOSITION)
            self.assertEqual((fields[1], fields[3], fields[4].descriptor), (number, True, 0x26))

    def test_sender_that_pauses_hears_that_its_message_is_released(self):
        producer = self.producer(address=None)
        head = encode(Described(ULong(0x73), [None, None, "nobody"])) + encode(Described(ULong(0x75), b"x" * 1000))
        self.transfer(producer, 0, more=True, payload=head)
        _, fields, _ = producer.next_of(DISPOSITION)
        self.assertEqual((bool(fields[3]), fields[4].descriptor), (False, 0x26))
        self.transfer(producer, 0, payload=encode(Described(ULong(0x75), b"y")))
        _, fields, _ = producer.next_of(DISPOSITION)
        self.assertEqual((fields[3], fields[4].descriptor), (True, 0x26))

    def test_delivery_id_used_twice_ends_the_session(self):
        consumer, producer = self.consumer(), self.producer()
        self.transfer(producer, 7)
        consumer.expect(TRANSFER)
        self.transfer(producer, 7)
        code, fields, _ = producer.next_of(0x17)
        self.assertEqual(fields[0].value[0], "amqp:session:invalid-field")
        self.settle(consumer, 0)
        producer.socket.close()
        consumer.socket.close()
        self.assert_alive()

    def test_consumer_vanishes_in_the_middle_of_a_settled_message(self):
        consumer, producer = self.consumer(), self.producer()
        # Larger than the buffers between the two, so that the delivery has started and has not ended.
        self.transfer(producer, 0, more=True, settled=True, payload=encode(Described(ULong(0x75), b"x" * 8000)))
        consumer.expect(TRANSFER)
        consumer.socket.close()
        for _ in range(50):
            self.transfer(producer, 0, more=True, settled=True, payload=b"y" * 8000)
        self.transfer(producer, 0, settled=True, payload=b"z")
        self.assert_alive()

    def test_consumer_detaches_in_the_middle_of_a_settled_message(self):
        consumer, producer = self.consumer(), self.producer()
        self.transfer(producer, 0, more=True, settled=True, payload=encode(Described(ULong(0x75), b"x" * 8000)))
        consumer.expect(TRANSFER)
        consumer.send(DETACH, UInt(0), True)
        consumer.expect(DETACH)
        for _ in range(50):
            self.transfer(producer, 0, more=True, settled=True, payload=b"y" * 8000)
        self.transfer(producer, 0, settled=True, payload=b"z")
        self.assert_alive()


class ErrorScope(LinkCase):
    """An error of one link ends that link: its session, and what else is on it, goes on."""

    def setUp(self):
        super().setUp()
        self.peer = self.client("faulty")
        self.number = 0
        self.attach("good-in", 11, "kept", receives=True)
        self.peer.expect(ATTACH)
        self.peer.send(FLOW, UInt(0), WINDOW, UInt(0), WINDOW, UInt(11), UInt(0), UInt(100))
        self.attach("good-out", 10, "kept")
        self.credit()

    def attach(self, name, handle, address, receives=False, **changed):
        source = changed.get("source", Described(ULong(0x28), [address] if receives else []))
        target = changed.get("target", Described(ULong(0x29), [] if receives else [address]))
        self.peer.send(ATTACH, name, UInt(handle), receives, UByte(2), UByte(0), source, target, None, None,
                       None if receives else UInt(0))

    def credit(self):
        """The next credit that the router gives."""
        while len(flow := self.peer.expect(FLOW)) < 7 or not flow[6]:
            pass
        return flow[6]

    def send(self, handle, settled=True, payload=BODY, message_format=0):
        self.peer.send(TRANSFER, UInt(handle), UInt(self.number), struct.pack(">I", self.number), UInt(message_format),
                       settled, False, payload=payload)
        self.number += 1

    def assert_others_live(self):
        """A message goes out on one link of the session and comes back on another."""
        words = encode(Described(ULong(0x77), f"number {self.number}"))
        self.send(10, payload=words)
        code, fields, payload = self.peer.next_of(TRANSFER, 0x17)
        self.assertEqual(code, TRANSFER, fields)
        self.assertIn(words, payload)

    def assert_detached(self, condition):
        """The router's half of the end of a link, which is answered."""
        code, fields, _ = self.peer.next_of(DETACH, 0x17)
        self.assertEqual(code, DETACH, fields)
        self.assertEqual((fields[1], fields[2].value[0]), (True, condition))
        return fields[0]

    def test_transfers_far_beyond_the_credit(self):
        consumer = self.consumer("waiting", "slow")
        self.attach("greedy", 0, "slow")
        credit = self.credit()
        # None is settled, so that no credit comes back.
        for _ in range(credit + 500):
            self.send(0, settled=False)
        self.assert_detached("amqp:link:transfer-limit-exceeded")
        self.peer.send(DETACH, UInt(0), True)
        for _ in range(100):
            consumer.expect(TRANSFER)
        self.assert_others_live()
        # The same handle and name once more, which work.
        self.attach("greedy", 0, "kept")
        self.credit()
        self.send(0)
        self.assertTrue(self.peer.expect(TRANSFER))
        self.assert_others_live()
        self.settle(consumer, 0, 99)
        self.assert_alive()

    def test_message_format_that_nobody_knows(self):
        self.attach("strange", 0, "kept")
        self.credit()
        self.send(0, message_format=7)
        self.assert_detached("amqp:not-implemented")
        # Transfers that were under way when the router detached are passed over.
        for _ in range(10):
            self.send(0)
        self.peer.send(DETACH, UInt(0), True)
        self.assert_others_live()
        self.assert_alive()

    def test_attaches_that_are_refused(self):
        router_link = Described(ULong(0x28), [None, UInt(0), Symbol("link-detach"), UInt(0), False, None, None, None,
                                              None, None, Symbol("qd.router")])
        cases = [
            ("amqp:invalid-field", dict(address=None, receives=True, source=Described(ULong(0x28), []))),
            ("qd:no-route-to-dest", dict(address="amqp:/_topo/0/elsewhere/x", receives=True)),
            ("qd:forbidden", dict(address=None, receives=True, source=router_link)),
            ("amqp:not-implemented", dict(address=None, target=Described(ULong(0x30), []))),
            ("amqp:not-found", dict(address="closed.queue")),
            ("amqp:not-found", dict(address="closed.queue", receives=True)),
        ]
        for handle, (condition, attach) in enumerate(cases):
            with self.subTest(condition=condition, receives=attach.get("receives", False)):
                self.attach(f"refused-{handle}", handle, **attach)
                answer = self.peer.expect(ATTACH)
                self.assertEqual(answer[0], f"refused-{handle}")
                self.assert_detached(condition)
                self.peer.send(DETACH, UInt(handle), True)
                self.assert_others_live()
        self.assert_alive()


if __name__ == "__main__":
    unittest.main()

"""AMQP clients that leave, repeat themselves or stop in the middle: their deliveries end and the router goes on."""

import struct
import unittest

from amqp_wire import (ATTACH, BEGIN, DETACH, DISPOSITION, FLOW, TRANSFER, Described, Peer, PeerClosed, Symbol,
                       UByte, UInt, ULong, encode, frame, performative)
from harness import RouterCase, connect

WINDOW = UInt(1 << 20)
BODY = encode(Described(ULong(0x77), "hello"))
ACCEPT = Described(ULong(0x24), [])


class Links(RouterCase):
    """One router with a listener for clients."""

    def setUp(self):
        super().setUp()
        self.hub = self.router("hub")
        self.hub.start()

    def client(self, name):
        peer = Peer(connect(self.hub.amqp_port, timeout=10), container=name).handshake()
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

    def producer(self, name="producer", address="queue"):
        peer = self.client(name)
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

    def test_producer_detaches_before_the_consumer_decides(self):
        consumer, producer = self.consumer(), self.producer()
        self.transfer(producer, 0)
        consumer.expect(TRANSFER)
        producer.send(DETACH, UInt(0), True)
        producer.expect(DETACH)
        self.settle(consumer)
        consumer.socket.close()
        self.assert_alive()

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


if __name__ == "__main__":
    unittest.main()

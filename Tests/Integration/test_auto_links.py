"""Links that the router opens towards containers: `autoLink`."""

import socket
import unittest

from amqp_wire import (AMQP_VALUE, ATTACH, BEGIN, DETACH, FLOW, SOURCE, TARGET, TRANSFER, Described, ManagementClient,
                       ManagementError, Peer, UByte, UInt, ULong, UShort, encode)
from harness import RouterCase, free_port, wait_until


class Container(Peer):
    """A peer of a route-container listener that answers links by hand; its session is the router's."""

    def __init__(self, port, name):
        super().__init__(socket.create_connection(("127.0.0.1", port), timeout=10), container=name)
        self.handshake()

    def take(self, count):
        """The router's attaches, in the order in which they come."""
        self.expect(BEGIN)
        self.send(BEGIN, UShort(0), UInt(0), UInt(1000), UInt(1000))
        return [self.expect(ATTACH) for _ in range(count)]

    def answer(self, attach, confirm=True):
        """Our half: with the router's own termini, or with none."""
        source, target = (attach[5], attach[6]) if confirm else (None, None)
        self.send(ATTACH, attach[0], attach[1], not attach[2], UByte(2), UByte(0), source, target, None, None, UInt(0))


class AutoLinks(RouterCase):
    def setUp(self):
        super().setUp()
        self.front = self.router("front", mode="standalone")
        self.port = free_port()
        self.front.add("listener", name="containers", role="route-container", host="127.0.0.1", port=self.port)

    def state(self, name):
        with ManagementClient(self.front.amqp_port) as management:
            return management.read("router.config.autoLink", name)

    def wait_for(self, name, status):
        wait_until(f"{name} to be {status}", lambda: self.state(name)["operStatus"] == status, 10)

    def container(self, name="broker"):
        return self.keep_peer(Container(self.port, name))

    def keep_peer(self, peer):
        self.resources.callback(peer.close)
        return peer

    def test_messages_go_in_and_out(self):
        """A router is the container of the other: what is sent at one is received at the other, by another name."""
        back = self.router("back", mode="standalone")
        self.front.entities.pop()
        self.front.add("connector", name="out", role="route-container", host="127.0.0.1", port=str(back.amqp_port))
        self.front.add("autoLink", name="there", address="near", externalAddress="far", connection="out",
                       direction="out")
        self.front.add("autoLink", name="back", address="replies", containerId="back", direction="in")
        back.start()
        self.front.start()
        self.wait_for("there", "active")
        self.wait_for("back", "active")
        for sender, target, receiver, source in ((self.front, "near", back, "far"),
                                                 (back, "replies", self.front, "replies")):
            body = encode(Described(ULong(AMQP_VALUE), f"to {source}"))
            consumer = self.client(receiver)
            consumer.send(ATTACH, "in", UInt(0), True, UByte(2), UByte(0), Described(ULong(SOURCE), [source]),
                          Described(ULong(TARGET), []))
            consumer.expect(ATTACH)
            consumer.send(FLOW, UInt(0), UInt(100), UInt(0), UInt(100), UInt(0), UInt(0), UInt(10))
            producer = self.client(sender)
            producer.send(ATTACH, "out", UInt(0), False, UByte(2), UByte(0), Described(ULong(SOURCE), []),
                          Described(ULong(TARGET), [target]), None, None, UInt(0))
            producer.expect(FLOW)
            producer.send(TRANSFER, UInt(0), UInt(0), b"t", UInt(0), True, False, payload=body)
            _, _, payload = consumer.next_of(TRANSFER)
            self.assertIn(body, payload)
        self.assertEqual(self.front.process.log().count("Auto Link Activated"), 2)

    def client(self, router):
        peer = self.keep_peer(Peer(socket.create_connection(("127.0.0.1", router.amqp_port), timeout=10)))
        peer.handshake()
        peer.send(BEGIN, None, UInt(0), UInt(1000), UInt(1000))
        peer.expect(BEGIN)
        return peer

    def test_states_of_a_link(self):
        self.front.add("autoLink", name="one", address="a", containerId="broker", direction="in")
        self.front.start()
        row = self.state("one")
        self.assertEqual((row["operStatus"], row.get("lastError"), row.get("linkRef")), ("inactive", None, None))
        self.container("another")
        peer = self.container()
        attach, = peer.take(1)
        self.assertEqual((attach[5].value[0], attach[2]), ("a", True))
        self.assertEqual(self.state("one")["operStatus"], "attaching")
        peer.answer(attach, confirm=False)
        error = Described(ULong(0x1D), ["amqp:not-found", "no such queue"])
        peer.send(DETACH, attach[1], True, error)
        peer.expect(DETACH)
        self.wait_for("one", "failed")
        self.assertEqual(self.state("one")["lastError"], "no such queue")
        again = peer.expect(ATTACH)
        peer.answer(again)
        self.wait_for("one", "active")
        self.assertTrue(self.state("one")["linkRef"])
        peer.close()
        self.wait_for("one", "inactive")

    def test_links_come_and_go_with_their_entities(self):
        self.front.start()
        peer = self.container()
        with ManagementClient(self.front.amqp_port) as management:
            management.create("router.config.autoLink", "late", address="a", containerId="broker", direction="out",
                              externalAddress="b")
            attach, = peer.take(1)
            self.assertEqual((attach[6].value[0], attach[2]), ("b", False))
            peer.answer(attach)
            self.wait_for("late", "active")
            with self.assertRaises(ManagementError) as second:
                management.create("router.config.autoLink", "late", address="c", containerId="x", direction="in")
            self.assertEqual(second.exception.status, 400)
            management.delete("router.config.autoLink", "late")
            peer.expect(DETACH)
            self.assertEqual(management.query("router.config.autoLink"), [])
            key = "Ma"
            wait_until("the address to be gone",
                       lambda: key not in [row["key"] for row in management.query("router.address")], 10)

    def test_a_peer_that_ends_the_session_each_time(self):
        """It gets its links again, at the pace of refused ones, and the router lives."""
        self.front.add("autoLink", name="one", address="a", connection="containers", direction="out")
        self.front.start()
        peer = self.container()
        attach, = peer.take(1)
        peer.answer(attach)
        self.wait_for("one", "active")
        peer.send(0x17)
        self.wait_for("one", "failed")
        peer.expect(BEGIN)
        peer.send(BEGIN, UShort(0), UInt(0), UInt(1000), UInt(1000))
        peer.answer(peer.expect(ATTACH))
        self.wait_for("one", "active")

    def test_what_cannot_be_is_refused(self):
        self.front.start()
        with ManagementClient(self.front.amqp_port) as management:
            for attributes in ({"direction": "out", "externalAddress": "b"}, {"direction": "sideways", "address": "a"},
                               {"address": "a"}, {"direction": "in"},
                               {"direction": "in", "address": "a", "containerId": "c", "connection": "d"}):
                with self.assertRaises(ManagementError) as refused:
                    management.create("router.config.autoLink", "bad", **attributes)
                self.assertEqual(refused.exception.status, 400, attributes)
            self.assertEqual(management.query("router.config.autoLink"), [])


if __name__ == "__main__":
    unittest.main()

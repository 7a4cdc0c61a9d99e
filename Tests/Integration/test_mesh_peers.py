"""Neighbours of an edge router (role inter-edge), and interior routers above it, that do what none of ours would."""

import socket
import unittest

from amqp_wire import (APPLICATION_PROPERTIES, ATTACH, BEGIN, DETACH, FLOW, SOURCE, TARGET, TRANSFER, Described,
                       ManagementClient, Peer, Symbol, UByte, UInt, ULong, UShort, decode, encode, frame, performative)
from harness import RouterCase, free_port, wait_until
from test_policy import Accepted

BIDS = "_$qd.mesh_id_negotiation"
NAMES = "_$qd.mesh_discovery"
OWN = 90  # the channel of a session that a neighbour begins


def begin():
    return frame(performative(BEGIN, None, UInt(0), UInt(1000), UInt(1000)), OWN)


def bidder(handle):
    """A neighbour's sender of bids."""
    return frame(performative(ATTACH, f"bids-{handle}", UInt(handle), False, UByte(1), UByte(0),
                              Described(ULong(SOURCE), []), Described(ULong(TARGET), [BIDS]), None, None, UInt(0)), OWN)


def bid(handle, number, ordinal, name):
    message = encode(Described(ULong(APPLICATION_PROPERTIES), {"ordinal": ordinal, "id": name}))
    return frame(performative(TRANSFER, UInt(handle), UInt(number), b"%d" % number, UInt(0), True, False) + message,
                 OWN)


class Answering:
    """Answers the sessions that the router begins, with the numbers of its channels, and counts them."""

    begun = 0

    def next_sender(self, address):
        """The attach of the router's next sender to `address`; it is for `answer`."""
        while True:
            code, fields, _ = self.next_of(BEGIN, ATTACH)
            if code == BEGIN and fields[0] is None:
                self.begun += 1
                self.send(BEGIN, UShort(self.channel), UInt(0), UInt(1000), UInt(1000), channel=self.channel)
            elif code == ATTACH and not fields[2] and fields[6] is not None and fields[6].value[:1] == [address]:
                return fields

    def answer(self, attach, handle, address):
        source = None if address is None else Described(ULong(SOURCE), [])
        target = None if address is None else Described(ULong(TARGET), [address])
        self.send(ATTACH, attach[0], UInt(handle), True, UByte(2), UByte(0), source, target, channel=self.channel)

    def refuse(self, attach, handle):
        self.answer(attach, handle, None)
        self.send(DETACH, UInt(handle), True, channel=self.channel)


class Neighbour(Answering, Peer):
    def __init__(self, port, container):
        super().__init__(socket.create_connection(("127.0.0.1", port), timeout=10), container=container,
                         offered=Symbol("qd.router-inter-edge"))


class Interior(Answering, Accepted):
    pass


class Meshes(RouterCase):
    def setUp(self):
        super().setUp()
        self.edge = self.router("edge", mode="edge")
        self.mesh_port = free_port()
        self.edge.add("listener", name="mesh", role="inter-edge", host="127.0.0.1", port=self.mesh_port)

    def neighbour(self, container="neighbour", pipelined=b""):
        neighbour = Neighbour(self.mesh_port, container)
        self.resources.callback(neighbour.close)
        neighbour.pipelined = pipelined
        return neighbour.handshake()

    def test_refused_bidders_take_no_sessions(self):
        """Whenever the neighbour says that it bids on this connection it gets a bidder, in place of one it refused."""
        self.edge.start()
        neighbour = self.neighbour(pipelined=begin())
        for handle in range(50):
            neighbour.refuse(neighbour.next_sender(BIDS), handle)
            neighbour.socket.sendall(bidder(handle))
        neighbour.next_sender(BIDS)
        # The other one is for what is addressed to the neighbour.
        self.assertEqual(neighbour.begun, 2)

    def test_names_wait_for_credit_in_one_place(self):
        """An interior router that gives no credit is told only the last name of the mesh, however often it changes."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.resources.callback(listener.close)
        listener.settimeout(10)
        self.edge.add("connector", name="up", role="edge", host="127.0.0.1", port=str(listener.getsockname()[1]),
                      saslMechanisms="ANONYMOUS")
        self.edge.start()
        interior = Interior(listener.accept()[0])
        self.resources.callback(interior.close)
        interior.handshake()
        interior.answer(interior.next_sender(NAMES), 0, NAMES)
        channel = interior.channel
        names = [f"name-{number:010}" for number in range(50)]
        self.neighbour(pipelined=begin() + bidder(0) + b"".join(
            bid(0, number, 1000 - number, name) for number, name in enumerate(names)))
        wait_until("the last name", lambda: f"mesh of edge routers is {names[-1]}" in self.edge.process.log(), 10)
        interior.send(FLOW, UInt(0), UInt(1000), UInt(0), UInt(1000), UInt(0), UInt(0), UInt(1000), channel=channel)
        told = []
        while names[-1] not in told:
            message, at, sections = interior.next_of(TRANSFER)[2], 0, {}
            while at < len(message):
                section, at = decode(message, at)
                sections[section.descriptor] = section.value
            told.append(sections[APPLICATION_PROPERTIES]["meshid"])
        # Two if the credit came before the last one.
        self.assertLessEqual(len(told), 2, told)

    def test_bid_of_an_edge_router_of_the_same_id(self):
        """Its connection is closed, and nothing would take its bid away again."""
        self.edge.start()
        name = "name-of-the-same"[:15]
        self.neighbour("edge", begin() + bidder(0) + bid(0, 0, 1, name))
        wait_until("the connection to be closed", lambda: "edge router of the same id" in self.edge.process.log(), 10)
        with ManagementClient(self.edge.amqp_port) as management:
            management.query("router")  # answered after the bid
        self.assertNotIn(name, self.edge.process.log())


if __name__ == "__main__":
    unittest.main()

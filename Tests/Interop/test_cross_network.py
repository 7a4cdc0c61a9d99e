"""Connections between networks (role `inter-network`) with a router of each product at their ends.

Clients are in the network `west`, servers in `east`. The router in the east pulls the requests over, the one in the
west the replies, as skupper-router's notes on cross-network communication say.
"""

import unittest

from skrouterd_case import BOTH_WAYS, OURS, THEIRS, MixedCase, needs_skrouterd
from amqp_wire import TRANSFER
from harness import SLOWNESS, Server, echo, free_port, wait_until
from test_annotations import BODY, receiver, sender, transfer

from proton import Message
from proton.handlers import MessagingHandler
from proton.reactor import Container

COUNTED = ("deliveriesEgressInterNetwork", "deliveriesIngressInterNetwork")
REPLIES = 10


class Asking(MessagingHandler):
    """A client that sends requests with the address that its router has made, and a server that answers there."""

    def __init__(self, client, server, seconds=20):
        super().__init__()
        self.routers = client, server
        self.seconds = seconds
        self.reply_to = self.out = self.timer = None
        self.opened = self.sent = 0
        self.answers = set()
        self.error = "not begun"

    def on_start(self, event):
        self.error = "time is up"
        self.timer = event.reactor.schedule(self.seconds * SLOWNESS, self)
        self.client, self.server = (
            event.container.connect(f"amqp://127.0.0.1:{router.amqp_port}", reconnect=False)
            for router in self.routers)
        self.replies = event.container.create_receiver(self.client, None, dynamic=True)
        self.requests = event.container.create_receiver(self.server, "svc")
        self.back = event.container.create_sender(self.server, None)

    def on_link_opened(self, event):
        self.opened += 1
        if self.opened == 3:
            self.reply_to = self.replies.remote_source.address
            self.out = event.container.create_sender(self.client, "svc")

    def on_sendable(self, event):
        while event.sender == self.out and self.sent < REPLIES and self.out.credit:
            self.send(self.out, Message(address="svc", reply_to=self.reply_to, body=self.sent))
            self.sent += 1

    def send(self, sender, message):
        sender.send(message).again = message

    def on_released(self, event):
        # The way is not known everywhere yet.
        self.send(event.sender, event.delivery.again)

    def on_message(self, event):
        if event.receiver == self.requests:
            self.send(self.back, Message(address=event.message.reply_to, body=f"answer {event.message.body}"))
            return
        self.answers.add(event.message.body)
        if len(self.answers) == REPLIES:
            self.error = None
            self.end()

    def on_timer_task(self, event):
        self.end()

    def end(self):
        self.timer.cancel()
        self.client.close()
        self.server.close()


@needs_skrouterd
class CrossNetwork(MixedCase):
    def member(self, product, name, network, **attributes):
        router = self.make(product, name, **attributes)
        router.add("network", networkId=network)
        return router

    def join(self, west, east, service="svc", dialler=None):
        """One connection: requests for the service go east, replies to anybody in the west go west."""
        listening, dialling = (west, east) if dialler is not west else (east, west)
        dialling.connect_to(listening.listen_for_routers(name="cross", role="inter-network"),
                            name="cross", role="inter-network")
        west.add("autoLink", name="replies", connection="cross", direction="in", externalAddress="_xtopo/west")
        east.add("autoLink", name="requests", connection="cross", direction="in", address=service)

    def address(self, router, key):
        with self.management(router) as management:
            rows = management.query("router.address", "name", "subscriberCount", "remoteCount", *COUNTED)
        return next((row for row in rows if row["name"] == key), None)

    def await_address(self, router, key, count):
        def known():
            row = self.address(router, key)
            return row and row[count] > 0
        wait_until(f"{router.name} ({router.product}) to know {key}", known, 30, 0.1)

    def ask(self, client, server):
        """Requests and their replies; gives the address of the replies."""
        asking = Asking(client, server)
        Container(asking).run()
        self.assertIsNone(asking.error, f"{asking.sent} requests sent, answers: {sorted(asking.answers)}")
        self.assertEqual(asking.answers, {f"answer {number}" for number in range(REPLIES)})
        return asking.reply_to

    def test_request_and_reply(self):
        for near, far in [*BOTH_WAYS, (OURS, OURS)]:
            for dials in ("west", "east"):
                with self.part(west=near, east=far, dials=dials):
                    west, east = self.member(near, "W", "west"), self.member(far, "E", "east")
                    self.join(west, east, dialler=west if dials == "west" else east)
                    self.start_all()
                    self.await_address(east, "Nwest", "subscriberCount")
                    self.await_address(west, "Msvc", "subscriberCount")
                    own = self.ask(west, east)
                    self.assertTrue(own.startswith("amqp:/_xtopo/west/0/W/temp."), own)
                    for router, key, egress, ingress in (
                            (west, None, 10, 10), (east, None, 10, 10), (west, "Msvc", 10, 0), (east, "Nwest", 10, 0)):
                        row = self.address(router, key) if key else self.rows(router, "routerMetrics", *COUNTED)[0]
                        self.assertEqual((row[COUNTED[0]], row[COUNTED[1]]), (egress, ingress), (router.name, key))
                    role, = [row["role"] for row in self.rows(west, "connection", "role", "container")
                             if row["container"] == "E"]
                    self.assertEqual(role, "inter-network")

    def test_edge_and_distant_routers(self):
        """Neither client nor server is at a router that has the connection."""
        for near, far in BOTH_WAYS:
            with self.part(west=near, east=far):
                west, east = self.member(near, "W", "west"), self.member(far, "E", "east")
                self.join(west, east)
                beyond = self.member(near, "E2", "east")
                beyond.connect_to(east.listen_for_routers())
                edges = []
                for product, name, network, above in ((far, "EW", "west", west), (far, "EE", "east", beyond)):
                    edges.append(self.member(product, name, network, mode="edge"))
                    edges[-1].connect_to(above.listen_for_routers(role="edge"), role="edge")
                self.start_all()
                self.await_address(beyond, "Nwest", "remoteCount")
                for client, server in ((west, beyond), (edges[0], east), (west, edges[1]), (edges[0], edges[1])):
                    with self.subTest(client=client.name, server=server.name):
                        own = self.ask(client, server)
                        place = "_xedge/west/EW/" if client is edges[0] else "_xtopo/west/0/W/"
                        self.assertTrue(own.startswith(f"amqp:/{place}temp."), own)

    def test_what_the_other_network_is_told(self):
        """Router annotations, but of no router; what is sent for a target has it in them."""
        seen = {}
        for product in (OURS, THEIRS):
            with self.part(product=product):
                router = self.member(product, "W", "west")
                port = free_port()
                router.add("listener", name="cross", role="inter-network", host="127.0.0.1", port=port,
                           saslMechanisms="ANONYMOUS", authenticatePeer=False)
                self.start_all()
                other = receiver(self, port, "svc")
                transfer(sender(self, router.amqp_port, "svc"), 0, BODY)
                seen[product] = other.next_of(TRANSFER)[2]
                self.assertNotIn(b"0/W", seen[product])
                self.assertTrue(seen[product].endswith(BODY))
                other.socket.close()
        self.assertEqual(seen[OURS], seen[THEIRS])

    def test_services(self):
        """The streams of a TCP service cross over as well."""
        for near, far in [*BOTH_WAYS, (OURS, OURS)]:
            with self.part(west=near, east=far):
                west, east = self.member(near, "W", "west"), self.member(far, "E", "east")
                self.join(west, east)
                east.tcp_connector("svc", self.keep(Server(echo)).port)
                port = west.tcp_listener("svc")
                self.start_all()
                self.exchanges(port, (1000, 300_000), 2)


if __name__ == "__main__":
    unittest.main()

"""Messages of AMQP clients (Proton's) in a mesh of edge routers under two interiors; then with some of skrouterd's."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Integration"))

from proton import Delivery, Message  # noqa: E402

from harness import wait_until  # noqa: E402
from skrouterd_case import MixedNetwork, SkrouterdManagement, needs_skrouterd  # noqa: E402
import test_messaging  # noqa: E402

MESH = ("a", "b", "c")
PLACES = ("near", "far", "a", "b", "c", "out")


class MeshMessages(MixedNetwork, test_messaging.MessagingCase):
    """Edge routers a and b under `near`, c and `out` under `far`; a, b and c are connected to each other."""

    @classmethod
    def start_network(cls):
        cls.open_network()
        near, far = cls.make("near"), cls.make("far")
        far.connect_to(near.listen_for_routers())
        uplinks = {router: router.listen_for_routers(role="edge") for router in (near, far)}
        edges = {name: cls.make(name, mode="edge") for name in ("a", "b", "c", "out")}
        for name, edge in edges.items():
            edge.connect_to(uplinks[near if name in "ab" else far], role="edge")
        for listening, dialling in (("a", "b"), ("b", "c"), ("c", "a")):
            edges[dialling].connect_to(edges[listening].listen_for_routers(role="inter-edge"), role="inter-edge")
        cls.by_name = {"near": near, "far": far, **edges}
        for router in cls.by_name.values():
            for prefix, distribution in test_messaging.ADDRESSES:
                router.add("address", name=prefix, prefix=prefix, distribution=distribution)
        for router in cls.by_name.values():
            router.start(wait=False)
        for router in cls.by_name.values():
            router.wait_healthy(20)
        wait_until("the mesh to have one name", cls.is_one_mesh, 20, 0.1)

    @classmethod
    def is_one_mesh(cls):
        found = {}
        for name in ("near", "far"):
            with SkrouterdManagement(cls.by_name[name].amqp_port) as management:
                for row in management.query("connection", "role", "container", "meshId"):
                    if row["role"] == "edge":
                        found[row["container"]] = row["meshId"]
        return (len(found) == 4 and None not in found.values() and len({found[name] for name in MESH}) == 1
                and found["out"] != found["a"])

    test_any_router_to_any_other = test_messaging.Anycast.test_any_router_to_any_other

    def test_each_receiver_once_from_every_router(self):
        receivers = [self.receiver(router, "multi/all", credit=500) for router in PLACES for _ in range(2)]
        # Its own two and one for each router that has some; in an edge router the interior counts while it has senders.
        for router in PLACES:
            self.await_receivers(router, "multi/all", {"near": 5, "far": 5, "out": 2}.get(router, 4))
        for here in PLACES:
            for address in ("multi/all", None):
                with self.subTest(sender=here, target=address):
                    sender = self.sender(here, address)
                    if address is not None and here in MESH:
                        self.await_receivers(here, address, 5)
                    if address is not None and here == "out":
                        self.await_receivers(here, address, 3)
                    deliveries = [self.post(sender, Message(address="multi/all", body=number)) for number in range(5)]
                    for receiver in receivers:
                        self.assertEqual(self.take(receiver, 5), list(range(5)))
                    self.assertEqual([self.state(delivery) for delivery in deliveries], [Delivery.ACCEPTED] * 5)
                    self.quiet(receivers)
                    self.leave(sender.connection)
                    if here in MESH or here == "out":
                        self.await_receivers(here, "multi/all", 2 if here == "out" else 4)

    def test_request_and_reply(self):
        for here in PLACES:
            for there in PLACES:
                with self.subTest(client=here, service=there):
                    address = f"spread/service/{here}/{there}"
                    requests = self.receiver(there, address)
                    replies = self.sender(there, None)
                    client = self.connect(here)
                    inbox = client.create_receiver(None, credit=10, dynamic=True)
                    sender = client.create_sender(address)
                    self.post(sender, Message(reply_to=inbox.link.remote_source.address, body="question"))
                    request, delivery = self.next(requests)
                    delivery.update(Delivery.ACCEPTED)
                    delivery.settle()
                    answer = self.post(replies, Message(address=request.reply_to, body="answer"))
                    self.assertEqual(self.take(inbox, 1), ["answer"])
                    self.assertEqual(self.state(answer), Delivery.ACCEPTED)
                    for connection in (requests.connection, replies.connection, client):
                        self.leave(connection)

    def test_outcomes_and_large_messages_between_neighbours(self):
        for here, there in (("a", "b"), ("b", "a"), ("c", "b"), ("b", "c")):
            with self.subTest(sender=here, receiver=there):
                address = f"spread/outcome/{here}/{there}"
                receiver = self.receiver(there, address)
                self.await_receivers(here, address)
                sender = self.sender(here, address)
                for size, name in ((10, "REJECTED"), (100_000, "ACCEPTED"), (10, "RELEASED"), (100_000, "MODIFIED")):
                    state = getattr(Delivery, name)
                    delivery = self.post(sender, Message(body="x" * size))
                    message, received = self.next(receiver)
                    self.assertEqual(len(message.body), size)
                    received.update(state)
                    received.settle()
                    self.assertEqual(self.state(delivery), state)
                self.leave(receiver.connection)
                self.await_receivers(here, address, 0)


@needs_skrouterd
class TheirEdge(MeshMessages):
    theirs = ("b",)


@needs_skrouterd
class TheirInteriors(MeshMessages):
    theirs = ("near", "far")


if __name__ == "__main__":
    unittest.main()

"""Messages of AMQP clients (Apache Qpid Proton's) through one to three of our routers and an edge router."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Integration"))

from proton import Condition, Delivery, Link, Message, symbol  # noqa: E402
from proton.reactor import AtMostOnce, LinkOption, SenderOption  # noqa: E402
from proton.utils import BlockingConnection, LinkDetached, SyncRequestResponse  # noqa: E402

from harness import RANDOM, SLOWNESS, MeshCase, wait_until  # noqa: E402

LIMIT = 10 * SLOWNESS
ADDRESSES = [("exact", "closest"), ("multi", "multicast"), ("spread", "balanced"), ("none", "unavailable")]


class MessagingCase(MeshCase):
    """A line one - two - three of interior routers and an edge router `edge` under `three`."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start_network()

    @classmethod
    def start_network(cls):
        """The routers are shared by the tests of a class; each test has addresses of its own."""
        cls.open_network()
        one, two, three = (cls.make(name) for name in ("one", "two", "three"))
        edge = cls.make("edge", mode="edge")
        two.connect_to(one.listen_for_routers())
        three.connect_to(two.listen_for_routers())
        edge.connect_to(three.listen_for_routers(role="edge"), role="edge")
        cls.by_name = {"one": one, "two": two, "three": three, "edge": edge}
        for router in cls.by_name.values():
            for prefix, distribution in ADDRESSES:
                router.add("address", name=prefix, prefix=prefix, distribution=distribution)
            router.add("address", name="many", pattern="a/*/many", distribution="multicast")
        for router in (one, two, three, edge):
            router.start()

    @classmethod
    def open_network(cls):
        """What the routers of a class belong to; it ends after its clients."""
        cls.network = MeshCase()
        cls.network.authority = cls.authority
        cls.network._outcome = None
        cls.network.setUp()
        cls.addClassCleanup(cls.network.doCleanups)
        cls.agents = {}
        cls.addClassCleanup(lambda: [agent.connection.close() for agent in cls.agents.values()])

    @classmethod
    def make(cls, name, **attributes):
        """A router of ours; another product's in tests that mix."""
        return cls.network.router(name, cls.authority, **attributes)

    def setUp(self):
        super().setUp()
        self.connections = []

    def connect(self, router, **options):
        connection = BlockingConnection(f"amqp://127.0.0.1:{self.by_name[router].amqp_port}", timeout=LIMIT, **options)
        connection.container.timeout = 0.001
        self.connections.append(connection)
        self.addCleanup(lambda: self.leave(connection))
        return connection

    def leave(self, connection):
        if connection in self.connections:
            self.connections.remove(connection)
            connection.close()

    def until(self, what, condition, seconds=10):
        """Works all connections of the test, none of which has a thread, until the condition is true."""
        def turn():
            # Those of the agents as well, or a router closes them as idle while a test takes its time.
            for connection in self.connections + [agent.connection for agent in self.agents.values()]:
                connection.container.timeout = 0.001
                connection.container.process()
            return condition()
        return wait_until(what, turn, seconds, every=0)

    def sender(self, router, address, **options):
        return self.connect(router).create_sender(address, **options)

    def receiver(self, router, address, credit=100, **options):
        return self.connect(router).create_receiver(address, credit=credit, **options)

    def await_receivers(self, router, address, count=1):
        """Until `router` knows of so many receivers of its own and routers that have some."""
        self.until(f"{count} ways to {address} at {router}", lambda: self.ways(router, address) == count)

    def ways(self, router, address):
        agent = self.agents.get(router)
        if agent is None:
            connection = BlockingConnection(f"amqp://127.0.0.1:{self.by_name[router].amqp_port}", timeout=LIMIT)
            agent = self.agents[router] = SyncRequestResponse(connection, "$management")
        try:
            reply = agent.call(Message(
                properties={"operation": "QUERY", "entityType": "io.skupper.router.router.address"},
                body={"attributeNames": ["key", "subscriberCount", "remoteCount"]}))
        except Exception:
            del self.agents[router]  # a late answer would be taken for the next one's
            raise
        return next((local + remote for key, local, remote in reply.body["results"] if key == "M" + address), 0)

    def post(self, sender, message):
        """Hands a message over as soon as there is credit; returns its delivery."""
        self.until("credit", lambda: sender.link.credit > 0)
        return sender.link.send(message)

    def state(self, delivery):
        """The outcome of a delivery."""
        self.until("the outcome", lambda: delivery.settled)
        return delivery.remote_state

    def next(self, receiver):
        """(message, delivery) of the next message, unsettled."""
        self.until("a message", lambda: receiver.fetcher.incoming, 30)
        return receiver.fetcher.incoming.popleft()

    def take(self, receiver, count):
        """Bodies of the next messages, which are accepted."""
        bodies = []
        for _ in range(count):
            message, delivery = self.next(receiver)
            delivery.update(Delivery.ACCEPTED)
            delivery.settle()
            # Proton shows binary as memory of the message, which goes with it.
            bodies.append(bytes(message.body) if isinstance(message.body, memoryview) else message.body)
        return bodies

    def quiet(self, receivers):
        """Nothing more comes: each connection has answered a request since."""
        for _ in range(20):
            self.until("a turn", lambda: True)
        self.assertEqual([len(receiver.fetcher.incoming) for receiver in receivers], [0] * len(receivers))


class Anycast(MessagingCase):
    def test_any_router_to_any_other(self):
        for here in self.by_name:
            for there in self.by_name:
                with self.subTest(sender=here, receiver=there):
                    address = f"spread/{here}/{there}"
                    receiver = self.receiver(there, address)
                    sender = self.sender(here, address)
                    deliveries = [self.post(sender, Message(body=number)) for number in range(10)]
                    self.assertEqual(self.take(receiver, 10), list(range(10)))
                    self.assertEqual([self.state(delivery) for delivery in deliveries], [Delivery.ACCEPTED] * 10)
                    self.leave(sender.connection)
                    self.leave(receiver.connection)

    def test_balanced_shares_among_routers(self):
        receivers = [self.receiver(router, "spread/share", credit=200) for router in ("one", "two", "three", "edge")]
        self.await_receivers("one", "spread/share", 3)
        self.await_receivers("three", "spread/share", 4)
        sender = self.sender("one", "spread/share")
        for number in range(100):
            self.post(sender, Message(body=number))
        found = [[], [], [], []]

        def complete():
            for bodies, receiver in zip(found, receivers):
                while receiver.fetcher.incoming:
                    bodies.append(receiver.fetcher.incoming.popleft()[0].body)  # unsettled: it counts as load
            return sum(map(len, found)) == 100
        self.until("all messages", complete)
        self.assertEqual(sorted(sum(found, [])), list(range(100)))
        self.assertTrue(all(len(bodies) >= 10 for bodies in found), [len(bodies) for bodies in found])

    def test_closest_prefers_the_near_one(self):
        far = self.receiver("three", "exact/x")
        self.await_receivers("one", "exact/x")
        sender = self.sender("one", "exact/x")
        self.post(sender, Message(body="far"))
        self.assertEqual(self.take(far, 1), ["far"])
        near = self.receiver("one", "exact/x")
        self.await_receivers("one", "exact/x", 2)
        for number in range(20):
            self.post(sender, Message(body=number))
        self.assertEqual(self.take(near, 20), list(range(20)))
        self.quiet([far])
        self.leave(near.connection)
        self.await_receivers("one", "exact/x", 1)
        self.post(sender, Message(body="again"))
        self.assertEqual(self.take(far, 1), ["again"])

    def test_order_is_kept_over_hops_whatever_the_size(self):
        for here, there in (("one", "three"), ("edge", "one"), ("one", "edge")):
            with self.subTest(sender=here, receiver=there):
                address = f"spread/order/{here}/{there}"
                receiver = self.receiver(there, address, credit=300)
                sender = self.sender(here, address)
                sizes = [RANDOM.choice((10, 1000, 17_000, 40_000, 100_000)) for _ in range(60)]
                for number, size in enumerate(sizes):
                    self.post(sender, Message(body=[number, "x" * size]))
                got = self.take(receiver, len(sizes))
                self.assertEqual([number for number, _ in got], list(range(len(sizes))))
                self.assertEqual([len(text) for _, text in got], sizes)


class Outcomes(MessagingCase):
    ROUTES = [("one", "one"), ("one", "three"), ("edge", "one"), ("one", "edge"), ("edge", "edge")]

    def outcome(self, here, there, answer):
        """The sender's delivery when it is settled."""
        address = f"spread/outcome/{here}/{there}/{RANDOM.randrange(1 << 30)}"
        receiver = self.receiver(there, address, credit=10)
        sender = self.sender(here, address)
        delivery = self.post(sender, Message(body="x"))
        answer(self.next(receiver)[1])
        self.state(delivery)
        return delivery

    def test_each_outcome(self):
        def rejected(delivery):
            delivery.local.condition = Condition("test:broken", "bad message", {symbol("n"): 7})
            delivery.update(Delivery.REJECTED)
            delivery.settle()

        def modified(delivery):
            delivery.local.failed = True
            delivery.local.undeliverable = True
            delivery.local.annotations = {symbol("why"): "test"}
            delivery.update(Delivery.MODIFIED)
            delivery.settle()

        def plain(state):
            def answer(delivery):
                delivery.update(state)
                delivery.settle()
            return answer

        for here, there in self.ROUTES:
            with self.subTest(sender=here, receiver=there):
                self.assertEqual(self.outcome(here, there, plain(Delivery.ACCEPTED)).remote_state, Delivery.ACCEPTED)
                self.assertEqual(self.outcome(here, there, plain(Delivery.RELEASED)).remote_state, Delivery.RELEASED)
                delivery = self.outcome(here, there, rejected)
                self.assertEqual(delivery.remote_state, Delivery.REJECTED)
                condition = delivery.remote.condition
                self.assertEqual((condition.name, condition.description), ("test:broken", "bad message"))
                self.assertEqual(condition.info, {symbol("n"): 7})
                delivery = self.outcome(here, there, modified)
                self.assertEqual(delivery.remote_state, Delivery.MODIFIED)
                self.assertTrue(delivery.remote.failed)
                self.assertTrue(delivery.remote.undeliverable)
                self.assertEqual(delivery.remote.annotations, {symbol("why"): "test"})

    def test_states_of_other_specifications(self):
        """A state that the sender gives with the message, and one that the receiver answers before the end."""
        for here, there in self.ROUTES:
            for size in (10, 1_000_000):
                with self.subTest(sender=here, receiver=there, size=size):
                    address = f"spread/state/{here}/{there}/{size}"
                    receiver = self.receiver(there, address, credit=10)
                    sender = self.sender(here, address).link
                    self.until("credit", lambda: sender.credit > 0)
                    sent = sender.delivery("one")
                    sent.local.data = [1, 2, 3]
                    sent.update(666)
                    sender.stream(Message(body="x" * size).encode())
                    sender.advance()
                    _, received = self.next(receiver)
                    self.assertEqual((received.remote_state, received.remote.data), (666, [1, 2, 3]))
                    received.local.data = [4]
                    received.update(777)
                    self.until("the answer", lambda: sent.remote_state == 777)
                    self.assertEqual((sent.remote.data, sent.settled), ([4], False))
                    sent.settle()
                    self.until("the settlement", lambda: received.settled)

    def test_router_counts_each_delivery_once(self):
        def rejections():
            connection = self.connect("one")
            agent = SyncRequestResponse(connection, "$management")
            reply = agent.call(Message(properties={"operation": "QUERY",
                                                   "entityType": "io.skupper.router.routerMetrics"},
                                       body={"attributeNames": ["rejectedDeliveries"]}))
            self.leave(connection)
            return reply.body["results"][0][0]

        def reject(delivery):
            delivery.update(Delivery.REJECTED)
            delivery.settle()
        before = rejections()
        for here, there in (("one", "one"), ("one", "three")):
            self.outcome(here, there, reject)
        self.assertEqual(rejections() - before, 2)

    def test_very_long_address(self):
        address = "spread/" + "A" * 2000
        receiver = self.receiver("three", address)
        sender = self.sender("one", address)
        self.post(sender, Message(body="x"))
        self.assertEqual(self.take(receiver, 1), ["x"])

    def test_state_before_settlement(self):
        """The receiver tells its state, the sender settles, the receiver sees that."""
        for here, there in self.ROUTES:
            with self.subTest(sender=here, receiver=there):
                address = f"spread/second/{here}/{there}"
                receiver = self.receiver(there, address, credit=10)
                sender = self.sender(here, address)
                sent = self.post(sender, Message(body="x"))
                _, received = self.next(receiver)
                received.update(Delivery.ACCEPTED)
                self.until("the state", lambda: sent.remote_state == Delivery.ACCEPTED)
                self.assertFalse(received.settled)
                sent.settle()
                self.until("the settlement", lambda: received.settled)

    def test_receiver_that_leaves_gives_the_message_back(self):
        for here, there in self.ROUTES:
            with self.subTest(sender=here, receiver=there):
                address = f"spread/leave/{here}/{there}"
                receiver = self.receiver(there, address, credit=10)
                sender = self.sender(here, address)
                delivery = self.post(sender, Message(body="x"))
                self.next(receiver)
                self.leave(receiver.connection)
                self.assertIn(self.state(delivery), (Delivery.MODIFIED, Delivery.RELEASED))

    def test_settled_messages_arrive(self):
        for here, there in self.ROUTES:
            with self.subTest(sender=here, receiver=there):
                address = f"spread/settled/{here}/{there}"
                receiver = self.receiver(there, address)
                sender = self.sender(here, address, options=AtMostOnce())
                for number in range(20):
                    self.post(sender, Message(body=number))
                self.assertEqual(self.take(receiver, 20), list(range(20)))

    def test_receiver_that_wants_settled_deliveries(self):
        class Settled(LinkOption):
            def apply(self, link):
                link.snd_settle_mode = Link.SND_SETTLED

        receiver = self.receiver("three", "spread/wanted", options=Settled())
        self.assertEqual(receiver.link.remote_snd_settle_mode, Link.SND_SETTLED)
        sender = self.sender("one", "spread/wanted")
        delivery = self.post(sender, Message(body="x"))
        self.assertTrue(self.next(receiver)[1].settled)
        self.assertEqual(self.state(delivery), Delivery.ACCEPTED)

    def test_nobody_there(self):
        for here in self.by_name:
            with self.subTest(sender=here):
                delivery = self.post(self.sender(here, None), Message(address="spread/nobody", body="x"))
                self.assertEqual(self.state(delivery), Delivery.RELEASED)


class Multicast(MessagingCase):
    def test_each_receiver_once_from_every_router(self):
        receivers = [self.receiver(router, "multi/all", credit=500)
                     for router in ("one", "one", "two", "three", "three", "edge", "edge")]
        for router, count in (("one", 4), ("two", 3), ("three", 5)):
            self.await_receivers(router, "multi/all", count)
        for here in self.by_name:
            for address in ("multi/all", None):
                with self.subTest(sender=here, target=address):
                    sender = self.sender(here, address)
                    if here == "edge" and address is not None:
                        self.await_receivers("edge", "multi/all", 3)
                    deliveries = [self.post(sender, Message(address="multi/all", body=number)) for number in range(5)]
                    for receiver in receivers:
                        self.assertEqual(self.take(receiver, 5), list(range(5)))
                    self.assertEqual([self.state(delivery) for delivery in deliveries], [Delivery.ACCEPTED] * 5)
                    self.quiet(receivers)
                    self.leave(sender.connection)
                    if here == "edge":
                        # Else skrouterd's edge sends twice: for the sender that has just left and for the next.
                        self.await_receivers("edge", "multi/all", 2)

    def test_pattern(self):
        receivers = [self.receiver(router, "a/b/many") for router in ("one", "three")]
        self.await_receivers("one", "a/b/many", 2)
        sender = self.sender("one", "a/b/many")
        self.post(sender, Message(body="x"))
        for receiver in receivers:
            self.assertEqual(self.take(receiver, 1), ["x"])

    def test_worst_outcome_wins(self):
        cases = [(("ACCEPTED", "ACCEPTED"), "ACCEPTED"), (("ACCEPTED", "REJECTED"), "REJECTED"),
                 (("RELEASED", "ACCEPTED"), "ACCEPTED"), (("RELEASED", "MODIFIED"), "MODIFIED"),
                 (("RELEASED", "RELEASED"), "RELEASED")]
        for index, (answers, expected) in enumerate(cases):
            with self.subTest(answers=answers):
                address = f"multi/outcome{index}"
                receivers = [self.receiver(router, address, credit=5) for router in ("one", "three")]
                self.await_receivers("one", address, 2)
                delivery = self.post(self.sender("one", address), Message(body="x"))
                for receiver, answer in zip(receivers, answers):
                    _, received = self.next(receiver)
                    self.assertFalse(delivery.settled)
                    received.update(getattr(Delivery, answer))
                    received.settle()
                self.assertEqual(self.state(delivery), getattr(Delivery, expected))

    def test_receiver_that_leaves_does_not_hold_the_others_up(self):
        receivers = [self.receiver(router, "multi/leave", credit=5) for router in ("one", "two", "three")]
        self.await_receivers("one", "multi/leave", 3)
        delivery = self.post(self.sender("one", "multi/leave"), Message(body="x"))
        self.next(receivers[2])
        self.leave(receivers[2].connection)
        self.assertEqual(self.take(receivers[0], 1) + self.take(receivers[1], 1), ["x", "x"])
        self.assertEqual(self.state(delivery), Delivery.ACCEPTED)

    def test_copies_that_share_a_session(self):
        """Proton ends a connection on which delivery-ids do not follow each other."""
        connection = self.connect("three")
        receivers = [connection.create_receiver("multi/session", credit=20, name=f"session-{number}")
                     for number in range(4)]
        self.await_receivers("one", "multi/session", 1)
        sender = self.sender("one", "multi/session", options=AtMostOnce())
        for number in range(200):
            self.post(sender, Message(body=[number, "x" * RANDOM.choice((1, 3000, 20_000))]))
        for receiver in receivers:
            self.assertEqual([number for number, _ in self.take(receiver, 200)], list(range(200)))

    def test_large(self):
        receivers = [self.receiver(router, "multi/large", credit=5) for router in ("one", "two", "three", "edge")]
        self.await_receivers("one", "multi/large", 3)
        self.await_receivers("three", "multi/large", 4)
        body = RANDOM.randbytes(3_000_000)
        delivery = self.post(self.sender("one", "multi/large"), Message(body=body))
        for receiver in receivers:
            self.assertTrue(self.take(receiver, 1)[0] == body)
        self.assertEqual(self.state(delivery), Delivery.ACCEPTED)


class Addresses(MessagingCase):
    def test_request_and_reply(self):
        for here in self.by_name:
            for there in self.by_name:
                with self.subTest(client=here, service=there):
                    address = f"spread/service/{here}/{there}"
                    requests = self.receiver(there, address)
                    replies = self.sender(there, None)
                    client = self.connect(here)
                    inbox = client.create_receiver(None, credit=10, dynamic=True)
                    where = inbox.link.remote_source.address
                    self.assertRegex(where, r"^amqp:/_edge/edge/temp\." if here == "edge"
                                     else rf"^amqp:/_topo/0/{here}/temp\.")
                    sender = client.create_sender(address)
                    self.post(sender, Message(reply_to=where, correlation_id=7, body="question"))
                    request, delivery = self.next(requests)
                    delivery.update(Delivery.ACCEPTED)
                    delivery.settle()
                    answer = self.post(replies, Message(address=request.reply_to, body="answer",
                                                        correlation_id=request.correlation_id))
                    reply, delivery = self.next(inbox)
                    delivery.update(Delivery.ACCEPTED)
                    delivery.settle()
                    self.assertEqual((reply.body, reply.correlation_id), ("answer", 7))
                    self.assertEqual(self.state(answer), Delivery.ACCEPTED)

    def test_local_and_topological(self):
        receivers = {name: self.receiver(name, "_local/box") for name in ("one", "two", "three")}
        sender = self.sender("one", None)
        for name, receiver in receivers.items():
            for address in (f"_topo/0/{name}/box", f"amqp:/_topo/0/{name}/box", f"amqp://host:1/_topo/0/{name}/box"):
                self.post(sender, Message(address=address, body=name))
                self.assertEqual(self.take(receiver, 1), [name])
        self.post(self.sender("one", "_topo/0/three/box"), Message(body="targeted"))
        self.assertEqual(self.take(receivers["three"], 1), ["targeted"])
        self.post(sender, Message(address="_local/box", body="here"))
        self.assertEqual(self.take(receivers["one"], 1), ["here"])

    def test_edge_address(self):
        inbox = self.receiver("edge", "_local/box")
        for name in self.by_name:
            with self.subTest(sender=name):
                sender = self.sender(name, None)

                def arrives():
                    self.post(sender, Message(address="_edge/edge/box", body=name))
                    for _ in range(100):
                        if self.until("a turn", lambda: True) and inbox.fetcher.incoming:
                            return True
                wait_until("the edge router's name to be known", arrives, 20)
                self.assertEqual(self.take(inbox, 1), [name])

    def test_router_address_is_no_source(self):
        for address in ("_topo/0/two/box", "_edge/edge/box"):
            with self.assertRaises(LinkDetached) as caught:
                self.receiver("one", address)
            self.assertEqual(caught.exception.condition, "qd:no-route-to-dest")

    def test_dynamic_target(self):
        class DynamicTarget(SenderOption):
            def apply(self, link):
                link.target.dynamic = True
                link.target.address = None

        sender = self.sender("one", None, options=DynamicTarget())
        address = sender.link.remote_target.address
        self.assertRegex(address, r"^amqp:/_\$temp\..{15}$")
        receiver = self.receiver("three", address)
        self.post(sender, Message(body="x"))
        self.assertEqual(self.take(receiver, 1), ["x"])

    def test_unavailable(self):
        for make in (self.sender, self.receiver):
            with self.assertRaises(LinkDetached) as caught:
                make("one", "none/x")
            self.assertEqual(caught.exception.condition, "amqp:not-found")
        delivery = self.post(self.sender("one", None), Message(address="none/x"))
        self.assertEqual(self.state(delivery), Delivery.REJECTED)

    def test_no_address_at_all(self):
        delivery = self.post(self.sender("one", None), Message(body="x"))
        self.assertEqual(self.state(delivery), Delivery.REJECTED)


class Credit(MessagingCase):
    def test_credit_follows_the_receivers(self):
        sender = self.sender("one", "spread/credit")
        self.quiet([])
        self.assertEqual(sender.link.credit, 0)
        receiver = self.receiver("three", "spread/credit", credit=10)
        self.until("credit", lambda: sender.link.credit == 250)
        self.post(sender, Message(body="x"))
        self.assertEqual(self.take(receiver, 1), ["x"])
        self.until("credit for the message as well", lambda: sender.link.credit == 250)
        self.leave(receiver.connection)

        def taken_back():
            # The router drains with a message that finds nobody, and Proton gives the credit back when it is asked to.
            self.assertIn(self.state(self.post(sender, Message(body="nobody"))), (Delivery.RELEASED, Delivery.MODIFIED))
            return sender.link.drained() > 0
        self.until("the credit to be taken back", taken_back)
        self.assertEqual(sender.link.credit, 0)
        again = self.receiver("one", "spread/credit", credit=10)
        self.until("credit again", lambda: sender.link.credit == 250)
        self.post(sender, Message(body="y"))
        self.assertEqual(self.take(again, 1), ["y"])

    def test_receiver_gets_no_more_than_its_credit(self):
        receiver = self.receiver("three", "spread/few", credit=0)  # else Proton's reader gives more by itself
        receiver.link.flow(3)
        sender = self.sender("one", "spread/few")
        for number in range(10):
            self.post(sender, Message(body=number))
        incoming = receiver.fetcher.incoming
        self.until("three messages", lambda: len(incoming) == 3)
        for _ in range(30):
            self.until("a turn", lambda: True)
        self.assertEqual(len(incoming), 3)
        receiver.link.flow(7)
        self.until("the rest", lambda: len(incoming) == 10)

    def test_drain_gives_back_what_is_not_used(self):
        for there in ("one", "three", "edge"):
            with self.subTest(receiver=there):
                address = f"spread/drain/{there}"
                receiver = self.receiver(there, address, credit=0)
                sender = self.sender("one", address)
                for number in range(3):
                    self.post(sender, Message(body=number))
                receiver.link.drain(10)
                self.until("the drain", lambda: receiver.link.draining() is False and receiver.link.credit == 0)
                received = len(receiver.fetcher.incoming)
                receiver.link.flow(10)
                self.until("the rest", lambda: len(receiver.fetcher.incoming) == 3)
                self.assertLessEqual(received, 3)

    def test_sections_are_kept(self):
        receiver = self.receiver("three", "spread/kept")
        sender = self.sender("one", "spread/kept")
        for priority in range(10):
            message = Message(id=f"id{priority}", subject="s", user_id=b"u", reply_to="r", correlation_id=priority,
                              content_type="text/x", group_id="g", ttl=60, durable=True, priority=priority,
                              properties={"p": priority}, body={"k": [1, 2.5, None, b"\0"]},
                              annotations={symbol("x-opt"): 1})
            self.post(sender, message)
            got, delivery = self.next(receiver)
            delivery.settle()
            for name in ("id", "subject", "user_id", "reply_to", "correlation_id", "content_type", "group_id",
                         "durable", "priority", "properties", "body", "annotations"):
                self.assertEqual(getattr(got, name), getattr(message, name), name)

    def test_large_message_each_way(self):
        body = RANDOM.randbytes(5_000_000)
        for here, there in (("one", "three"), ("three", "one"), ("edge", "one"), ("one", "edge")):
            with self.subTest(sender=here, receiver=there):
                address = f"spread/large/{here}/{there}"
                receiver = self.receiver(there, address, credit=3)
                delivery = self.post(self.sender(here, address), Message(body=body))
                self.assertTrue(self.take(receiver, 1)[0] == body)
                self.assertEqual(self.state(delivery), Delivery.ACCEPTED)


if __name__ == "__main__":
    unittest.main()

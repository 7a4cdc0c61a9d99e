"""Long messages of AMQP clients between routers whose session windows are small."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Integration"))

from proton import Delivery, Message  # noqa: E402

import test_messaging  # noqa: E402
from harness import RANDOM, MeshCase  # noqa: E402


class SmallWindows(test_messaging.MessagingCase):
    @classmethod
    def start_network(cls):
        cls.network = MeshCase()
        cls.network.authority = cls.authority
        cls.network._outcome = None
        cls.network.setUp()
        small = {"maxSessionFrames": 8}
        left = cls.make("left", dataConnectionCount="0")
        right = cls.make("right", dataConnectionCount="0")
        right.connect_to(left.listen_for_routers(**small), **small)
        cls.by_name = {"left": left, "right": right}
        for router in cls.by_name.values():
            router.start()
        cls.addClassCleanup(cls.network.doCleanups)
        cls.agents = {}
        cls.addClassCleanup(lambda: [agent.connection.close() for agent in cls.agents.values()])

    def test_long_messages_do_not_stop_each_other(self):
        """One receiver takes them one by one; those that wait may not use up the window of the one that moves."""
        receiver = self.receiver("right", "many", credit=1)
        self.await_receivers("left", "many")
        body = RANDOM.randbytes(800_000)
        senders = [self.sender("left", "many") for _ in range(10)]
        deliveries = [self.post(sender, Message(body=body)) for sender in senders]
        for _ in deliveries:
            self.assertTrue(self.take(receiver, 1)[0] == body)
            receiver.link.flow(1)
        self.assertEqual([self.state(delivery) for delivery in deliveries], [Delivery.ACCEPTED] * 10)


if __name__ == "__main__":
    unittest.main()

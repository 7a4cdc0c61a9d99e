"""Long messages of AMQP clients between routers whose session windows are small."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Integration"))

from proton import Delivery, Message  # noqa: E402

import test_messaging  # noqa: E402
from harness import RANDOM  # noqa: E402


class TwoRouters(test_messaging.MessagingCase):
    """A connection of their own between two routers, with small windows."""

    settings = {}

    @classmethod
    def start_network(cls):
        cls.open_network()
        small = cls.settings
        left = cls.make("left", dataConnectionCount="0")
        right = cls.make("right", dataConnectionCount="0")
        right.connect_to(left.listen_for_routers(**small), **small)
        cls.by_name = {"left": left, "right": right}
        for router in cls.by_name.values():
            router.start()


class SmallWindows(TwoRouters):
    settings = {"maxSessionFrames": 8}

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


class SmallFrames(TwoRouters):
    """Windows of some 5 kB: a message that waits for its link may find it with no window left."""

    settings = {"maxSessionFrames": 10, "maxFrameSize": 512}

    def test_messages_that_wait_for_a_link_arrive_whole(self):
        receiver = self.receiver("right", "queued", credit=10)
        self.await_receivers("left", "queued")
        sender = self.sender("left", "queued")
        bodies = [RANDOM.randbytes(50_000 + number) for number in range(30)]
        deliveries = [self.post(sender, Message(body=body)) for body in bodies]
        received = []
        for _ in bodies:
            received += self.take(receiver, 1)
            receiver.link.flow(1)
        self.assertEqual(sorted(map(len, received)), sorted(map(len, bodies)))
        self.assertTrue(set(received) == set(bodies))
        self.assertEqual([self.state(delivery) for delivery in deliveries], [Delivery.ACCEPTED] * len(bodies))


if __name__ == "__main__":
    unittest.main()

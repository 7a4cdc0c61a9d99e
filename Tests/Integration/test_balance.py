"""A balanced address with one server here and one behind a link of some cost: who gets how many of the streams."""

import collections
import unittest

from amqp_wire import ManagementClient
from harness import SANITIZED, MeshCase, Server, connect, wait_until

COST = 40
# Past 250 for either server, where skupper-router's rule changes.
HELD = 200 if SANITIZED else 640


class Balance(MeshCase):
    def setUp(self):
        super().setUp()
        self.streams = []
        self.near, self.far = self.router("near", self.authority), self.router("far", self.authority)

    def started(self, **link):
        self.near.connect_to(self.far.listen_for_routers(), cost=COST, **link)
        self.port = self.near.tcp_listener("service")
        for name, router in (("here", self.near), ("there", self.far)):
            server = self.keep(Server(lambda connection, name=name: connection.sendall(name.encode())
                                      or connection.recv(1)))
            router.tcp_connector("service", server.port)
        self.far.start()
        self.near.start()
        self.await_service(self.port)
        wait_until("both servers to be known", self.knows_both, 10)

    def row(self):
        with ManagementClient(self.near.amqp_port) as management:
            return {row["name"]: row for row in management.query("router.address")}["Mservice"]

    def knows_both(self):
        row = self.row()
        return row["subscriberCount"] == 1 and row["remoteCount"] == 1

    def hold(self, count):
        """So many streams more, and how many of them each server has."""
        counts = collections.Counter()
        for _ in range(count):
            stream = self.keep(connect(self.port))
            self.streams.append(stream)
            counts[stream.recv(10).decode()] += 1
        return counts

    def test_the_difference_is_the_cost_also_past_250(self):
        self.started()
        first = self.hold(COST // 2)
        self.assertEqual(set(first), {"here"})
        counts = first + self.hold(HELD - COST // 2)
        self.assertEqual(sum(counts.values()), HELD)
        self.assertLessEqual(abs(counts["here"] - counts["there"] - COST), 3, counts)
        if not SANITIZED:
            self.assertGreater(min(counts.values()), 250)
        for stream in self.streams:
            stream.close()
        wait_until("what has ended to be forgotten", lambda: self.row()["transitOutstanding"] == [0], 10)
        self.assertEqual(set(self.hold(COST // 2)), {"here"})

    def test_link_capacity_that_was_given_limits_what_goes_over_the_link(self):
        self.started(linkCapacity=50)
        counts = self.hold(HELD // 2)
        self.assertEqual(counts, {"here": HELD // 2 - 50, "there": 50})


if __name__ == "__main__":
    unittest.main()

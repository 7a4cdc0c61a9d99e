"""Who gets how many of many held streams: the rule of both products, and what `linkCapacity` does to it."""

import collections
import contextlib
import unittest

from skrouterd_case import OURS, THEIRS, MixedCase, needs_skrouterd

from harness import Server, connect, wait_until

OTHER = {OURS: THEIRS, THEIRS: OURS}


@needs_skrouterd
class Balance(MixedCase):
    def network(self, product, costs, link):
        """A router of this product with a listener, and one of the other with a server behind a link of each cost."""
        near = self.make(product, "near")
        for number, cost in enumerate(costs):
            far = self.make(OTHER[product], f"far{number}")
            near.connect_to(far.listen_for_routers(), cost=cost, **link)
            far.tcp_connector("service", self.named_server(str(number)))
        near.port = near.tcp_listener("service")
        return near

    def named_server(self, name):
        return self.keep(Server(lambda connection: connection.sendall(name.encode()) or connection.recv(1))).port

    def await_servers(self, near, local, remote):
        def known():
            rows = self.rows(near, "router.address", "name", "subscriberCount", "remoteCount")
            return any((row["name"], row["subscriberCount"], row["remoteCount"]) == ("Mservice", local, remote)
                       for row in rows)
        self.start_all()
        wait_until("all servers to be known", known, 20, 0.1)
        self.await_service(near.port)
        wait_until("nothing to be open", lambda: all(
            row["transitOutstanding"] is None or not any(row["transitOutstanding"])
            for row in self.rows(near, "router.address", "name", "transitOutstanding")
            if row["name"] == "Mservice"), 10, 0.1)

    def hold(self, port, count):
        """{server: streams} of so many that are held together; they are closed afterwards."""
        with contextlib.ExitStack() as streams:
            names = [streams.enter_context(connect(port)).recv(10).decode() for _ in range(count)]
        return collections.Counter(names)

    def assert_near(self, counts, **expected):
        """Ties may fall either way."""
        for name, count in expected.items():
            self.assertLessEqual(abs(counts[name[1:]] - count), 2, counts)

    def test_two_servers_elsewhere(self):
        """At a link of cost 1 and one of cost 40; 250 is skrouterd's capacity where none is given."""
        for product, link, count, first, second in (
                (OURS, {}, 200, 119, 81), (THEIRS, {}, 200, 119, 81),
                (OURS, {}, 480, 259, 221), (THEIRS, {}, 480, 250, 230),
                (OURS, {"linkCapacity": 50}, 90, 50, 40), (THEIRS, {"linkCapacity": 50}, 90, 50, 40),
                (OURS, {"linkCapacity": 50}, 120, 70, 50), (THEIRS, {"linkCapacity": 50}, 120, 70, 50)):
            with self.part(near=product, link=link, count=count):
                near = self.network(product, (1, 40), link)
                self.await_servers(near, 0, 2)
                self.assert_near(self.hold(near.port, count), _0=first, _1=second)

    def test_one_server_here_and_one_elsewhere(self):
        """skrouterd counts each stream to a server of its own twice, and takes it for full at five; ours never does."""
        for product, link, count, here, there in (
                (OURS, {}, 240, 140, 100), (THEIRS, {}, 240, 3, 237),
                (OURS, {"linkCapacity": 50}, 240, 190, 50), (THEIRS, {"linkCapacity": 50}, 240, 94, 146)):
            with self.part(near=product, link=link, count=count):
                near = self.network(product, (40,), link)
                near.tcp_connector("service", self.named_server("here"))
                self.await_servers(near, 1, 1)
                self.assert_near(self.hold(near.port, count), _here=here, _0=there)


if __name__ == "__main__":
    unittest.main()

"""Newer certificates on a link between the two products: a second set of connections, and no stream is lost."""

import shutil
import threading
import unittest

from skrouterd_case import BOTH_WAYS, MixedCase, needs_skrouterd

from harness import Server, connect, echo, exchange, receive_exactly, wait_until


class Askers:
    """Clients that ask one after another through each port until the end of the block; all answers must be right."""

    def __init__(self, ports):
        self.stop, self.failures, self.done = threading.Event(), [], dict.fromkeys(ports, 0)
        self.threads = [threading.Thread(target=self._ask, args=(port,), daemon=True) for port in ports]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(30)

    def _ask(self, port):
        data = b"again" * 2000
        while not self.stop.is_set():
            try:
                if exchange(port, data, timeout=10) != data:
                    self.failures.append(f"other octets through port {port}")
            except OSError as error:
                self.failures.append(f"port {port}: {error!r}")
            self.done[port] += 1

    def await_more(self, count=20):
        start = dict(self.done)
        wait_until(f"{count} more answers through each port, failures so far {self.failures}",
                   lambda: all(self.done[port] >= start[port] + count for port in start), 20)


@needs_skrouterd
class Rotation(MixedCase):
    def two(self, dialler, acceptor, case):
        """Started routers with a service each way; names of their own, for a rotation changes their files for good."""
        server = self.keep(Server(echo))
        one, two = (self.make(product, f"{place}-{product}-{case}")
                    for place, product in (("d", dialler), ("a", acceptor)))
        one.connect_to(two.listen_for_routers())
        one.port, two.port = one.tcp_listener("at-two"), two.tcp_listener("at-one")
        two.tcp_connector("at-two", server.port)
        one.tcp_connector("at-one", server.port)
        self.start_all(two, one)
        for router in (one, two):
            self.await_exchange(router.port)
        return one, two

    def connections(self, router):
        rows = self.rows(router, "connection", "identity", "role", "tlsOrdinal", "groupOrdinal", "user", "opened")
        return [row for row in rows if row["role"].startswith("inter-router") and row["opened"]]

    def update(self, router, **attributes):
        with self.management(router) as management:
            management.update("sslProfile", "mesh", **attributes)

    def renew(self, router):
        """New files in the place of the old ones, for a certificate of another name."""
        newer = self.authority.issue(f"{router.name}-newer")
        for name in ("tls.crt", "tls.key"):
            shutil.copy(newer / name, router.identity / name)

    def hold(self, router):
        stream = connect(router.port)
        self.talk(stream, b"before")
        return stream

    def talk(self, stream, words):
        stream.sendall(words)
        self.assertEqual(receive_exactly(stream, len(words)), words)

    def await_takeover(self, routers, count, ordinal):
        """Both routers have two sets of connections, and their control links are on the one with this ordinal."""
        def taken_over(router):
            rows = self.connections(router)
            newer = {row["identity"] for row in rows if row["groupOrdinal"] == ordinal}
            controls = {row["connectionId"] for row in self.rows(router, "router.link", "linkType", "connectionId")
                        if row["linkType"] == "router-control"}
            return len(rows) == 2 * count and len(newer) == count and controls & newer
        for router in routers:
            wait_until(f"{router.name} to have two sets of {count} connections, the newer one in use",
                       lambda router=router: taken_over(router), 15, 0.1)

    def await_one_set(self, routers, count, ordinal):
        for router in routers:
            wait_until(f"{router.name} to have the set of ordinal {ordinal} only", lambda router=router: [
                row["groupOrdinal"] for row in self.connections(router)] == [ordinal] * count, 15, 0.1)

    def retire(self, router, oldest, pair, count, group, askers):
        """The router gives up what is older: only that ends, and streams opened since the takeover go on."""
        later = [self.hold(each) for each in pair]
        self.update(router, oldestValidOrdinal=oldest)
        self.await_one_set(pair, count, group)
        askers.await_more()
        for stream in later:
            self.talk(stream, b"still")

    def assert_neighbours(self, one, two):
        for router, other in ((one, two), (two, one)):
            self.assertEqual(set(self.nodes(router)), {other.name})

    def assert_ends(self, streams):
        """What was open over connections that were closed has an end, and does not hang."""
        for stream in streams:
            stream.settimeout(20)
            try:
                self.assertEqual(stream.recv(1), b"")
            except ConnectionError:
                pass

    def test_the_side_that_dials_rotates(self):
        for dialler, acceptor in BOTH_WAYS:
            with self.part(dialler=dialler, acceptor=acceptor):
                pair = one, two = self.two(dialler, acceptor, "first")
                count = len(self.connections(one))
                self.assertEqual({row["tlsOrdinal"] for row in self.connections(one)}, {0})
                held = [self.hold(router) for router in pair]
                with Askers([router.port for router in pair]) as askers:
                    self.renew(one)
                    self.update(one, ordinal=3)
                    self.await_takeover(pair, count, 3)
                    askers.await_more()
                    for stream in held:
                        self.talk(stream, b"after" * 20_000)
                    users = {row["groupOrdinal"]: row["user"] for row in self.connections(two)}
                    self.assertIn(f"CN={one.name}-newer", users[3])
                    self.assertNotIn("newer", users[0])
                    self.assert_neighbours(one, two)
                    self.retire(one, 3, pair, count, 3, askers)
                self.assertEqual(askers.failures, [])
                self.assert_neighbours(one, two)
                self.assert_ends(held)

    def test_the_side_that_accepts_rotates(self):
        """Its newer certificate shows on connections made from now on: the dialler makes them when it rotates too."""
        for dialler, acceptor in BOTH_WAYS:
            with self.part(dialler=dialler, acceptor=acceptor):
                pair = one, two = self.two(dialler, acceptor, "second")
                before = {row["identity"] for row in self.connections(two)}
                held = [self.hold(router) for router in pair]
                with Askers([router.port for router in pair]) as askers:
                    self.renew(two)
                    self.update(two, ordinal=5)
                    askers.await_more()
                    self.assertEqual({row["identity"] for row in self.connections(two)}, before)
                    self.renew(one)
                    self.update(one, ordinal=2)
                    self.await_takeover(pair, len(before), 2)
                    self.assertEqual({(row["groupOrdinal"], row["tlsOrdinal"]) for row in self.connections(two)},
                                     {(0, 0), (2, 5)})
                    askers.await_more()
                    for stream in held:
                        self.talk(stream, b"after" * 20_000)
                    # The dialler must not make again what the acceptor closes for its age.
                    self.retire(two, 5, pair, len(before), 2, askers)
                self.assertEqual(askers.failures, [])
                self.assert_neighbours(one, two)
                self.assert_ends(held)


if __name__ == "__main__":
    unittest.main()

"""TCP services whose two ends are of different products, with and without a third router between."""

import os
import socket
import threading
import unittest

from skrouterd_case import (BOTH_WAYS, OURS, THEIRS, MixedCase, Transfer, at_once, needs_skrouterd, receive_pattern,
                            send_pattern)

from harness import (LARGE, RANDOM, SLOWNESS, Server, allow, connect, echo, exchange, receive_all, receive_exactly,
                     reset, wait_until)

MEGABYTE = 1 << 20
# Connections one after another in the leak test; 100,000 of them are an evening's work for skrouterd.
CONNECTIONS = int(os.environ.get("SKUPPER_TEST_CONNECTIONS", 2000))
AT_ONCE = 20
# Four times 4 GiB, made and checked by Python, with others on the machine.
SECONDS_PAST_FOUR_GIGABYTES = 2400
BETWEEN = (None, OURS, THEIRS)


@needs_skrouterd
class ServiceCase(MixedCase):
    """One network for each way of mixing; the classes below run in all of them."""

    def ways(self):
        """(listener's product, connector's product, product between or None)."""
        return [(*pair, between) for pair in BOTH_WAYS for between in BETWEEN] + [(OURS, OURS, THEIRS)]

    def network(self, near, far, between, **attributes):
        """Started routers, the one with listeners first and the one with connectors last."""
        routers = [self.make(near, "near", **attributes)]
        if between:
            routers.append(self.make(between, "between", **attributes))
        routers.append(self.make(far, "far", **attributes))
        for one, two in zip(routers, routers[1:]):
            one.connect_to(two.listen_for_routers())
        return routers

    def service(self, routers, handler, name="service"):
        """The port of a service with this server, to be called before the start."""
        server = self.keep(handler if isinstance(handler, Server) else Server(handler))
        routers[-1].tcp_connector(name, server.port)
        return routers[0].tcp_listener(name), server


class Bytes(ServiceCase):
    def test_small_large_and_many(self):
        for near, far, between in self.ways():
            with self.part(listener=near, connector=far, between=between):
                routers = self.network(near, far, between)
                port, _ = self.service(routers, echo)
                transfer = Transfer(50 * MEGABYTE)
                bulk, server = self.service(routers, transfer.server(), "bulk")
                self.start_all()
                self.exchanges(port, (1, 2, 1000, 16_384, 100_000, 3_000_000), 3)
                self.await_service(bulk)
                transfer.run(bulk)
                # An await_service connects and leaves: the server sees a stream that ends early.
                self.assertLessEqual(len(server.errors), 2, server.errors)

    def test_without_data_connections(self):
        for near, far in BOTH_WAYS:
            with self.part(listener=near, connector=far):
                routers = self.network(near, far, None, dataConnectionCount="0")
                port, _ = self.service(routers, echo)
                bulk, _ = self.service(routers, (transfer := Transfer(50 * MEGABYTE)).server(), "bulk")
                self.start_all()
                self.exchanges(port, (1, 1000, 100_000, 3_000_000), 5)
                self.await_service(bulk)
                transfer.run(bulk)

    def test_repeated_exchanges_of_middle_size(self):
        # Sizes around the window and the buffers, where an early end or a hole would show.
        for near, far in BOTH_WAYS:
            for count in ("auto", "0"):
                with self.part(listener=near, connector=far, dataConnectionCount=count):
                    routers = self.network(near, far, None, dataConnectionCount=count)
                    port, _ = self.service(routers, echo)
                    self.start_all()
                    self.exchanges(port, (53_098, 65_536, 100_000, 131_073, 262_144), 12)

    @allow(600)
    def test_two_thousand_at_once(self):
        for near, far, between in self.ways():
            with self.part(listener=near, connector=far, between=between):
                routers = self.network(near, far, between)
                gate = threading.Event()
                port, _ = self.service(routers, echo)
                self.start_all()
                self.await_service(port)

                def one(index):
                    data = index.to_bytes(4, "big") * 500
                    with connect(port, 120) as connection:
                        connection.sendall(data[:1000])
                        if receive_exactly(connection, 1000) != data[:1000]:
                            raise AssertionError("wrong octets before the gate")
                        if not gate.wait(240 * SLOWNESS):
                            raise AssertionError("the gate did not open")
                        connection.sendall(data[1000:])
                        connection.shutdown(socket.SHUT_WR)
                        if receive_all(connection) != data[1000:]:
                            raise AssertionError("wrong octets after the gate")

                opened = threading.Thread(target=lambda: (wait_until(
                    "2,000 open connections", lambda: self.open_at(port) >= 2000, 200, 0.5), gate.set()), daemon=True)
                opened.start()
                self.assertEqual(at_once(2000, one), [])

    def open_at(self, port):
        """Established connections of clients to this port."""
        wanted = f":{port:04X}"
        with open("/proc/net/tcp") as table:
            return sum(1 for line in table if line.split()[2].endswith(wanted) and line.split()[3] == "01")

    @unittest.skipUnless(LARGE, "set SKUPPER_TEST_LARGE=1 for streams past 4 GiB, each way through each product")
    @allow(SECONDS_PAST_FOUR_GIGABYTES)
    def test_past_four_gigabytes(self):
        for near, far in BOTH_WAYS:
            with self.part(listener=near, connector=far):
                routers = self.network(near, far, None)
                transfer = Transfer(4096 * MEGABYTE + 12_345, SECONDS_PAST_FOUR_GIGABYTES)
                port, _ = self.service(routers, transfer.server())
                self.start_all()
                self.await_service(port)
                seconds = transfer.run(port)
                print(f"listener {near}, connector {far}: {transfer.count} octets each way in {seconds:.0f} s")


class Ends(ServiceCase):
    """Every kind of end in every way of mixing; the kinds share a network, whose start takes longer than they do."""

    def test_every_kind_of_end(self):
        kinds = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("when_")]
        self.assertEqual(len(kinds), 6)
        for near, far, between in self.ways():
            with self.part(listener=near, connector=far, between=between):
                routers = self.network(near, far, between)
                checks = []
                for kind in kinds:
                    handler, check = kind()
                    checks.append((kind.__name__, check, *self.service(routers, handler, kind.__name__)))
                self.start_all()
                for name, check, port, server in checks:
                    with self.subTest(end=name):
                        self.await_service(port)
                        check(port, server)

    def when_client_half_closes_first(self):
        def handler(connection):
            data = receive_all(connection)
            if data:
                connection.sendall(b"got %d" % len(data))
                send_pattern(connection, "late", 2 * MEGABYTE)

        def check(port, _):
            for count in (1, 70_000):
                with connect(port) as connection:
                    connection.sendall(b"x" * count)
                    connection.shutdown(socket.SHUT_WR)
                    answer = b"got %d" % count
                    self.assertEqual(receive_exactly(connection, len(answer)), answer)
                    receive_pattern(connection, "late", 2 * MEGABYTE)
                    self.assertEqual(connection.recv(1), b"")
        return handler, check

    def when_server_half_closes_first(self):
        results = []

        def handler(connection):
            connection.sendall(b"bye")
            connection.shutdown(socket.SHUT_WR)
            results.append(len(receive_all(connection)))

        def check(port, _):
            with connect(port) as connection:
                self.assertEqual(receive_all(connection), b"bye")
                connection.sendall(b"y" * 300_000)
                connection.shutdown(socket.SHUT_WR)
                wait_until("the server to have all", lambda: 300_000 in results, 15)
        return handler, check

    def when_client_aborts(self):
        ends = []

        def handler(connection):
            if not connection.recv(5):
                return
            connection.sendall(b"going")
            try:
                while data := connection.recv(MEGABYTE):
                    pass
                ends.append(data)
            except ConnectionResetError:
                ends.append("reset")

        def check(port, _):
            for _ in range(5):
                connection = connect(port)
                connection.sendall(b"hello")
                receive_exactly(connection, 5)
                reset(connection)
            wait_until("the server to learn of five ends", lambda: len(ends) == 5, 15)
        return handler, check

    def when_server_aborts(self):
        def handler(connection):
            if connection.recv(5):
                connection.sendall(b"going")
                reset(connection)

        def check(port, _):
            for _ in range(5):
                with connect(port) as connection:
                    connection.sendall(b"hello")
                    try:
                        self.assertIn(receive_all(connection), (b"going", b""))
                    except ConnectionResetError:
                        pass
        return handler, check

    def when_server_refuses(self):
        def check(port, server):
            self.assertEqual(exchange(port, b"there"), b"there")
            server.__exit__()
            for _ in range(10):
                try:
                    with connect(port, 10) as connection:
                        connection.sendall(b"hello")
                        self.assertEqual(receive_all(connection), b"")
                except (ConnectionResetError, BrokenPipeError, ConnectionRefusedError):
                    pass
            with Server(echo, server.port):
                self.await_exchange(port)
        return echo, check

    def when_client_that_does_not_read_stops_the_server(self):
        sent = []

        def handler(connection):
            connection.settimeout(3)
            count = 0
            try:
                while count < 500 * MEGABYTE:
                    count += connection.send(b"z" * MEGABYTE)
            except (socket.timeout, ConnectionError):
                pass
            sent.append(count)

        def check(port, _):
            sent.clear()
            with connect(port) as connection:
                connection.settimeout(10 * SLOWNESS)
                connection.recv(1, socket.MSG_PEEK)
                count = wait_until("the server to be held up", lambda: sent and max(sent), 40)
                self.assertLess(count, 100 * MEGABYTE)
        return handler, check


class Leaks(ServiceCase):
    @allow(max(300, CONNECTIONS // 20))
    def test_nothing_is_left_after_many_connections(self):
        for near, far in BOTH_WAYS:
            self.check(near, far, None)

    @allow(max(300, CONNECTIONS // 20))
    def test_nothing_is_left_with_a_router_between(self):
        self.check(OURS, THEIRS, OURS)
        self.check(THEIRS, OURS, THEIRS)

    def check(self, near, far, between):
        with self.part(listener=near, connector=far, between=between):
            routers = self.network(near, far, between)
            port, _ = self.service(routers, echo)
            self.start_all()
            self.await_service(port)
            self.many(port, 200)
            before = {router.name: self.settled_counts(router) for router in routers}
            resident = [self.resident_megabytes(routers)]
            self.many(port, CONNECTIONS)
            after = {}
            for router in routers:
                after[router.name] = wait_until(
                    f"{router.name} ({router.product}) to be back at {before[router.name]}",
                    lambda router=router: self.is_back(self.counts(router), before[router.name]), 30, 0.5)
            resident.append(self.resident_megabytes(routers))
            print(f"listener {near}, connector {far}, between {between}: {CONNECTIONS} connections, "
                  f"counts {before} -> {after}, MB resident {resident[0]} -> {resident[1]}")
            for router in routers:
                if router.product == OURS:
                    self.assertLess(resident[1][router.name] - resident[0][router.name], 20, router.name)

    def resident_megabytes(self, routers):
        return {router.name: router.process.resident_kilobytes() // 1024 for router in routers}

    def is_back(self, now, before):
        """Links for streams are kept and used again, so their number may differ by what is open at once."""
        links, links_before = now["links"], before["links"]
        same = all(now[key] == before[key] for key in ("unsettled", "connections"))
        return same and sum(links.values()) <= sum(links_before.values()) + 4 * AT_ONCE and now

    def many(self, port, count):
        """Connections of every kind of end, AT_ONCE at a time."""
        left = iter(range(count))
        lock = threading.Lock()
        random_sizes = [RANDOM.choice((1, 100, 5000)) for _ in range(64)]

        def work(_):
            while True:
                with lock:
                    index = next(left, None)
                if index is None:
                    return
                data = b"d" * random_sizes[index % 64]
                if index % 10 == 9:
                    connection = connect(port)
                    connection.sendall(data)
                    reset(connection)
                elif exchange(port, data) != data:
                    raise AssertionError("wrong octets")

        self.assertEqual(at_once(AT_ONCE, work, max(300, count // 50)), [])

    def counts(self, router):
        """Links by kind, connections and deliveries that are open, as management tells them. Our own request is one."""
        links = self.rows(router, "router.link", "linkType", "linkDir", "unsettledCount", "undeliveredCount")
        connections = self.rows(router, "connection", "role", "container")
        kinds = sorted({(row["linkType"], row["linkDir"]) for row in links if row["linkType"] != "endpoint"})
        return {
            "links": {kind: sum((row["linkType"], row["linkDir"]) == kind for row in links) for kind in kinds},
            "unsettled": sum(row["unsettledCount"] or 0 for row in links if row["linkType"] != "endpoint"),
            "connections": len(connections),
        }

    def settled_counts(self, router):
        """Counts that stay the same for a second: the streams before have ended."""
        last = [None, 0]

        def same():
            now = self.counts(router)
            last[1] = last[1] + 1 if now == last[0] else 0
            last[0] = now
            return last[1] >= 4 and now
        return wait_until(f"{router.name} to be quiet", same, 60, 0.25)


if __name__ == "__main__":
    unittest.main()

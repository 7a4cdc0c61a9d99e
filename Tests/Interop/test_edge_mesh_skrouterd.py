"""Edge routers of both products connected to each other (role inter-edge): who dials, TCP services, mesh identity."""

import itertools
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Integration"))

from harness import CountingProxy, Server, echo, exchange, is_refused, wait_until  # noqa: E402
from skrouterd_case import BOTH_WAYS, OURS, THEIRS, MixedCase, at_once, needs_skrouterd  # noqa: E402


@needs_skrouterd
class MixedMesh(MixedCase):
    def setUp(self):
        super().setUp()
        self.server = self.keep(Server(echo))

    def edge(self, product, name, *interiors):
        router = self.make(product, name, mode="edge")
        for interior in interiors:
            router.connect_to(interior.edge_port, role="edge")
        return router

    def interior(self, product, name):
        router = self.make(product, name)
        router.edge_port = router.listen_for_routers(role="edge")
        return router

    def join(self, dialling, listening, through=lambda port: port):
        dialling.connect_to(through(listening.listen_for_routers(role="inter-edge")), role="inter-edge")

    def offer(self, *routers):
        for router in routers:
            router.tcp_connector(f"on-{router.name}", self.server.port)

    def use(self, router, *others):
        return [router.tcp_listener(f"on-{other.name}") for other in others]

    def connections(self, router, role):
        rows = self.rows(router, "connection", "role", "container", "dir", "meshId")
        return [row for row in rows if row["role"] == role]

    def await_meshes(self, interior, *groups):
        def agreed():
            found = {row["container"]: row["meshId"] for row in self.connections(interior, "edge")}
            if set(found) != set(itertools.chain(*groups)) or None in found.values():
                return None
            names = [{found[edge] for edge in group} for group in groups]
            return found if all(len(name) == 1 for name in names) and len(set.union(*names)) == len(groups) else None
        return wait_until(f"meshes {groups} at {interior.name}", agreed, 20, 0.1)

    def test_two_edges_without_interior(self):
        for dialling, listening in BOTH_WAYS:
            with self.part(dialling=dialling, listening=listening):
                one, two = self.edge(dialling, f"d-{dialling}"), self.edge(listening, f"l-{listening}")
                self.join(one, two)
                self.offer(one, two)
                there, back = self.use(one, two)[0], self.use(two, one)[0]
                self.start_all()
                self.exchanges(there)
                self.exchanges(back)

    def test_both_dial(self):
        with self.part():
            one, two = self.edge(OURS, "ours"), self.edge(THEIRS, "theirs")
            self.join(one, two)
            self.join(two, one)
            self.offer(one, two)
            there, back = self.use(one, two)[0], self.use(two, one)[0]
            self.start_all()
            for router in (one, two):
                wait_until("both connections", lambda: len(self.connections(router, "inter-edge")) == 2, 20, 0.1)
            self.exchanges(there, (1, 100_000))
            self.exchanges(back, (1, 100_000))

    def test_many_streams_at_once(self):
        """skrouterd has one link for all streams of an address here, so they take turns there; none may be lost."""
        with self.part():
            one, two = self.edge(OURS, "ours"), self.edge(THEIRS, "theirs")
            self.join(one, two)
            self.offer(one, two)
            ports = self.use(one, two) + self.use(two, one)
            self.start_all()
            for port in ports:
                self.await_exchange(port)
                self.assertEqual(at_once(20, lambda _: self.exchanges(port, (20_000,), 1)), [])

    def test_one_mesh_at_interiors_of_both(self):
        """Without the way from their edge router over their interior to ours: skrouterd's interior takes an address
        of a mesh that it has from another interior for anybody's, offers it, and loses what it is sent for it."""
        for above, below in [(OURS, OURS), *BOTH_WAYS]:
            with self.part(near=above, far=below):
                near, far = self.interior(above, f"i-{above}"), self.interior(below, f"f-{below}")
                far.connect_to(near.listen_for_routers())
                ours, theirs = self.edge(OURS, "ours", near), self.edge(THEIRS, "theirs", far)
                third = self.edge(OURS, "third", near)
                outside = self.edge(THEIRS, "outside", far)
                self.join(theirs, ours)
                self.join(ours, third)
                self.join(third, theirs)
                self.offer(ours, theirs, outside)
                ports = self.use(ours, theirs, outside) + self.use(theirs, outside)
                ports += self.use(outside, ours, theirs) + self.use(third, ours, theirs)
                if below == OURS:
                    ports += self.use(theirs, ours)
                # skrouterd's edge router tells an interior that it finds later of its neighbours' addresses too.
                self.start_all(near, far, theirs, outside)
                wait_until("their uplinks", lambda: len(self.connections(far, "edge")) == 2, 20, 0.1)
                self.start_all(ours, third)
                wait_until("one name of the mesh at both interiors", lambda: (
                    self.await_meshes(near, ["ours", "third"])["ours"]
                    == self.await_meshes(far, ["theirs"], ["outside"])["theirs"]), 20, 0.1)
                if below == OURS:
                    # Interiors learn of the mesh's last name by skrouterd's tick; till then they still offer.
                    wait_until("their edge router to know the direct way only", lambda: [
                        row["subscriberCount"] for row in self.rows(theirs, "router.address", "key", "subscriberCount")
                        if row["key"] == "Mon-ours"] == [1], 20, 0.1)
                for port in ports:
                    self.exchanges(port, (1, 100_000), 1)

    def test_lost_connection_leaves_the_way_through_the_interior(self):
        """The router that was there first gave the mesh its name; it keeps or changes it as its product does."""
        for first, second in BOTH_WAYS:
            with self.part(first=first, second=second):
                interior = self.interior(OURS, "interior")
                one, two = self.edge(first, f"1-{first}", interior), self.edge(second, f"2-{second}", interior)
                links = []

                def relay(port):
                    links.append(self.keep(CountingProxy(port)))
                    return links[0].port
                self.join(two, one, relay)
                self.offer(one, two)
                ports = self.use(one, two) + self.use(two, one)
                self.start_all(interior, one)
                self.start_all(two)
                self.await_meshes(interior, [one.name, two.name])
                for port in ports:
                    self.exchanges(port, (1000,), 1)
                links[0].cut()
                self.await_meshes(interior, [one.name], [two.name])
                for port in ports:
                    self.exchanges(port, (1000,), 1)
                links[0].mend()
                self.await_meshes(interior, [one.name, two.name])
                for port in ports:
                    self.exchanges(port, (1000,), 1)

    def test_listener_follows_the_server_in_the_mesh(self):
        for here, there in BOTH_WAYS:
            with self.part(client=here, server=there):
                interior = self.interior(here, "interior")
                one, two = self.edge(here, "one", interior), self.edge(there, "two", interior)
                self.join(one, two)
                self.offer(two)
                port = self.use(one, two)[0]
                self.start_all(interior, one)
                self.assertTrue(is_refused(port))
                self.start_all(two)
                self.await_meshes(interior, ["one", "two"])
                self.exchanges(port, (1000,))
                two.process.kill()
                wait_until("the listener to close", lambda: is_refused(port), 20)


if __name__ == "__main__":
    unittest.main()

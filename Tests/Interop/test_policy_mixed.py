"""The same policy in both products: what a client may do, and with which condition it is refused."""

import unittest

from skrouterd_case import BOTH_WAYS, OURS, THEIRS, MixedCase, needs_skrouterd, wait_until
from harness import Server, echo, free_port
from test_policy import FREE, Client

NAMES = ("a", "ab", "work", "workshop", "to-anonymous", "to-bob", "anonymous", "anonymous.x", "anonymousx", "out/a",
         "out", "out.a.b", "$management", "_local/x", "a*")
# Rules for receivers and senders alike, as names and as patterns.
RULES = (
    {"sources": "a, work*, to-${user}", "targets": "*"},
    {"sourcePattern": "a, out.#, ${user}.*", "targetPattern": "out/*, *.${user}, $management"},
    {"sources": "${user}*, a*", "targetPattern": "#"},
    {"targets": ""},
)


@needs_skrouterd
class Alike(MixedCase):
    def attempts(self, product, rules):
        """What becomes of a receiver and a sender for each name."""
        router = self.make(product, "R", mode="standalone")
        port = free_port()
        router.add("policy", enableVhostPolicy=True)
        router.add("vhost", hostname="$default", allowUnknownUser=True, groups={"$default": FREE})
        router.add("vhost", hostname="app", allowUnknownUser=True, groups={"$default": {"remoteHosts": "*", **rules}})
        router.add("listener", name="clients", host="127.0.0.1", port=port, policyVhost="app",
                   authenticatePeer=False, saslMechanisms="ANONYMOUS")
        self.start_all(router)
        client = Client(port).begin()
        self.resources.callback(client.close)
        found = {name: (client.receiver(name), client.sender(name)) for name in NAMES}
        found["dynamic"] = client.dynamic()
        found["anonymous sender"] = client.sender(None)
        with self.management(router) as management:
            row = next(row for row in management.query("vhostStats") if row["hostname"] == "app")
            found["counts"] = {key: row[key] for key in (
                "connectionsApproved", "connectionsDenied", "connectionsCurrent", "senderDenied", "receiverDenied")}
        return found

    def test_addresses(self):
        for rules in RULES:
            found = {}
            for product in (THEIRS, OURS):
                with self.part(rules=rules, product=product):
                    found[product] = self.attempts(product, rules)
            self.assertEqual(found[OURS], found[THEIRS], rules)

    def test_numbers(self):
        def attempts(product):
            router = self.make(product, "R", mode="standalone")
            port = free_port()
            router.add("policy", enableVhostPolicy=True)
            router.add("vhost", hostname="$default", allowUnknownUser=True, groups={"$default": FREE})
            router.add("vhost", hostname="app", allowUnknownUser=True, maxConnections=2, groups={
                "$default": {**FREE, "maxSenders": 1, "maxReceivers": 2, "maxFrameSize": 4096, "maxSessions": 7}})
            router.add("listener", name="clients", host="127.0.0.1", port=port, policyVhost="app",
                       authenticatePeer=False, saslMechanisms="ANONYMOUS")
            self.start_all(router)
            held = [Client(port) for _ in range(3)]
            for client in held:
                self.resources.callback(client.close)
            limits = [client.remote_open[2:4] for client in held[:2]]
            first = held[0].begin()
            return (limits, held[2].closing(), [first.sender(name) for name in ("a", "b")],
                    [first.receiver(name) for name in ("a", "b", "c")])
        found = {}
        for product in (THEIRS, OURS):
            with self.part(product=product):
                found[product] = attempts(product)
        self.assertEqual(found[OURS], found[THEIRS])


@needs_skrouterd
class Networks(MixedCase):
    def test_edge_routers_under_a_policy(self):
        """The interior's vhost binds the edge router's connection; a service passes where its rules let it."""
        for interior, edge in BOTH_WAYS:
            with self.part(interior=interior, edge=edge):
                above = self.make(interior, "interior")
                below = self.make(edge, "edge", mode="edge")
                above.add("policy", enableVhostPolicy=True)
                above.add("vhost", hostname="$default", allowUnknownUser=True, groups={"$default": FREE})
                below.connect_to(above.listen_for_routers(role="edge"), role="edge")
                server = self.keep(Server(echo))
                above.tcp_connector("up", server.port)
                below.tcp_connector("down", server.port)
                ports = [below.tcp_listener("up"), above.tcp_listener("down")]
                self.start_all(above, below)
                for port in ports:
                    self.exchanges(port, sizes=(1, 300_000))

                def current():
                    rows = self.rows(above, "vhostStats")
                    return next(row["connectionsCurrent"] for row in rows if row["hostname"] == "$default") >= 1
                wait_until("the edge router to be counted", current, 10)


if __name__ == "__main__":
    unittest.main()

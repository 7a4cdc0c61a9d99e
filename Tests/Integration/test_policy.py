"""Policy: who may connect, what for, and how much of it; rules from files, from a folder and through management."""

import json
import socket
import unittest

from amqp_wire import (AMQP_HEADER, AMQP_VALUE, ATTACH, BEGIN, CLOSE, DETACH, DISPOSITION, END, FLOW, OPEN, PROPERTIES,
                       SASL_HEADER, SASL_INIT, SASL_MECHANISMS, SASL_OUTCOME, SOURCE, TARGET, TRANSFER, Described,
                       ManagementClient, ManagementError, Peer, PeerClosed, Symbol, UByte, UInt, ULong, encode, frame,
                       open_frame, performative)
from harness import BIN, MeshCase, Process, RouterCase, Server, connect, echo, exchange, free_port, wait_until
from test_passwords import SECRET, PasswordCase, plain

LIMIT = "amqp:resource-limit-exceeded"
FORBIDDEN = "amqp:unauthorized-access"
FREE = {"remoteHosts": "*", "sources": "*", "targets": "*", "allowDynamicSource": True, "allowAnonymousSender": True}


def condition(error):
    return str(error.value[0])


class Client(Peer):
    """A client with one session; attaches are answered with None or the condition that they are refused with."""

    def __init__(self, port, hostname=None):
        fields = {} if hostname is None else {"hostname": hostname}
        super().__init__(socket.create_connection(("127.0.0.1", port), timeout=10), **fields)
        self.handshake()
        self.handle = -1

    def begin(self, channel=0):
        self.send(BEGIN, None, UInt(0), UInt(1000), UInt(1000), channel=channel)
        self.expect(BEGIN)
        return self

    def _attach(self, receiver, source, target):
        self.handle += 1
        self.send(ATTACH, f"link-{self.handle}", UInt(self.handle), receiver, UByte(2), UByte(0),
                  Described(ULong(SOURCE), source), Described(ULong(TARGET), target), None, None, UInt(0))
        attach = self.expect(ATTACH)
        self.local = attach[1]
        self.source = attach[5] and attach[5].value[0]
        if any(end is not None and end.value and end.value[0] for end in attach[5:7]):
            return None
        # Refused, or a sender without target, which may send at once.
        code, refused, _ = self.next_of(FLOW, DETACH)
        if code == FLOW:
            return None
        self.send(DETACH, UInt(self.handle), True)
        return condition(refused[2])

    def receiver(self, address):
        return self._attach(True, [address], [])

    def dynamic(self):
        return self._attach(True, [None, UInt(0), None, UInt(0), True], [])

    def sender(self, address):
        return self._attach(False, [], [address])

    def detach(self, handle):
        self.send(DETACH, UInt(handle), True)
        self.expect(DETACH)

    def closing(self):
        """The condition with which the router closes the connection."""
        while True:
            code, fields, _ = self._read_frame()
            if code == CLOSE:
                return condition(fields[0])


class Policies(RouterCase):
    def setUp(self):
        super().setUp()
        self.front = self.router("front", mode="standalone")
        self.port = free_port()

    def policy(self, **attributes):
        self.front.add("policy", enableVhostPolicy=True, **attributes)
        self.front.add("vhost", hostname="$default", allowUnknownUser=True, groups={"$default": FREE})
        return self

    def clients(self, hostname="app", maxConnections=100, **group):
        """A listener for clients of one vhost, with the rules for unknown users."""
        self.front.add("listener", name="clients", host="127.0.0.1", port=self.port, policyVhost=hostname)
        self.front.add("vhost", hostname=hostname, allowUnknownUser=True, maxConnections=maxConnections,
                       groups={"$default": {"remoteHosts": "*", **group}})
        return self

    def client(self, **arguments):
        client = Client(arguments.pop("port", self.port), **arguments)
        self.resources.callback(client.close)
        return client

    def management(self):
        return ManagementClient(self.front.amqp_port)

    def statistics(self, hostname="app"):
        with self.management() as management:
            rows = {row["hostname"]: row for row in management.query("vhostStats")}
            policy, = management.query("policy")
        return rows.get(hostname), policy

    def test_links_are_those_of_the_group(self):
        self.policy().clients(sources="in, work*, to-${user}", targetPattern="out.#, ${user}/*", maxSenders=2,
                              maxReceivers=3)
        self.front.start()
        client = self.client().begin()
        self.assertEqual([client.receiver(name) for name in ("in", "workshop", "to-anonymous")], [None] * 3)
        self.assertEqual(client.receiver("in"), LIMIT)
        client.detach(0)
        self.assertEqual(client.receiver("private"), FORBIDDEN)
        self.assertEqual(client.dynamic(), FORBIDDEN)
        self.assertEqual(client.receiver("in"), None)
        self.assertEqual(client.sender("in"), FORBIDDEN)
        self.assertEqual(client.sender(None), FORBIDDEN)
        self.assertEqual([client.sender(name) for name in ("out.a.b", "anonymous/x")], [None] * 2)
        self.assertEqual(client.sender("out"), LIMIT)
        row, policy = self.statistics()
        self.assertEqual((row["receiverDenied"], row["senderDenied"], row["connectionsCurrent"]), (3, 3, 1))
        self.assertEqual((policy["linksDenied"], policy["totalDenials"]), (6, 6))
        self.assertEqual(list(row["perUserState"]), ["anonymous"])
        client.close()
        wait_until("the client to be counted as gone",
                   lambda: self.statistics()[0]["connectionsCurrent"] == 0, 10)

    def test_connections_beyond_the_number_are_closed_with_the_reason(self):
        self.policy().clients(maxConnections=2, **FREE)
        self.front.start()
        self.client()
        second = self.client()
        self.assertEqual(self.client().closing(), LIMIT)
        second.close()
        wait_until("room for one more", lambda: self.statistics()[0]["connectionsCurrent"] == 1, 10)
        self.assertIsNone(self.client().begin().receiver("a"))
        row, policy = self.statistics()
        self.assertEqual((row["connectionsApproved"], row["connectionsDenied"]), (3, 1))
        self.assertEqual(policy["connectionsDenied"], 0)

    def test_vhosts_are_found_by_name_alias_and_pattern(self):
        self.front.add("policy", enableVhostPolicy=True, enableVhostNamePatterns=True, defaultVhost="")
        self.front.add("listener", name="clients", host="127.0.0.1", port=self.port)
        self.front.add("vhost", hostname="*.example", aliases="other", allowUnknownUser=True,
                       groups={"$default": {**FREE, "targets": "wild"}})
        self.front.add("vhost", hostname="a.example", allowUnknownUser=True,
                       groups={"$default": {**FREE, "targets": "exact"}})
        self.front.start()
        for hostname, target in (("b.example", "wild"), ("other", "wild"), ("a.example", "exact")):
            client = self.client(hostname=hostname).begin()
            self.assertIsNone(client.sender(target), hostname)
        for hostname in ("a.b.example", "elsewhere", None):
            self.assertEqual(self.client(hostname=hostname).closing(), LIMIT)

    def test_limits_of_open_and_sessions(self):
        self.policy().clients(maxFrameSize=2048, maxSessions=3, maxSessionWindow=8192, **FREE)
        self.front.start()
        client = self.client()
        self.assertEqual((client.remote_open[2], client.remote_open[3]), (2048, 2))
        client.send(BEGIN, None, UInt(0), UInt(1000), UInt(1000))
        self.assertEqual(client.expect(BEGIN)[2], 4)
        client.begin(channel=2)
        client.send(BEGIN, None, UInt(0), UInt(1000), UInt(1000), channel=3)
        self.assertEqual(client.closing(), "amqp:not-allowed")

    def test_messages_may_not_leave_their_bounds(self):
        self.policy().clients(**{**FREE, "targets": "a*"}, maxMessageSize=1000)
        self.front.start()
        client = self.client().begin()
        self.assertIsNone(client.receiver("allowed"))
        client.send(FLOW, UInt(0), UInt(100), UInt(0), UInt(100), UInt(0), UInt(0), UInt(50))
        self.assertIsNone(client.sender(None))
        number = 0

        def outcome(to, user=None, body="x"):
            nonlocal number
            message = (encode(Described(ULong(PROPERTIES), [None, user, to]))
                       + encode(Described(ULong(AMQP_VALUE), body)))
            client.send(TRANSFER, UInt(1), UInt(number), b"t%d" % number, UInt(0), False, False, payload=message)
            number += 1

        def rejected():
            return condition(client.expect(DISPOSITION)[4].value[0])

        outcome("private")
        self.assertEqual(rejected(), FORBIDDEN)
        outcome("allowed", b"somebody")
        self.assertEqual(rejected(), FORBIDDEN)
        outcome("allowed", b"anonymous")
        self.assertIn(b"anonymous", client.next_of(TRANSFER)[2])
        outcome("allowed", body="x" * 900)
        self.assertIn(b"xxx", client.next_of(TRANSFER)[2])
        outcome("allowed", body="x" * 1001)
        self.assertEqual(rejected(), "amqp:link:message-size-exceeded")
        self.assertEqual(client.closing(), "amqp:connection:forced")
        row, policy = self.statistics()
        self.assertEqual((row["maxMessageSizeDenied"], policy["maxMessageSizeDenied"]), (1, 1))

    def test_rules_change_while_clients_are_there(self):
        self.policy().clients(sources="a", targets="a")
        self.front.start()
        old = self.client().begin()
        with self.management() as management:
            rules = {"remoteHosts": "*", "sources": "b"}
            management.update("vhost", "vhost/app", groups={"$default": rules})
            new = self.client().begin()
            self.assertEqual((old.receiver("a"), old.receiver("b")), (None, FORBIDDEN))
            self.assertEqual((new.receiver("a"), new.receiver("b")), (FORBIDDEN, None))
            management.delete("vhost", "vhost/app")
            management.delete("vhost", "vhost/$default")
            # Those that were let in stay, with what they may do.
            self.assertIsNone(old.receiver("a"))
            self.assertEqual(self.client().closing(), LIMIT)
            self.assertEqual({row["hostname"] for row in management.query("vhostStats")}, {"app", "$default"})
            old.close()
            new.close()
            wait_until("the last of its clients to be gone",
                       lambda: "app" not in {row["hostname"] for row in management.query("vhostStats")}, 10)
            management.create("vhost", "app", hostname="app", allowUnknownUser=True, groups={"$default": FREE})
            self.assertIsNone(self.client().begin().receiver("c"))

    def test_faulty_rules_change_nothing(self):
        self.policy(enableVhostNamePatterns=True).clients(sources="a")
        self.front.start()
        faults = [
            {"hostname": "x", "allowUnknownUser": True},
            {"hostname": "x", "groups": {"g": {"sources": "a", "sourcePattern": "a"}}},
            {"hostname": "x", "groups": {"g": {"sourcePattern": "a-${user}.z"}}},
            {"hostname": "x", "groups": {"g": {"sources": "${user}/${user}"}}},
            {"hostname": "x", "groups": {"g": {"users": "u"}, "k": {"users": "u"}}},
            {"hostname": "x", "groups": {"g": {"remoteHosts": "10.0.0.9-10.0.0.1"}}},
            {"hostname": "x", "groups": {"g": {"maxSenders": -1}}},
            {"hostname": "x", "groups": {"g": "nothing"}},
            {"hostname": "x", "aliases": "app"},
            {"hostname": "x", "aliases": "y, y"},
        ]
        with self.management() as management:
            for fault in faults:
                with self.assertRaises(ManagementError) as refused:
                    management.create("vhost", "x", **fault)
                self.assertEqual(refused.exception.status, 500, fault)
            # Another entity with the rules of a host name that has some.
            with self.assertRaises(ManagementError) as refused:
                management.create("vhost", "other", hostname="app", allowUnknownUser=True, groups={"$default": FREE})
            self.assertEqual(refused.exception.status, 400)
            with self.assertRaises(ManagementError):
                management.update("vhost", "vhost/app", groups={"$default": {"sources": "b", "sourcePattern": "b"}})
            self.assertEqual(len(management.query("vhost")), 2)
        client = self.client().begin()
        self.assertEqual((client.receiver("a"), client.receiver("b")), (None, FORBIDDEN))

    def test_a_folder_of_vhosts(self):
        folder = self.folder / "policies"
        folder.mkdir()
        self.front.add("policy", enableVhostPolicy=True, policyDir=str(folder))
        self.front.add("listener", name="clients", host="127.0.0.1", port=self.port, policyVhost="second")
        for name in ("$default", "second"):
            rules = {"hostname": name, "allowUnknownUser": True, "groups": {"$default": FREE}}
            (folder / f"{name}.json").write_text("# a comment\n" + json.dumps([["vhost", rules]]))
        (folder / "others.json").write_text(json.dumps([["listener", {"port": 1}]]))
        (folder / "readme.txt").write_text("nothing for a router")
        self.front.start()
        self.assertIsNone(self.client().begin().receiver("a"))
        with self.management() as management:
            self.assertEqual({row["hostname"] for row in management.query("vhost")}, {"$default", "second"})

    def refused_start(self):
        self.front.config_path.write_text(json.dumps(self.front.entities))
        process = self.keep_process(Process([BIN / "skupper-router", "-c", self.front.config_path],
                                            self.front.folder / "refused.log"))
        self.assertEqual(process.child.wait(timeout=20), 1)
        return process.log()

    def keep_process(self, process):
        self.resources.callback(process.kill)
        return process

    def test_a_folder_that_cannot_be_used_stops_the_start(self):
        folder = self.folder / "policies"
        self.front.add("policy", enableVhostPolicy=True, policyDir=str(folder))
        self.assertIn(str(folder), self.refused_start())
        folder.mkdir()
        path = folder / "one.json"
        for text in ("[[", "{}", json.dumps([["vhost", {"hostname": "h", "novelty": 1}]]),
                     json.dumps([["vhost", {"hostname": "h"}], ["vhost", {"hostname": "h"}]])):
            path.write_text(text)
            self.assertIn(str(path), self.refused_start(), text)
        path.write_text(json.dumps([["vhost", {"hostname": "h", "allowUnknownUser": True}]]))
        self.assertIn("Policy 'h' is invalid", self.refused_start())

    def test_sockets_beyond_the_number_are_closed(self):
        self.front.add("policy", maxConnections=3)
        self.front.start()
        held = [self.client(port=self.front.amqp_port) for _ in range(2)]
        _, policy = self.statistics()
        self.assertEqual(policy["connectionsCurrent"], 3)
        held.append(self.client(port=self.front.amqp_port))
        with self.assertRaises((PeerClosed, ConnectionError)):
            self.client(port=self.front.amqp_port)
        held[0].close()
        wait_until("a connection to be taken again", self.has_room, 10)
        _, policy = self.statistics()
        self.assertGreaterEqual(policy["connectionsDenied"], 1)
        self.assertEqual(policy["totalDenials"], policy["connectionsDenied"])

    def has_room(self):
        try:
            Client(self.front.amqp_port).close()
        except (PeerClosed, ConnectionError):
            return False
        return True

    def test_connections_are_not_closed_by_those_who_may_not(self):
        self.front.add("policy", enableVhostPolicy=True)
        self.front.add("vhost", hostname="$default", allowUnknownUser=True,
                       groups={"$default": {**FREE, "allowAdminStatusUpdate": False}})
        self.front.start()
        with self.management() as management:
            identity = management.query("connection")[0]["identity"]
            status, text, _ = management.request("UPDATE", {"adminStatus": "deleted"}, identity=identity,
                                                 type="io.skupper.router.connection")
            self.assertEqual(status, 403)
            self.assertIn("Forbidden", text)

    def test_what_a_connector_reaches_has_rules_too(self):
        back = self.router("back", mode="standalone")
        listener = socket.create_server(("127.0.0.1", 0))
        self.resources.callback(listener.close)
        back.add("policy", enableVhostPolicy=True)
        back.add("vhost", hostname="$default", allowUnknownUser=True, groups={"$default": FREE})
        back.add("vhost", hostname="broker", groups={"$connector": {"sources": "in", "maxSessions": 1}})
        for name, vhost in (("good", "broker"), ("bad", "nosuch")):
            back.add("connector", name=name, host="127.0.0.1", role="normal", port=str(listener.getsockname()[1]),
                     saslMechanisms="ANONYMOUS", policyVhost=vhost)
        back.start()
        self.routers.remove(self.front)
        said = {}
        for _ in range(2):
            peer = Accepted(listener.accept()[0])
            self.resources.callback(peer.close)
            peer.handshake()
            said[peer.outcome()] = peer
        self.assertEqual(set(said), {LIMIT, None})

        def failed():
            with ManagementClient(back.amqp_port) as management:
                row = management.read("connector", "bad")
            return row["connectionStatus"] == "FAILED" and "nosuch" in row["connectionMsg"]
        wait_until("the connector to say why", failed, 10)


class Accepted(Client):
    """The server that a connector of the router dials."""

    def __init__(self, connection):
        Peer.__init__(self, connection)
        self.socket.settimeout(10)
        self.handle = -1

    def handshake(self):
        self._expect_header(SASL_HEADER)
        self.socket.sendall(SASL_HEADER + frame(performative(SASL_MECHANISMS, Symbol("ANONYMOUS")), kind=1))
        self.expect(SASL_INIT)
        self.socket.sendall(frame(performative(SASL_OUTCOME, UByte(0)), kind=1))
        self._expect_header(AMQP_HEADER)
        self.socket.sendall(AMQP_HEADER + open_frame("broker"))
        self.expect(OPEN)

    def outcome(self):
        """The condition of its close, or None where links are as the rules have them."""
        try:
            self.begin()
        except PeerClosed as closed:
            return LIMIT if LIMIT in str(closed) else str(closed)
        if (self.receiver("in"), self.receiver("out"), self.sender("in")) != (None, FORBIDDEN, FORBIDDEN):
            return "links"
        self.send(BEGIN, None, UInt(0), UInt(10), UInt(10), channel=1)
        return None if condition(self.expect(END)[0]) == LIMIT else "sessions"


class Users(PasswordCase):
    """Users that have proved who they are."""

    def setUp(self):
        super().setUp()
        self.service.users["bob@here"] = SECRET

    def test_each_user_has_the_rules_of_its_group(self):
        router = self.guarded("front", policyVhost="app", saslMechanisms="PLAIN ANONYMOUS", authenticatePeer=False)
        router.add("policy", enableVhostPolicy=True)
        router.add("vhost", hostname="$default", allowUnknownUser=True, groups={"$default": FREE})
        router.add("vhost", hostname="app", maxConnectionsPerUser=2, groups={
            "own": {"users": "ann@here, zoe@here", "remoteHosts": "127.0.0.0-127.255.255.255", "sources": "to-${user}"},
            "far": {"users": "bob@here", "remoteHosts": "10.0.0.1", "sources": "*"}})
        router.start()

        def client(user):
            made = Client.__new__(Client)
            Peer.__init__(made, self.keep(connect(router.guarded_port)), mechanism="PLAIN" if user else "ANONYMOUS",
                          response=plain(user, SECRET) if user else None)
            made.handle = -1
            return made.handshake()
        ann = client("ann@here").begin()
        self.assertEqual([ann.receiver(name) for name in ("to-ann@here", "to-zoe@here", "to-${user}")],
                         [None, FORBIDDEN, FORBIDDEN])
        client("ann@here").begin()
        for user in ("ann@here", "bob@here", None):
            self.assertEqual(client(user).closing(), LIMIT, user)
        row = next(row for row in self.rows(router, "vhostStats") if row["hostname"] == "app")
        self.assertEqual((row["connectionsApproved"], row["connectionsDenied"]), (2, 3))
        self.assertEqual({user: len(names) for user, names in row["perUserState"].items()}, {"ann@here": 2})


class Networks(MeshCase):
    def test_routers_are_not_bound_by_vhosts(self):
        """Without any vhost clients stay out; neighbours and their services do not."""
        server = self.keep(Server(echo))
        near, far = self.pair()
        for router in (near, far):
            router.add("policy", enableVhostPolicy=True, maxMessageSize=1000)
        port = near.tcp_listener("service")
        far.tcp_connector("service", server.port)
        near.start()
        far.start()
        self.await_service(port)
        data = b"x" * 300_000
        self.assertEqual(exchange(port, data), data)
        client = Client(near.amqp_port)
        self.resources.callback(client.close)
        self.assertEqual(client.closing(), LIMIT)


if __name__ == "__main__":
    unittest.main()

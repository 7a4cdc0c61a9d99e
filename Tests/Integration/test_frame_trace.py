"""The trace of AMQP frames in the log: what turns it on and off, for whom, and what it never shows."""

import re
import unittest

from amqp_wire import (ATTACH, BEGIN, CLOSE, DETACH, FLOW, SOURCE, TARGET, Described, ManagementClient, ManagementError,
                       Peer, PeerClosed, Symbol, UByte, UInt, ULong, encode, frame, performative)
from harness import MeshCase, Server, connect, echo, exchange, free_port, receive_exactly, wait_until
from password_service import PasswordService

SECRET = "correct-horse-battery"
# Date, time, zone, module, level, connection, channel, direction, text: tools count the words.
LINE = re.compile(r"^\S+ \S+ \S+ PROTOCOL \(debug\) \[C(\d+)\] (\d+) (<-|->) (.*)$", re.M)


class TraceCase(MeshCase):
    def peer(self, router, container):
        """A client with a session."""
        peer = Peer(self.keep(connect(router.amqp_port)), container=container).handshake()
        peer.send(BEGIN, None, UInt(0), UInt(1000), UInt(1000))
        peer.expect(BEGIN)
        peer.handles = 0
        return peer

    def attach(self, peer, address, name=None):
        """Attaches a receiver and waits for the answer."""
        peer.send(ATTACH, name or f"link-{address}", UInt(peer.handles), True, UByte(2), UByte(0),
                  Described(ULong(SOURCE), [address]), Described(ULong(TARGET), []))
        peer.handles += 1
        peer.expect(ATTACH)

    def management(self, router):
        return self.keep(ManagementClient(router.amqp_port))

    def identity(self, management, container):
        return next(row["identity"] for row in management.query("connection") if row["container"] == container)

    def lines(self, router, identity=None, mark=0):
        """(channel, direction, text) of each traced frame, of one connection or of all."""
        return [found[1:] for found in LINE.findall(router.process.log()[mark:])
                if identity is None or found[0] == identity]

    def texts(self, *arguments, **keywords):
        return "\n".join(f"{direction} {text}" for _, direction, text in self.lines(*arguments, **keywords))

    def set_level(self, management, level):
        """Changes the level and waits until every loop knows it."""
        management.update("log", "log/PROTOCOL", enable=level)
        expected = {level.startswith("debug")}
        wait_until("all connections to follow the level",
                   lambda: {row["enableProtocolTrace"] for row in management.query("connection")} == expected, 10)

    def set_flag(self, management, identity, value):
        body = {"enableProtocolTrace": value}
        status, text, row = management.request("UPDATE", body, type="io.skupper.router.connection", identity=identity)
        if status != 200:
            raise ManagementError(status, text)
        return row["enableProtocolTrace"]


class Turning(TraceCase):
    def test_the_level_is_followed_live(self):
        router = self.router("A").start()
        management = self.management(router)
        old = self.peer(router, "old")
        self.attach(old, "before")
        self.assertEqual(self.lines(router), [])
        self.assertFalse(management.query("connection")[0]["enableProtocolTrace"])

        self.set_level(management, "debug+")
        identity = self.identity(management, "old")
        self.attach(old, "during")
        wait_until("both attaches in the log", lambda: self.texts(router, identity).count("@attach(18)") == 2, 10)
        got, sent = (next(text for _, way, text in self.lines(router, identity) if way == arrow and "@attach" in text)
                     for arrow in ("<-", "->"))
        for text in (got, sent):
            self.assertIn('name="link-during"', text)
            self.assertIn('source=@source(40) [address="during"', text)
        self.assertIn("role=receiver", got)
        self.assertIn("role=sender", sent)

        new = self.peer(router, "new")
        self.attach(new, "of-the-new")
        new.send(DETACH, UInt(0), True)
        new.expect(DETACH)
        new.send(CLOSE)
        with self.assertRaises(PeerClosed):
            new.expect(FLOW)
        found = self.lines(router)
        number = str(max(int(line[0]) for line in LINE.findall(router.process.log()) if "of-the-new" in line[3]))
        wait_until("the close in the log", lambda: "-> @close(24)" in self.texts(router, number), 10)
        steps = [f"{way} {text.split()[0]}" for _, way, text in self.lines(router, number)]
        for arrow in ("<-", "->"):
            # Its whole life, in order: both headers, SASL, and everything from open to close.
            wanted = ["header", "header", "@open(16)", "@begin(17)", "@attach(18)", "@detach(22)", "@close(24)"]
            self.assertEqual([step[3:] for step in steps if step[3:] in wanted and step.startswith(arrow)], wanted)
        self.assertIn("-> @sasl-mechanisms(64)", steps)
        self.assertIn("<- @sasl-init(65)", steps)
        self.assertTrue(found)

        self.set_level(management, "info+")
        mark = len(router.process.log())
        self.attach(old, "after")
        self.attach(self.peer(router, "newest"), "after")
        management.query("connection")
        self.assertEqual(self.lines(router, mark=mark), [])

    def test_a_level_of_the_file_and_of_default(self):
        router = self.router("A")
        router.add("log", module="DEFAULT", enable="debug+")
        router.start()
        management = self.management(router)
        self.assertIn("@open(16)", self.texts(router))
        management.update("log", "log/DEFAULT", enable="info+")
        wait_until("all connections to follow",
                   lambda: not any(row["enableProtocolTrace"] for row in management.query("connection")), 10)

    def test_one_connection_of_several(self):
        router = self.router("A").start()
        management = self.management(router)
        chosen, other = self.peer(router, "chosen"), self.peer(router, "other")
        identity = self.identity(management, "chosen")
        self.assertTrue(self.set_flag(management, identity, True))
        self.assertEqual([row["container"] for row in management.query("connection") if row["enableProtocolTrace"]],
                         ["chosen"])
        self.attach(chosen, "shown")
        self.attach(other, "unseen")
        wait_until("both attaches in the log", lambda: self.texts(router).count("@attach(18)") == 2, 10)
        self.assertEqual(self.lines(router), self.lines(router, identity))
        self.assertNotIn("unseen", self.texts(router))

        # A word for a flag will do; the last word counts, whatever the level.
        self.assertFalse(self.set_flag(management, identity, "off"))
        mark = len(router.process.log())
        self.attach(chosen, "again")
        self.assertEqual(self.lines(router, mark=mark), [])
        self.set_level(management, "debug+")
        self.assertFalse(self.set_flag(management, identity, "no"))
        mark = len(router.process.log())
        self.attach(chosen, "third")
        self.attach(other, "fourth")
        wait_until("the attach of the other", lambda: "fourth" in self.texts(router, mark=mark), 10)
        self.assertNotIn("third", self.texts(router, mark=mark))
        self.assertTrue(self.set_flag(management, identity, "yes"))
        self.set_level(management, "info+")

    def test_what_is_refused(self):
        server = self.keep(Server(echo))
        router = self.router("A")
        router.tcp_connector("service", server.port)
        service = router.tcp_listener("service")
        router.start()
        self.await_service(service)
        management = self.management(router)
        own = self.identity(management, "management-client")
        with connect(service) as stream:
            stream.sendall(b"x")
            receive_exactly(stream, 1)
            streams = [row["identity"] for row in management.query("connection") if row["protocol"] == "tcp"]
            self.assertGreaterEqual(len(streams), 2)
            for identity in streams:
                with self.assertRaisesRegex(ManagementError, "400 .*no AMQP frames"):
                    self.set_flag(management, identity, True)
                self.assertFalse(self.set_flag(management, identity, False))
        for identity, value, reason in (("G10000", True, "no connection with"), ("999999", True, "no connection with"),
                                        (own, "loudly\nFORGED", "give true or false"),
                                        (own, None, "give true or false"), (own, {"a": 1}, "give true or false")):
            with self.assertRaisesRegex(ManagementError, f"400 .*{reason}"):
                self.set_flag(management, identity, value)
        self.assertNotIn("\nFORGED", router.process.log())
        self.assertEqual(self.lines(router), [])


class Routers(TraceCase):
    def test_a_link_from_either_end(self):
        """Transfers of a stream in both directions, at the connector's router and at the listener's; no octet of it."""
        near, far = self.pair()
        server = self.keep(Server(echo))
        far.tcp_connector("service", server.port)
        service = near.tcp_listener("service")
        far.start()
        near.start()
        self.await_service(service)
        body = SECRET.encode() * 20_000
        for router, role in ((near, "out"), (far, "in")):
            management = self.management(router)
            chosen = [row["identity"] for row in management.query("connection")
                      if row["role"].startswith("inter-router") and row["dir"] == role]
            self.assertGreater(len(chosen), 1)
            for identity in chosen:
                self.assertTrue(self.set_flag(management, identity, True))
            self.assertEqual(exchange(service, body), body)
            for way in ("<-", "->"):
                sizes = re.findall(rf"^{way} @transfer\(20\) \[.*\] payload of (\d+) octets$", self.texts(router), re.M)
                self.assertGreaterEqual(sum(map(int, sizes)), len(body))
            self.assertIn("@disposition(21)", self.texts(router))
            for identity in chosen:
                self.assertFalse(self.set_flag(management, identity, False))
            self.assertNotIn(SECRET[:12], router.process.log())
            self.assertEqual(len(self.lines(router)), len(LINE.findall(router.process.log())))


class Hidden(TraceCase):
    def setUp(self):
        super().setUp()
        self.service = self.keep(PasswordService(self.folder / "sasl", {"ann@here": SECRET}))

    def test_passwords_of_clients_of_routers_and_of_requests(self):
        far = self.router("far", self.authority, **self.service.settings)
        far.add("log", module="PROTOCOL", enable="debug+")
        port = far.listen_for_routers(saslMechanisms="PLAIN")
        guarded = free_port()
        far.add("listener", name="guarded", host="127.0.0.1", port=guarded, saslMechanisms="PLAIN",
                authenticatePeer=True)
        near = self.router("near")
        near.add("log", module="PROTOCOL", enable="debug+")
        near.add("sslProfile", name="mesh", caCertFile=str(far.identity / "ca.crt"))
        near.connect_to(port, saslUsername="ann@here", saslPassword=SECRET)
        far.start()
        near.start()
        for password in (SECRET, SECRET + "x"):
            peer = Peer(self.keep(connect(guarded)), mechanism="PLAIN", response=f"\0ann@here\0{password}".encode())
            if password == SECRET:
                peer.handshake().close()
            else:
                with self.assertRaises(PeerClosed):
                    peer.handshake()
        # One that gets the type of the field wrong.
        peer = Peer(self.keep(connect(guarded)))
        start = performative(0x41, Symbol("PLAIN"), f"\0ann@here\0{SECRET}")
        peer.socket.sendall(b"AMQP\3\1\0\0" + frame(start, kind=1))
        while peer.socket.recv(4096):
            pass
        for router in (near, far):
            management = self.management(router)
            management.create("sslProfile", "locked", caCertFile=str(far.identity / "ca.crt"),
                              password=f"pass:{SECRET}")
            management.read("sslProfile", "locked")
            management.query("connector")
            wait_until("the link",
                       lambda: "inter-router" in {row["role"] for row in management.query("connection")}, 10)
        shown = re.compile(r"@sasl-init\(65\) \[mechanism=:PLAIN, initial-response=\d+ octets, not shown")
        self.assertRegex(self.texts(near), "-> " + shown.pattern)
        self.assertRegex(self.texts(far), "<- " + shown.pattern)
        self.assertRegex(self.texts(far), r"<- @sasl-init\(65\) \[mechanism=:PLAIN, initial-response=not shown")
        for router in (near, far):
            log = router.process.log()
            self.assertIn("-> @transfer(20)", self.texts(router))
            self.assertNotIn(SECRET, log)
            self.assertNotIn(SECRET.encode().hex(), log)

    def test_frames_of_any_size_and_content_make_one_short_line_each(self):
        router = self.router("A")
        router.add("log", module="PROTOCOL", enable="debug+")
        router.start()
        management = self.management(router)
        peer = self.peer(router, "large")
        identity = self.identity(management, "large")
        self.attach(peer, "a" * 3000, name="x\n2026-01-01 FORGED\r\x1b[2J" + "n" * 9000)
        properties = {Symbol(f"key-{number}"): "v" * 30 for number in range(300)}
        peer.send(ATTACH, "many", UInt(1), True, UByte(2), UByte(0), Described(ULong(SOURCE), ["b"]),
                  Described(ULong(TARGET), []), None, None, None, None, None, None, properties)
        peer.expect(ATTACH)
        # A frame that cannot be decoded is shown before the connection ends for it.
        peer.socket.sendall(frame(encode(ULong(0x10)) + b"\xff"))
        with self.assertRaises(PeerClosed):
            peer.expect(FLOW)
        wait_until("the close in the log", lambda: "-> @close(24)" in self.texts(router, identity), 10)
        texts = self.texts(router, identity)
        self.assertIn(r'name="x\u{a}2026-01-01 FORGED\u{d}\u{1b}[2Jnnn', texts)
        self.assertIn("octets)", texts)
        self.assertIn(" … (cut)", texts)
        self.assertIn("<- frame of 11 octets, undecodable", texts)
        log = router.process.log()
        self.assertNotIn("\x1b", log)
        self.assertFalse([line for line in log.split("\n") if line.startswith("2026-01-01 FORGED")])
        traced = [line for line in log.splitlines() if " PROTOCOL " in line]
        self.assertLess(max(len(line.encode()) for line in traced), 2000)
        self.assertEqual(len(traced), len(LINE.findall(log)))
        with connect(router.amqp_port) as probe:  # It goes on.
            Peer(probe).handshake().close()


if __name__ == "__main__":
    unittest.main()

"""skupper-router as a process: its options, its messages about a bad configuration, HTTP, signals, management."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import unittest

from amqp_wire import ManagementClient, ManagementError, Peer, Symbol
from harness import (BIN, SANITIZED, SLOWNESS, MeshCase, Process, RouterCase, Server, connect, echo, exchange,
                     free_port, is_refused, wait_until)

# A remedy is an instruction: each message must hold one of these words.
REMEDY = re.compile(r"\b(use|set|choose|give|write|check|create|remove|correct|free|stop|must|expected|allowed|should|"
                    r"add|did you mean)\b", re.IGNORECASE)


def run_router(*arguments, seconds=10):
    done = subprocess.run([BIN / "skupper-router", *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=seconds * SLOWNESS,
                          env={**os.environ, "SWIFT_BACKTRACE": "enable=no"})
    return done.returncode, done.stdout + done.stderr


class CommandLine(unittest.TestCase):
    def test_help_names_the_options(self):
        code, text = run_router("--help")
        self.assertEqual(code, 0)
        for option in ("--config", "--version", "--include", "--daemon", "--pidfile", "--user"):
            self.assertIn(option, text)

    def test_version(self):
        code, text = run_router("--version")
        self.assertEqual(code, 0)
        self.assertRegex(text, r"\d+\.\d+")

    def test_unknown_option_is_named(self):
        code, text = run_router("--frobnicate")
        self.assertNotEqual(code, 0)
        self.assertIn("--frobnicate", text)


class Background(RouterCase):
    """Started with -d: run_router waits for the exit and for the end of what is written, as a script does."""

    def daemon(self, router):
        router.config_path.write_text(json.dumps(router.entities))
        pid_file = router.folder / "pid"
        code, text = run_router("-d", "-c", router.config_path, "-P", pid_file)
        if code == 0:
            pid = int(pid_file.read_text())
            self.addCleanup(self.stop, pid)
        return code, text

    def stop(self, pid):
        os.kill(pid, signal.SIGTERM)
        wait_until("the router in the background to end", lambda: not pathlib.Path(f"/proc/{pid}").exists(), 10)

    def test_it_is_up_when_the_command_returns(self):
        router = self.router("alone")
        self.routers.clear()
        code, text = self.daemon(router)
        self.assertEqual(code, 0, text)
        self.assertEqual(router.get("/healthz")[0], 200)

    def test_a_failure_is_the_commands(self):
        router = self.router("alone")
        self.routers.clear()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            router.add("listener", name="x", host="127.0.0.1", port=taken.getsockname()[1])
            code, text = self.daemon(router)
        self.assertEqual(code, 1)
        self.assertIn("in use", text)


class BadConfiguration(unittest.TestCase):
    """Each: exit code not zero, no crash, a message with the offending value and what to do."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="skupper-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def assert_refused(self, config, *words):
        path = self.folder / "skrouterd.json"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        self.assert_message(run_router("-c", path), *words)

    def assert_message(self, result, *words):
        code, text = result
        self.assertGreater(code, 0, f"it must fail, and not by a signal:\n{text}")
        for word in words:
            self.assertIn(word, text)
        self.assertRegex(text, REMEDY)

    def router(self, **attributes):
        return ["router", {"id": "r", "mode": "interior", **attributes}]

    def test_missing_file(self):
        path = self.folder / "nowhere.json"
        self.assert_message(run_router("-c", path), str(path))

    def test_folder_instead_of_a_file(self):
        self.assert_message(run_router("-c", self.folder), str(self.folder))

    def test_not_json(self):
        self.assert_refused("[[\"router\", {\"id\": ", "skrouterd.json")

    def test_not_a_list_of_pairs(self):
        self.assert_refused({"router": {}}, "skrouterd.json")

    def test_unknown_entity(self):
        self.assert_refused([self.router(), ["tcpLissener", {}]], "tcpLissener")

    def test_unknown_attribute(self):
        self.assert_refused([self.router(), ["tcpListener", {"name": "x", "adress": "y", "port": "1"}]], "adress")

    def test_wrong_mode(self):
        self.assert_refused([self.router(mode="exterior")], "exterior", "interior")

    def test_wrong_number(self):
        self.assert_refused([self.router(helloIntervalSeconds="soon")], "helloIntervalSeconds", "soon")

    def test_wrong_port(self):
        self.assert_refused([self.router(), ["tcpListener", {"name": "x", "address": "y", "port": "70000"}]], "70000")

    def test_bad_router_id(self):
        self.assert_refused([["router", {"id": "a b", "mode": "interior"}]], "a b")

    def test_two_routers(self):
        self.assert_refused([self.router(), self.router()], "router")

    def test_unknown_ssl_profile(self):
        self.assert_refused([self.router(), ["listener", {"name": "x", "role": "inter-router", "port": free_port(),
                                                          "sslProfile": "nosuch"}]], "nosuch")

    def test_missing_certificate_file(self):
        missing = self.folder / "tls.crt"
        self.assert_refused([self.router(),
                             ["sslProfile", {"name": "p", "certFile": str(missing), "privateKeyFile": str(missing),
                                             "caCertFile": str(missing)}],
                             ["listener", {"name": "x", "role": "inter-router", "host": "127.0.0.1",
                                           "port": free_port(), "sslProfile": "p", "saslMechanisms": "EXTERNAL"}]],
                            str(missing))

    def test_certificate_file_that_is_none(self):
        wrong = self.folder / "tls.crt"
        wrong.write_text("this is not PEM\n")
        self.assert_refused([self.router(),
                             ["sslProfile", {"name": "p", "certFile": str(wrong), "privateKeyFile": str(wrong),
                                             "caCertFile": str(wrong)}],
                             ["listener", {"name": "x", "role": "inter-router", "host": "127.0.0.1",
                                           "port": free_port(), "sslProfile": "p", "saslMechanisms": "EXTERNAL"}]],
                            str(wrong))

    def test_a_start_that_fails_stands_in_the_log_file(self):
        log, missing = self.folder / "router.log", self.folder / "tls.crt"
        self.assert_refused([self.router(),
                             ["log", {"module": "DEFAULT", "enable": "info+", "outputFile": str(log)}],
                             ["sslProfile", {"name": "p", "certFile": str(missing), "privateKeyFile": str(missing)}],
                             ["listener", {"name": "x", "host": "127.0.0.1", "port": free_port(), "sslProfile": "p"}]],
                            "Failed to configure TLS certFile")
        self.assertRegex(log.read_text(), rf"\(critical\) Router start-up failed: .*{re.escape(str(missing))}")

    def test_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.assert_refused([self.router(), ["listener", {"name": "x", "role": "normal", "host": "127.0.0.1",
                                                              "port": port}]], str(port), "in use")


class Serving(RouterCase):
    def test_health_and_metrics(self):
        router = self.router("alone").start()
        status, headers, text = router.get("/healthz")
        self.assertEqual((status, text), (200, "OK\n"))
        self.assertTrue(headers["content-type"].startswith("text/plain"))
        status, headers, text = router.get("/metrics")
        self.assertEqual(status, 200)
        self.assertTrue(headers["content-type"].startswith("text/plain"))
        self.assertRegex(text, r"(?m)^# TYPE qdr_connections_total gauge$")
        metrics = router.metrics()
        for name in ("qdr_connections_total", "qdr_links_total", "qdr_addresses_total", "qdr_routers_total",
                     "qdr_accepted_deliveries_total", "qdr_router_rss_bytes"):
            self.assertIn(name, metrics)
        self.assertEqual(router.get("/nosuch")[0], 404)

    def test_http_listener_survives_rubbish(self):
        router = self.router("alone").start()
        long_line = b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n"
        for rubbish in (b"\x00" * 100, b"GET", long_line, b"BREW / HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", router.http_port), timeout=5) as connection:
                try:
                    connection.sendall(rubbish)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
                except OSError:
                    pass
        self.assertEqual(router.get("/healthz")[0], 200)

    def test_each_stop_signal_ends_it_with_code_zero(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number.name):
                router = self.router(f"alone-{int(number)}").start()
                router.process.send(number)
                self.assertEqual(router.process.child.wait(timeout=5 * SLOWNESS), 0, router.process.log_tail())
                self.routers.clear()

    def test_stops_while_streams_are_open(self):
        server = self.keep(Server(echo))
        router = self.router("alone")
        port = router.tcp_listener("service")
        router.tcp_connector("service", server.port).start()
        self.await_service(port)
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        for connection in held:
            connection.sendall(b"x")
            connection.recv(1)
        self.assertEqual(router.process.stop(seconds=5), 0)
        for connection in held:
            connection.close()
        self.routers.clear()

    def test_idle_memory(self):
        router = self.router("alone").start()
        if not SANITIZED:
            self.assertLess(router.process.resident_kilobytes(), 25_000)

    def test_what_has_no_effect_is_said(self):
        router = self.router("alone", mode="edge")
        # Rules that nothing puts into force, and rules at a place where none are looked for.
        router.add("vhost", hostname="$default", allowUnknownUser=False)
        router.add("vhostUserGroupSettings", users="*", remoteHosts="*")
        router.add("connector", name="led", host="127.0.0.1", port=free_port(), allowRedirect=True)
        # This has an effect.
        router.add("listener", name="web", host="127.0.0.1", port=free_port(), http=True, websockets=True,
                   httpRootDir=str(self.folder))
        router.start()
        log = router.process.log()
        for words in ("vhost '$default' has no effect as long as",
                      "vhostUserGroupSettings 'vhostUserGroupSettings/0' has no effect",
                      "connector.allowRedirect is accepted but has no effect"):
            self.assertIn(words, log)
        self.assertEqual(log.count("has no effect"), 3)
        with ManagementClient(router.amqp_port) as management:
            management.create("connector", "led too", host="127.0.0.1", port=str(free_port()), allowRedirect=True)
        said = router.process.log_since(len(log))
        self.assertIn("led too: connector.allowRedirect is accepted but has no effect", said)
        self.assertEqual(said.count("has no effect"), 1)

    def test_conf_format(self):
        router = self.router("alone")
        path = router.folder / "skrouterd.conf"
        path.write_text(f"""# the text form of the same thing
router {{
    mode: interior
    id: text-form
}}
listener {{
    role: normal
    host: 127.0.0.1
    port: {router.http_port}
    http: yes
    healthz: true
}}
""")
        router.process = Process([BIN / "skupper-router", "--config", path], router.folder / "router.log")
        router.wait_healthy()


class Clients(RouterCase):
    def test_properties_of_open_are_shown_up_to_the_first_that_is_none(self):
        router = self.router("alone").start()
        for number, (sent, shown) in enumerate((
                ({Symbol("a"): 2, Symbol("b"): "two"}, {"a": 2, "b": "two"}),
                ({Symbol("a"): 2, Symbol("b"): None, Symbol("c"): 7}, {"a": 2}),
                ({Symbol("a"): 2, 7: "seven", Symbol("c"): 7}, {"a": 2}))):
            name = f"client-{number}"
            peer = Peer(connect(router.amqp_port, timeout=10), container=name, properties=sent).handshake()
            self.addCleanup(peer.close)
            with ManagementClient(router.amqp_port) as management:
                rows = {row["container"]: row["properties"] for row in management.query("connection")}
            self.assertEqual(rows[name], shown)


class LiveChanges(MeshCase):
    def test_listeners_and_connectors_come_and_go(self):
        server = self.keep(Server(echo))
        router = self.router("alone").start()
        port = free_port()
        with ManagementClient(router.amqp_port) as management:
            management.create("tcpListener", "l", host="127.0.0.1", port=str(port), address="service")
            management.create("tcpConnector", "c", host="127.0.0.1", port=str(server.port), address="service")
            self.await_service(port)
            self.assertEqual(exchange(port, b"hello"), b"hello")
            listener = management.read("tcpListener", "l")
            self.assertEqual((listener["address"], listener["port"], listener["operStatus"]),
                             ("service", str(port), "up"))
            names = {entity["name"] for entity in management.query("tcpListener", "name")}
            self.assertEqual(names, {"l"})
            with self.assertRaises(ManagementError) as twice:
                management.create("tcpListener", "l", host="127.0.0.1", port=str(port), address="service")
            self.assertEqual(twice.exception.status, 400)
            management.delete("tcpConnector", "c")
            wait_until("the listener to close when its last connector goes", lambda: is_refused(port), 5)
            management.delete("tcpListener", "l")
            self.assertEqual(management.query("tcpListener"), [])
            with self.assertRaises(ManagementError) as gone:
                management.delete("tcpListener", "l")
            self.assertEqual(gone.exception.status, 404)

    def test_wrong_values_are_refused_by_name(self):
        router = self.router("alone").start()
        with ManagementClient(router.amqp_port) as management:
            for kind, attributes, word in (
                    ("tcpListener", {"address": "a", "port": "99999", "host": "127.0.0.1"}, "99999"),
                    ("tcpListener", {"address": "a", "port": "1", "colour": "red"}, "colour"),
                    ("connector", {"host": "127.0.0.1", "port": "1", "role": "captain"}, "captain")):
                with self.subTest(word=word), self.assertRaises(ManagementError) as refused:
                    management.create(kind, "wrong", **attributes)
                self.assertEqual(refused.exception.status, 400)
                self.assertIn(word, refused.exception.text)
            status, _, _ = management.request("FROBNICATE", type="io.skupper.router.router", name="x")
            self.assertIn(status, (400, 501))
            status, _, _ = management.request("QUERY", {"attributeNames": []}, entityType="io.skupper.router.nosuch")
            self.assertEqual(status, 400)

    def test_links_come_and_go_live(self):
        near = self.router("near", self.authority)
        far = self.router("far", self.authority)
        port = far.listen_for_routers()
        near.start()
        far.start()
        with ManagementClient(near.amqp_port) as management:
            management.create("connector", "link", role="inter-router", host="127.0.0.1", port=str(port),
                              sslProfile="mesh", cost=3)

            def nodes():
                return {node["id"]: node for node in management.query("router.node", "id", "cost")}
            wait_until("the neighbour to be known", lambda: "far" in nodes(), 10)
            self.assertEqual(nodes()["far"]["cost"], 3)
            self.assertEqual(management.read("connector", "link")["connectionStatus"], "SUCCESS")
            roles = {entity["role"] for entity in management.query("connection", "role")}
            self.assertIn("inter-router", roles)
            management.delete("connector", "link")
            wait_until("the neighbour to be gone", lambda: "far" not in nodes(), 10)


if __name__ == "__main__":
    unittest.main()

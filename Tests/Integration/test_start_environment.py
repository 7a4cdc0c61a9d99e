"""What the environment of a container says about the start, as skupper-router's image understands it."""

import json
import socket

from amqp_wire import ManagementClient
from harness import BIN, SANITIZED, Process, RouterCase, Server, connect, echo, exchange, free_port, receive_exactly
from test_router_process import run_router

LEAST = 32 << 20


class StartCase(RouterCase):
    def started(self, *arguments, **environment):
        """A router that gets its whole configuration from these variables."""
        router = self.router("alone")
        router.process = Process([BIN / "skupper-router", *arguments], router.folder / "router.log", environment)
        return router

    def listeners(self, router):
        """The two entities that a test needs to see anything."""
        return [entity for entity in router.entities if entity[0] == "listener"]

    def configuration(self, *entities, **attributes):
        self.model = self.router("model", **attributes)
        self.routers.remove(self.model)
        return self.model.entities + [list(entity) for entity in entities]

    def await_start(self, router):
        router.http_port, router.amqp_port = self.model.http_port, self.model.amqp_port
        router.wait_healthy()
        return router

    def rows(self, router, kind, *attributes):
        with ManagementClient(router.amqp_port) as management:
            return management.query(kind, *attributes)


class Configuration(StartCase):
    def test_text_with_variables(self):
        entities = self.configuration(
            ["address", {"prefix": "$unset.${unset}", "distribution": "closest"}],
            metadata="${HOSTNAME_IP_ADDRESS}", id="r-$POD_ID-${a.b}")
        router = self.started(
            QDROUTERD_CONF=json.dumps(entities, indent=1), QDROUTERD_CONF_TYPE="json", HOSTNAME="router-5d8-x7",
            **{"a.b": "c"})
        self.await_start(router)
        row = self.rows(router, "router")[0]
        self.assertEqual(row["id"], "r-x7-c")
        try:
            found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
            own = {address[0].partition("%")[0] for *_, address in found}
        except OSError:
            own = set()
        self.assertEqual({text.partition("%")[0] for text in row["metadata"].split()}, own)
        self.assertEqual(self.rows(router, "router.config.address", "prefix")[0]["prefix"], "$unset.${unset}")

    def test_folders_and_files(self):
        entities = self.configuration(id="many")
        folder = self.folder / "configuration"
        folder.mkdir()
        (folder / "b.json").write_text(json.dumps(entities[1:]))
        (folder / "a.conf").write_text("router {\n  id: many\n  mode: interior\n}\n")
        (folder / "ignored.txt").write_text("nonsense")
        single = self.folder / "services.conf"
        single.write_text("tcpConnector {\n  name: c\n  port: 1\n  address: svc-$POD_ID\n}\n")
        router = self.started(QDROUTERD_CONF=f"{folder}:{single}", HOSTNAME="x-1")
        self.await_start(router)
        self.assertEqual(self.rows(router, "router", "id")[0]["id"], "many")
        self.assertEqual(self.rows(router, "tcpConnector", "address"), [{"address": "svc-1"}])

    def test_arguments_come_before_the_environment(self):
        path = self.folder / "given.json"
        path.write_text(json.dumps(self.configuration(id="given")))
        router = self.started("-c", path, QDROUTERD_CONF="router {\n  id: other\n}\n")
        self.await_start(router)
        self.assertEqual(self.rows(router, "router", "id")[0]["id"], "given")

    def test_what_is_asked_for_in_vain_is_said(self):
        text = json.dumps(self.configuration())
        router = self.started(QDROUTERD_CONF=text, QDROUTERD_CONF_TYPE="json", QDROUTERD_AUTO_MESH_DISCOVERY="QUERY",
                              QDROUTERD_AUTO_CREATE_SASLDB_SOURCE="/users")
        self.await_start(router)
        for name in ("QDROUTERD_AUTO_MESH_DISCOVERY", "QDROUTERD_AUTO_CREATE_SASLDB_SOURCE"):
            self.assertIn(f"{name} has no effect", router.process.log())

    def test_a_missing_file_ends_the_start(self):
        router = self.started(QDROUTERD_CONF="/no/such:/other")
        self.assertEqual(router.process.child.wait(10), 1)
        self.assertIn("cannot read /no/such: ", router.process.log())
        self.routers.remove(router)


class Memory(StartCase):
    def test_the_ceiling_bounds_what_streams_hold(self):
        if SANITIZED:
            self.skipTest("a sanitizer's router does not fit")
        server, port = self.keep(Server(echo)), free_port()
        service = {"host": "127.0.0.1", "address": "svc"}
        entities = self.configuration(["tcpListener", {"name": "l", "port": str(port), **service}],
                                      ["tcpConnector", {"name": "c", "port": str(server.port), **service}])
        # Less than the least limit there can be.
        router = self.started(QDROUTERD_CONF=json.dumps(entities), QDROUTERD_CONF_TYPE="json",
                              SKUPPER_ROUTER_MEMORY_CEILING=str(LEAST // 2))
        self.await_start(router)
        self.await_service(port)
        self.assertEqual(exchange(port, b"alone"), b"alone")
        served, held = 0, []
        for _ in range(500):
            try:
                held.append(connection := connect(port))
                connection.sendall(b"x")
                served += receive_exactly(connection, 1) == b"x"
            except (OSError, AssertionError):
                continue  # Refused, as an end or as a reset.
        for connection in held:
            connection.close()
        self.assertGreater(served, 20)
        self.assertLess(served, 400)


class Help(StartCase):
    def test_a_type_is_described(self):
        for arguments in (("--help", "tcpListener"), ("-h", "tcp-listener"), ("--help=tcpListener",)):
            code, text = run_router(*arguments)
            self.assertEqual(code, 0)
            self.assertTrue(text.startswith("tcpListener: "), text)
            for words in ("\n  address  (", "none, priority, weighted; default none", "Operations: CREATE, READ"):
                self.assertIn(words, text)

    def test_an_unknown_type_is_answered_with_the_list(self):
        code, text = run_router("--help", "tcpListner")
        self.assertEqual(code, 1)
        for words in ("'tcpListner'", "did you mean 'tcpListener'?", "\n  router\n", "\n  sslProfile\n"):
            self.assertIn(words, text)

    def test_the_next_flag_is_no_type(self):
        code, text = run_router("--help", "-d")
        self.assertEqual(code, 0)
        self.assertIn("QDROUTERD_CONF_TYPE", text)

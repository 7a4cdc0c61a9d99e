"""skstat and skmanage, skupper-router's own tools, against our router: the same columns, filled, and every operation.

The tools are taken from the PATH or from the variables SKSTAT and SKMANAGE; without them the tests are skipped and say
so. Where a skrouterd is there too, its columns are what ours are compared with.
"""

import csv
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Integration"))

from harness import Server, echo, exchange, wait_until  # noqa: E402
from skrouterd_case import OURS, SKROUTERD, THEIRS, MixedCase  # noqa: E402

SKSTAT = os.environ.get("SKSTAT") or shutil.which("skstat")
SKMANAGE = os.environ.get("SKMANAGE") or shutil.which("skmanage")
SECONDS = 60

needs_skstat = unittest.skipUnless(SKSTAT, "no skstat on the PATH or in SKSTAT: its columns were not checked")
needs_skmanage = unittest.skipUnless(SKMANAGE, "no skmanage on the PATH or in SKMANAGE: it was not tried")

# Columns of each view, as skstat of 3.5.1 prints them.
COLUMNS = {
    "-c": ["id", "host", "container", "role", "proto", "dir", "security", "authentication", "meshId", "last dlv",
           "uptime"],
    "-l": ["type", "dir", "conn id", "id", "class", "addr", "cap", "pri", "undel", "unsett", "deliv", "presett",
           "psdrop", "acc", "rej", "rel", "mod", "delay", "rate", "stuck", "cred", "blkd"],
    "-a": ["class", "addr", "distrib", "pri", "local", "remote", "in", "out", "thru"],
    "-n": ["router-id", "next-hop", "link"],
    "-g": ["attr", "value"],
    "-m": ["type", "size", "batch", "thread-max", "total", "in-threads", "rebal-in", "rebal-out"],
}
# What may be empty in a row, with skrouterd as well.
MAY_BE_EMPTY = {"-c": {"meshId"}, "-l": {"class", "addr"}, "-g": {"value"}}


class ToolCase(MixedCase):
    def run_tool(self, *arguments):
        done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, timeout=SECONDS)
        self.assertEqual(done.returncode, 0, f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def two_routers(self, product):
        """Two routers of a product with a service across, used once."""
        server = self.keep(Server(echo))
        one, two = self.make(product, f"one-{product}"), self.make(product, f"two-{product}")
        one.connect_to(two.listen_for_routers())
        port = one.tcp_listener("service")
        two.tcp_connector("service", server.port)
        self.start_all(two, one)
        self.await_service(port, 30)
        self.assertEqual(exchange(port, b"octets"), b"octets")
        return one, two


@needs_skstat
class Skstat(ToolCase):
    def table(self, router, *options):
        """Header and rows of one view, from its CSV form."""
        text = self.run_tool(SKSTAT, "-b", f"127.0.0.1:{router.amqp_port}", "--csv", *options)
        lines = itertools.takewhile(
            lambda line: line.startswith('"'),
            itertools.dropwhile(lambda line: not line.startswith('"'), text.splitlines()))
        header, *rows = list(csv.reader(lines)) or [[]]
        self.assertTrue(header, f"{options}: no table in {text}")
        return header, rows

    def test_columns_are_those_of_skrouterd_and_filled(self):
        for product in (OURS, THEIRS) if SKROUTERD else (OURS,):
            one, _ = self.two_routers(product)
            for option, columns in COLUMNS.items():
                with self.subTest(product=product, option=option):
                    header, rows = self.table(one, option)
                    self.assertEqual(header, columns)
                    self.assertTrue(rows, "a table without rows")
                    for row in rows:
                        self.assertEqual(len(row), len(columns), row)
                        empty = {name for name, cell in zip(columns, row) if cell in ("", "None")}
                        self.assertLessEqual(empty, MAY_BE_EMPTY.get(option, set()), row)

    def test_statistics_are_true(self):
        one, two = self.two_routers(OURS)
        header, rows = self.table(one, "-a")
        service = dict(zip(header, next(row for row in rows if row[1] == "service")))
        self.assertEqual((service["class"], service["local"], service["remote"]), ("mobile", "0", "1"))
        self.assertGreaterEqual(int(service["in"]), 1)
        self.assertEqual(service["in"], service["thru"])
        header, rows = self.table(one, "-n")
        nodes = {row[0]: row[1] for row in rows}
        self.assertEqual(nodes, {one.name: "(self)", two.name: "-"})
        general = dict(self.table(one, "-g")[1])
        self.assertEqual((general["Router Id"], general["Mode"], general["Nodes"]), (one.name, "interior", "1"))
        self.assertGreaterEqual(int(general["Links"]), 4)

    def test_the_other_router_is_asked_through_the_first(self):
        one, two = self.two_routers(OURS)
        general = dict(self.table(one, "-g", "-r", two.name)[1])
        self.assertEqual(general["Router Id"], two.name)


@needs_skmanage
class Skmanage(ToolCase):
    def setUp(self):
        super().setUp()
        self.one = self.make(OURS, "one")
        self.one.start()

    def manage(self, *arguments, expecting=0):
        done = subprocess.run(
            [SKMANAGE, "-b", f"127.0.0.1:{self.one.amqp_port}", "--indent=-1", *map(str, arguments)],
            capture_output=True, text=True, timeout=SECONDS)
        self.assertEqual(done.returncode, expecting, f"{arguments}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout) if expecting == 0 and done.stdout.strip() else done.stdout + done.stderr

    def test_an_entity_from_creation_to_deletion(self):
        made = self.manage("create", "--type", "tcpListener", "--name", "l", "host=127.0.0.1", "port=1", "address=a")
        self.assertEqual((made["identity"], made["observer"]), ("tcpListener/127.0.0.1:1:l", "auto"))
        self.assertEqual(self.manage("read", "--name", "l")["address"], "a")
        changed = self.manage("update", "--type", "tcpListener", "--name", "l", "observer=none")
        self.assertEqual(changed["observer"], "none")
        rows = self.manage("query", "--type", "tcpListener")
        self.assertEqual([(row["name"], row["observer"]) for row in rows], [("l", "none")])
        twice = self.manage("create", "--type", "tcpListener", "--name", "l", "port=2", "address=a", expecting=1)
        self.assertIn("BadRequest", twice)
        self.manage("delete", "--type", "tcpListener", "--name", "l")
        self.assertIn("NotFound", self.manage("read", "--name", "l", expecting=1))

    def test_what_the_agent_tells_of_itself(self):
        types = self.manage("get-types")
        prefix = "io.skupper.router."
        self.assertEqual(types[prefix + "listener"], [prefix + "configurationEntity", prefix + "entity"])
        self.assertEqual(len(types), len(self.manage("get-operations")))
        self.assertEqual(len(types), len(self.manage("get-attributes")))
        own = self.manage("get-attributes", "--type", prefix + "sslProfile")
        self.assertIn("caCertFile", own[prefix + "sslProfile"])
        self.assertEqual(self.manage("get-annotations"), {})
        self.assertEqual(self.manage("get-mgmt-nodes"), ["amqp:/_topo/0/one/$management"])
        self.assertIn("listener", self.manage("get-json-schema")["entityTypes"])
        self.assertNotIn("AGENT", {line[0] for line in self.manage("get-log", "limit=500")})
        self.manage("update", "--identity", "log/AGENT", "enable=debug+")
        self.manage("read", "--identity", "router/one")
        module, level, text, *place, seconds = self.manage("get-log", "limit=1")[0]
        self.assertEqual((module, level), ("AGENT", "debug"))
        self.assertIn("GET-LOG", text.upper())
        self.assertEqual([type(part) for part in place], [str, int])
        self.assertLess(abs(seconds - time.time()), SECONDS)
        modules = [line[0] for line in self.manage("get-log", "limit=500")]
        self.assertGreater(modules.count("AGENT"), 2)
        self.assertIn("SERVER", modules)
        self.assertGreater(len(self.manage("query")), 20)

    def test_log_levels_and_file_change_live(self):
        path = self.folder / "agent.log"
        self.manage("update", "--identity", "log/AGENT", "enable=debug+", f"outputFile={path}")
        self.manage("query", "--type", "router")
        wait_until("the agent's file to have its lines", lambda: "AGENT (debug)" in path.read_text(), 5)
        self.manage("update", "--identity", "log/AGENT", "enable=none")
        mark = path.stat().st_size
        self.manage("query", "--type", "router")
        self.assertEqual(path.stat().st_size, mark)
        self.assertIn("BadRequest", self.manage("update", "--identity", "log/AGENT", "enable=loud", expecting=1))
        self.assertIn("Status", self.manage("update", "--identity", "log/AGENT", "outputFile=/no/such/file",
                                            expecting=1))


if __name__ == "__main__":
    unittest.main()

"""Variables in configurations, and the start of a container, in both products.

skrouterd replaces no variables itself: the scripts of its image do, and put its configuration together. The folder of
these scripts (`configure.sh`, `expandvars.py`) is named by SKROUTERD_SCRIPTS; without it the tests that need them are
skipped, and say so.
"""

import json
import os
import pathlib
import shutil
import subprocess
import unittest

from skrouterd_case import OURS, SKROUTERD, THEIRS, MixedCase, needs_skrouterd

from harness import BIN, Process, can_connect, free_port, wait_until

SCRIPTS = os.environ.get("SKROUTERD_SCRIPTS")
VARIABLES = {"X": "value", "PORT": "4711", "EMPTY": "", "HOSTNAME": "router-5d8-x7", "NESTED": "$X"}
ENTITIES = [
    ["tcpConnector", {"name": "bare", "port": "$PORT", "address": "a-$X/b"}],
    ["tcpConnector", {"name": "braces", "port": "${PORT}", "address": "a-${X}b${EMPTY}"}],
    ["tcpConnector", {"name": "unset", "port": "1", "address": "$UNSET/${UNSET}/$management"}],
    ["tcpConnector", {"name": "odd", "port": "2", "address": "$$X/${/$/${X/$-X/{$X}/$NESTED"}],
    ["address", {"prefix": "$X.$Xs", "distribution": "closest"}],
]


class StartCase(MixedCase):
    def entities(self):
        port = free_port()
        return port, [["router", {"id": "r-${X}", "mode": "interior"}],
                      ["listener", {"name": "amqp", "host": "127.0.0.1", "port": port}], *ENTITIES]

    def rows_of(self, product, command, port, **environment):
        """What a router started so says of its configuration."""
        router = self.make(product, f"{product}-{len(self.routers)}")
        router.amqp_port = port
        router.process = Process(command, router.folder / "router.log", {**VARIABLES, **environment})

        def is_up():
            self.assertTrue(router.process.is_alive(), router.process.log_tail())
            try:
                return can_connect(port)
            except OSError:
                return False
        wait_until("the router's listener", is_up, 20)
        rows = {kind: sorted(tuple(row[name] for name in names) for row in self.rows(router, kind))
                for kind, names in (("router", ["id", "mode"]), ("tcpConnector", ["name", "port", "address"]),
                                    ("router.config.address", ["prefix", "distribution"]))}
        self.end_all()
        return rows

    def ours(self, port, *arguments, **environment):
        return self.rows_of(OURS, [BIN / "skupper-router", *arguments], port, **environment)

    def conf(self, entities):
        """The same entities in the text form."""
        return "".join(f"{kind} {{\n" + "".join(f"  {key}: {value}\n" for key, value in attributes.items()) + "}\n"
                       for kind, attributes in entities)


@needs_skrouterd
class Variables(StartCase):
    def test_replaced_as_the_image_replaces_them(self):
        """The image has Python's os.path.expandvars do it, line by line."""
        for ending in ("json", "conf"):
            with self.part(form=ending):
                port, entities = self.entities()
                text = json.dumps(entities, indent=1) if ending == "json" else self.conf(entities)
                raw = self.folder / f"raw.{ending}"
                raw.write_text(text)
                ours = self.ours(port, "-c", raw)
                expanded = self.folder / f"expanded.{ending}"
                before = dict(os.environ)
                os.environ.update(VARIABLES)
                try:
                    expanded.write_text("".join(map(os.path.expandvars, text.splitlines(keepends=True))))
                finally:
                    os.environ.clear()
                    os.environ.update(before)
                theirs = self.rows_of(THEIRS, [SKROUTERD, "-c", expanded], port)
                self.assertEqual(ours, theirs)
                self.assertIn(("bare", "4711", "a-value/b"), ours["tcpConnector"])
                self.assertIn(("unset", "1", "$UNSET/${UNSET}/$management"), ours["tcpConnector"])
                self.assertEqual(ours["router"], [("r-value", "interior")])


@needs_skrouterd
@unittest.skipUnless(SCRIPTS, "no folder in SKROUTERD_SCRIPTS: the start of skupper-router's image was not run")
class Image(StartCase):
    def both(self, port, form, **environment):
        """The same variables for our router, and for the image's script with skrouterd behind it."""
        home = self.folder / f"home-{len(os.listdir(self.folder))}"
        home.mkdir()
        (home / "bin").symlink_to(pathlib.Path(SCRIPTS).resolve())
        made = home / f"skrouterd.{form}"
        subprocess.run([shutil.which("bash"), home / "bin" / "configure.sh", home, made], check=True,
                       env={**os.environ, **VARIABLES, **environment}, capture_output=True)
        theirs = self.rows_of(THEIRS, [SKROUTERD, "-c", made], port)
        self.assertEqual(self.ours(port, **environment), theirs)
        return theirs

    def test_text(self):
        for form in ("conf", "json"):
            with self.part(form=form):
                port, entities = self.entities()
                entities.append(["tcpConnector", {"name": "pod", "port": "3", "address": "$POD_ID"}])
                text = json.dumps(entities, indent=1) if form == "json" else self.conf(entities)
                seen = self.both(port, form, QDROUTERD_CONF=text, QDROUTERD_CONF_TYPE=form)
                self.assertIn(("pod", "3", "x7"), seen["tcpConnector"])

    def test_files_and_folders(self):
        port, entities = self.entities()
        folder = self.folder / "parts"
        folder.mkdir()
        for name, part in (("b.conf", entities[1:4]), ("a.conf", entities[:1]), ("not.txt", [["nonsense", {}]])):
            (folder / name).write_text(self.conf(part))
        last = self.folder / "last.conf"
        last.write_text(self.conf(entities[4:]))
        for separator in ":,":
            with self.part(separator=separator):
                self.both(port, "conf", QDROUTERD_CONF=f"{folder}{separator}{last}")

    def test_one_file_as_in_a_pod(self):
        port, entities = self.entities()
        path = self.folder / "skrouterd.json"
        path.write_text(json.dumps(entities))
        self.both(port, "json", QDROUTERD_CONF=str(path), QDROUTERD_CONF_TYPE="json")

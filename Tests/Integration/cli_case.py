"""What the tests of the `skupper` program share: running it in a data home of its own, and the texts it uses.

The built programs are looked for in SKUPPER_BIN_DIR, else SKUPPER_BIN, else .build/release.
"""

import os
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("SKUPPER_BIN_DIR") or os.environ.get("SKUPPER_BIN") or os.path.join(ROOT, ".build", "release")
SKUPPER = os.path.abspath(os.path.join(BIN, "skupper"))

NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])*(\.[a-z0-9]([-a-z0-9]*[a-z0-9])*)*$"
NAMESPACE = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
FILE = r"^[A-Za-z0-9./~-]+$"
SELECTOR = r"^[A-Za-z0-9=:./-]+$"
HOST = "host is not valid: a valid IP address or hostname is expected"
NO_CLUSTER = "No cluster is configured"


def no_match(expression):
    return "value does not match this regular expression: " + expression


def not_one_of(value, *options):
    return f"value {value} not allowed. It should be one of this options: [{' '.join(options)}]"


class Answer:
    def __init__(self, done):
        self.code = done.returncode
        self.out = done.stdout.decode()
        self.err = done.stderr.decode()

    def __str__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}--- stderr\n{self.err}"


class CommandLineTest(unittest.TestCase):
    platform = "linux"

    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="skupper-cli_")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)

    def skupper(self, *arguments, stdin="", **environment):
        values = {k: v for k, v in os.environ.items() if not k.startswith(("SKUPPER_", "XDG_", "KUBE"))}
        values.update(SKUPPER_OUTPUT_PATH=self.home, HOME=self.home, **environment)
        if self.platform and "SKUPPER_PLATFORM" not in environment:
            values["SKUPPER_PLATFORM"] = self.platform
        done = subprocess.run(
            [SKUPPER, *arguments], input=stdin.encode(), capture_output=True, timeout=30, env=values, cwd=self.home)
        return Answer(done)

    def ok(self, *arguments, **more):
        answer = self.skupper(*arguments, **more)
        self.assertEqual(answer.code, 0, f"skupper {' '.join(arguments)}: {answer}")
        return answer

    def refused(self, arguments, *texts, code=2, **more):
        """The command fails with exactly these lines on standard output."""
        answer = self.skupper(*arguments, **more)
        self.assertEqual(answer.out, "".join(text + "\n" for text in texts), f"skupper {arguments}: {answer}")
        self.assertEqual(answer.code, code, f"skupper {arguments}: {answer}")
        return answer

    def resources(self, namespace="default"):
        return os.path.join(self.home, "namespaces", namespace, "input", "resources")

    def written(self, name, namespace="default"):
        with open(os.path.join(self.resources(namespace), name), encoding="utf-8") as file:
            return file.read()

    def put(self, name, text, namespace="default", part=("input", "resources")):
        folder = os.path.join(self.home, "namespaces", namespace, *part)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


SITE = """\
apiVersion: skupper.io/v2alpha1
kind: Site
metadata:
  name: {name}
  namespace: {namespace}
spec:
  linkAccess: {access}
"""

LINK = """\
apiVersion: skupper.io/v2alpha1
kind: Link
metadata:
  name: west-1
  namespace: default
spec:
  cost: 3
  endpoints:
  - host: 192.0.2.7
    name: inter-router
    port: "55671"
  tlsCredentials: west-1
"""

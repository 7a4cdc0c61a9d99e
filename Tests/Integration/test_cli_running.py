"""The `skupper` program beside a running controller: what it waits for, and what it tells when that does not come."""

import fcntl
import os
import stat
import threading
import time
import unittest

from cli_case import LINK, SITE, CommandLineTest


class FakeController:
    """Stands for a running controller: holds its lock, and answers each resource of the input with a status."""

    CONDITION = "  - type: {}\n    status: '{}'\n    reason: {}\n    message: {}\n"

    def __init__(self, home, namespace="default"):
        root = os.path.join(home, "namespaces", namespace)
        self.input = os.path.join(root, "input", "resources")
        self.runtime = os.path.join(root, "runtime", "resources")
        for folder in (self.input, self.runtime, os.path.join(root, "internal")):
            os.makedirs(folder, exist_ok=True)
        self.lock = open(os.path.join(root, "internal", "controller.lock"), "w", encoding="utf-8")
        fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.lock.write(f"{os.getpid()}\n")
        self.lock.flush()
        self.delay = 0
        self.fault = None
        self.extra = {}
        self.seen = {}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while not self.ended.wait(0.02):
            names = [name for name in os.listdir(self.input) if name.endswith(".yaml") and not name.startswith(".")]
            for name in names:
                try:
                    with open(os.path.join(self.input, name), encoding="utf-8") as file:
                        text = file.read()
                except FileNotFoundError:
                    continue
                since, known = self.seen.get(name, (0, None))
                if known != text:
                    self.seen[name] = time.monotonic(), text
                elif time.monotonic() - since >= self.delay:
                    self.write(name, text + self.status(text))
            for name in set(os.listdir(self.runtime)) - set(names):
                if not name.startswith("."):
                    os.remove(os.path.join(self.runtime, name))

    def status(self, text):
        kind = next(line for line in text.splitlines() if line.startswith("kind: "))[6:]
        word, message, truth = ("Ready", "OK", "True") if self.fault is None else ("Error", self.fault, "False")
        types = {"Site": ["Configured", "Running", "Resolved"], "Link": ["Configured", "Operational"],
                 "AccessGrant": ["Processed", "Resolved"]}.get(kind, ["Configured", "Matched"])
        conditions = "".join(self.CONDITION.format(name, truth, word, message) for name in [*types, "Ready"])
        fields = ""
        if kind == "AccessGrant":
            fields = ("  url: https://192.0.2.1:9090/id\n  code: CODE\n  ca: AUTHORITY\n"
                      "  expirationTime: '2030-01-01T00:00:00Z'\n")
        return (f"status:\n  status: {word}\n  message: {message}\n{fields}{self.extra.get(kind, '')}"
                f"  conditions:\n{conditions}")

    def write(self, name, text):
        path = os.path.join(self.runtime, name)
        try:
            with open(path, encoding="utf-8") as file:
                if file.read() == text:
                    return
        except FileNotFoundError:
            pass
        with open(os.path.join(self.runtime, "." + name), "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(os.path.join(self.runtime, "." + name), path)

    def end(self):
        self.ended.set()
        self.thread.join()
        self.lock.close()


class Running(CommandLineTest):
    """What the commands do while a controller runs: they wait until it has taken the change up."""

    def setUp(self):
        super().setUp()
        self.controller = FakeController(self.home)
        self.addCleanup(self.controller.end)

    def test_creating_waits_for_the_condition(self):
        self.controller.delay = 0.5
        for kind in ("connector", "listener"):
            begun = time.monotonic()
            answer = self.ok(kind, "create", "backend", "8080")
            self.assertGreater(time.monotonic() - begun, 0.5)
            self.assertRegex(answer.out, rf'\AFile written to .*\n{kind.capitalize()} "backend" is configured\.\n\Z')
        answer = self.ok("connector", "create", "other", "8080", "--wait", "ready")
        self.assertIn('Connector "other" is ready.\n', answer.out)
        begun = time.monotonic()
        answer = self.ok("connector", "create", "third", "8080", "--wait", "none")
        self.assertLess(time.monotonic() - begun, 0.4)
        self.assertRegex(answer.out, r"\AFile written to .*\n\Z")
        self.assertEqual(self.ok("site", "create", "west").out.splitlines()[1:], ['Site "west" is ready.'])

    def test_updating_waits_for_the_new_version(self):
        self.put("Link-west-1.yaml", LINK)
        self.put("Site-east.yaml", SITE.format(name="east", namespace="default", access="none"))
        self.ok("listener", "create", "a", "1")
        self.controller.delay = 0.5
        time.sleep(0.1)
        for words, text in (
                (["link", "update", "west-1", "--cost", "9"], 'Link "west-1" is updated'),
                (["site", "update", "--enable-link-access"], 'Site "east" is updated'),
                (["listener", "update", "a", "--port", "2"], 'Listener "a" is updated')):
            begun = time.monotonic()
            self.assertEqual(self.ok(*words).out.splitlines()[1:], [text])
            self.assertGreater(time.monotonic() - begun, 0.5, "the status of the version before was taken")
        self.assertEqual(self.ok("link", "status").out.splitlines()[1].split(), ["west-1", "Ready", "9", "OK"])

    def test_deleting_waits_until_it_is_gone(self):
        self.put("Link-west-1.yaml", LINK)
        self.ok("site", "create", "west")
        for kind in ("connector", "listener"):
            self.ok(kind, "create", "a", "1")
            self.refused([kind, "delete", "a"], f'{kind.capitalize()} "a" deleted', code=0)
            self.assertNotIn(f"{kind.capitalize()}-a.yaml", os.listdir(self.controller.runtime))
        self.refused(["link", "delete", "west-1"], 'Link "west-1" is deleted', code=0)
        self.refused(["site", "delete"], 'Site "west" is deleted', code=0)
        self.assertEqual(os.listdir(self.controller.runtime), [])

    def test_giving_up_tells_why(self):
        self.controller.fault = "port 1 is already mapped"
        begun = time.monotonic()
        answer = self.skupper("listener", "create", "a", "1", "--timeout", "10s")
        self.assertGreater(time.monotonic() - begun, 10)
        self.assertEqual(answer.code, 1)
        self.assertEqual(answer.out.splitlines()[1:], ['Listener "a" is not yet configured: port 1 is already mapped'])
        self.assertIn("Listener-a.yaml", os.listdir(self.resources()), "it is not rolled back")
        answer = self.ok("listener", "status")
        self.assertRegex(answer.out, r"(?m)^a +Error +a +0\.0\.0\.0 +1 +false +port 1 is already mapped$")

    def test_token_issue(self):
        self.ok("site", "create", "west", "--enable-link-access")
        for words, uses, window, cost in (
                ([], 1, "15m0s", 1),
                (["--expiration-window", "60m", "--redemptions-allowed", "3", "--cost", "5"], 3, "1h0m0s", 5)):
            answer = self.ok("token", "issue", "west.yaml", *words)
            self.assertRegex(
                answer.out,
                r'\A\nGrant "west-[0-9a-f-]{36}" is ready\nToken file west\.yaml created\n\n'
                r'Transfer this file to a remote site\. At the remote site,\n'
                r'create a link to this site using the "skupper token redeem" command:\n\n'
                r'\tskupper token redeem west\.yaml\n\n'
                rf'The token expires after {uses} use\(s\) or after {window}\.\n\Z')
            name = answer.out.split('"')[1]
            path = os.path.join(self.home, "west.yaml")
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            with open(path, encoding="utf-8") as file:
                text = file.read()
            self.assertEqual(text, (
                "apiVersion: skupper.io/v2alpha1\nkind: AccessToken\nmetadata:\n  annotations:\n"
                '    skupper.io/expiration: "2030-01-01T00:00:00Z"\n' f"  name: {name}\nspec:\n"
                f"  ca: AUTHORITY\n  code: CODE\n  linkCost: {cost}\n  url: https://192.0.2.1:9090/id\n"))
            grant = self.written(f"AccessGrant-{name}.yaml")
            self.assertIn(f"  expirationWindow: {window}\n  redemptionsAllowed: {uses}\n", grant)

    def test_token_to_standard_output(self):
        self.ok("site", "create", "west", "--enable-link-access")
        for target in ("-", "/dev/stdout"):
            answer = self.ok("token", "issue", target)
            self.assertTrue(answer.out.startswith("apiVersion: skupper.io/v2alpha1\nkind: AccessToken\n"), answer)
            self.assertIn("  code: CODE\n", answer.out)
        self.assertEqual(self.ok("token", "issue", "-").out.count("skupper token redeem"), 0)
        self.assertIn("is ready", self.ok("token", "issue", "-").err)

    def test_refused_grant_leaves_nothing(self):
        self.ok("site", "create", "west", "--enable-link-access")
        self.controller.fault = "no grants today"
        answer = self.skupper("token", "issue", "west.yaml")
        self.assertEqual(answer.code, 1)
        self.assertIn("no grants today", answer.out)
        self.assertEqual(os.listdir(self.resources()), ["Site-west.yaml"])
        self.assertFalse(os.path.exists(os.path.join(self.home, "west.yaml")))

    def test_incoming_links(self):
        self.controller.extra["Site"] = (
            "  network:\n  - name: east\n    links:\n    - name: west-9\n      operational: true\n"
            "      remoteSiteName: west\n")
        self.ok("site", "create", "west")
        answer = self.ok("link", "status", "-o", "wide")
        self.assertRegex(answer.out, r"(?m)^east +west-9 +true$")
        self.assertNotIn("west-9", self.ok("link", "status").out)

    def test_what_was_true_before_is_marked(self):
        self.ok("site", "create", "west")
        self.assertEqual(self.ok("site", "status").err, "")
        self.controller.end()
        for words in (["site", "status"], ["link", "status"], ["connector", "status"], ["listener", "status"]):
            self.assertIn('Warning: the controller of namespace "default" is not running', self.ok(*words).err)
        answer = self.ok("system", "status")
        self.assertRegex(answer.out, r"(?m)^default +west +stopped +stopped +Pending +Not Running$")

    def test_system_commands(self):
        self.ok("site", "create", "west")
        answer = self.skupper("system", "start")
        self.assertEqual(answer.code, 2)
        self.assertIn("namespace already exists: default", answer.out)
        self.refused(
            ["system", "uninstall"],
            "Uninstallation halted: Active sites detected. Use --force flag to stop and remove active sites")
        answer = self.ok("system", "status", "-n", "default")
        self.assertRegex(answer.out, rf"(?m)^default +west +{os.getpid()} +stopped +Ready +OK$")


if __name__ == "__main__":
    unittest.main(verbosity=1)

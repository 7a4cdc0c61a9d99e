"""Runs the `skupper` program as a user would: texts, exit codes, files written. No site is started here."""

import base64
import json
import os
import stat
import subprocess
import tarfile
import unittest

from cli_case import (
    FILE, HOST, LINK, NAME, NAMESPACE, SELECTOR, SITE, CommandLineTest, no_match, not_one_of)


class Link(CommandLineTest):
    def site(self):
        self.put("Site-east.yaml", SITE.format(name="east", namespace="default", access="none"))

    def test_status_without_site_or_links(self):
        self.refused(["link", "status"], "there is no skupper site available")
        self.site()
        self.refused(["link", "status"], "There are no link resources in the namespace", code=0)
        self.refused(["link", "status", "x"], 'There is no link resource in the namespace with the name "x"', code=1)
        self.refused(["link", "status", "a", "b"], "only one argument is allowed for this command")
        self.refused(["link", "status", "-o", "xml"],
                     "output type is not valid: " + not_one_of("xml", "json", "yaml"))

    def test_status(self):
        self.site()
        self.put("Link-west-1.yaml", LINK)
        answer = self.ok("link", "status")
        head, row = answer.out.splitlines()
        self.assertEqual(head.split(), ["NAME", "STATUS", "COST", "MESSAGE"])
        self.assertEqual(row.split(None, 3), ["west-1", "Pending", "3", "Not Operational"])
        for title, value in (("STATUS", "Pending"), ("COST", "3"), ("MESSAGE", "Not Operational")):
            self.assertEqual(head.index(title), row.index(value), "columns line up")
        answer = self.ok("link", "status", "west-1")
        self.assertEqual(answer.out, "Name\t: west-1\nStatus\t: Pending\nCost\t: 3\nMessage\t: Not Operational\n")
        self.assertEqual(json.loads(self.ok("link", "status", "west-1", "-o", "json").out)["spec"]["cost"], 3)

    def test_status_shows_the_runtime(self):
        self.site()
        name = "west-12f75bc8-5dda-4256-88f8-9df48150281a"
        text = LINK.replace("west-1", name).replace("cost: 3", "cost: 1")
        self.put(f"Link-{name}.yaml", text)
        self.put(f"Link-{name}.yaml", text + "status:\n  status: Ready\n  message: OK\n",
                 part=("runtime", "resources"))
        self.assertEqual(
            self.ok("link", "status").out,
            "NAME                                            STATUS  COST    MESSAGE\n"
            f"{name}       Ready   1       OK\n")

    def test_update(self):
        self.put("Link-west-1.yaml", LINK)
        self.ok("link", "update", "west-1", "--cost", "7")
        self.assertEqual(self.written("Link-west-1.yaml"), LINK.replace("cost: 3", "cost: 7"))
        self.put("Secret-other.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: other\n")
        self.ok("link", "update", "west-1", "--tls-credentials", "other")
        self.assertEqual(
            self.written("Link-west-1.yaml"),
            LINK.replace("cost: 3", "cost: 7").replace("tlsCredentials: west-1", "tlsCredentials: other"))

    def test_update_validation(self):
        self.refused(["link", "update"], "link name must be specified")
        self.refused(["link", "update", ""], "link name must not be empty")
        self.refused(["link", "update", "x"], 'the link "x" is not available in the namespace')
        self.put("Link-west-1.yaml", LINK)
        self.refused(["link", "update", "west-1", "--cost", "one"],
                     'link cost is not valid: strconv.Atoi: parsing "one": invalid syntax')
        answer = self.skupper("link", "update", "west-1", "--tls-credentials", "gone")
        self.assertEqual(answer.code, 2)
        self.assertIn('the TLS secret "gone" is not available in the namespace', answer.out)

    def test_delete(self):
        self.refused(["link", "delete"], "link name must be specified")
        self.refused(["link", "delete", "x"], 'There is no link resource in the namespace with the name "x"')
        self.put("Link-west-1.yaml", LINK)
        self.refused(["link", "delete", "west-1"], 'Link "west-1" is deleted', code=0)
        self.assertEqual(os.listdir(self.resources()), [])

    def test_generate(self):
        self.refused(["link", "generate", "x"], "arguments are not allowed in this command",
                     "there is no active site in this namespace")
        self.refused(["link", "generate"], "there is no active site in this namespace")
        site = SITE.format(name="west", namespace="default", access="default")
        self.put("Site-west.yaml", site)
        self.put("Site-west.yaml", site, part=("runtime", "resources"))
        self.refused(["link", "generate"],
                     "this site is not enabled for link access, there are no links created", code=1)

    def test_generate_makes_a_certificate_of_the_site(self):
        self.put("Site-west.yaml", SITE.format(name="west", namespace="default", access="default"))
        self.put("Site-west.yaml", SITE.format(name="west", namespace="default", access="default") + (
            "status:\n  status: Ready\n  endpoints:\n"
            "  - {name: west-inter-router, host: 192.0.2.7, port: '55671', group: west}\n"
            "  - {name: west-edge, host: 192.0.2.7, port: '45671', group: west}\n"
            "  - {name: other-inter-router, host: other.example, port: '55672', group: other}\n"),
            part=("runtime", "resources"))
        answer = self.skupper("link", "generate")
        self.assertEqual(answer.code, 1)
        self.assertIn('the CA "skupper-site-ca" of site "west" was not found', answer.out)
        folder = os.path.join(self.home, "namespaces", "default", "runtime", "issuers", "skupper-site-ca")
        os.makedirs(folder)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=west site CA", "-days", "2",
             "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", "tls.key", "-out", "tls.crt"],
            cwd=folder, check=True, capture_output=True, timeout=30)
        answer = self.ok("link", "generate", "--name", "west", "--cost", "4")
        self.assertEqual(answer.out.count("---\n"), 2, "a Link and a Secret")
        self.assertIn(
            "kind: Link\nmetadata:\n  name: link-west\nspec:\n  cost: 4\n  endpoints:\n"
            '  - group: west\n    host: 192.0.2.7\n    name: inter-router\n    port: "55671"\n'
            '  - group: west\n    host: 192.0.2.7\n    name: edge\n    port: "45671"\n'
            "  tlsCredentials: link-west\n", answer.out)
        documents = self.ok("link", "generate", "--name", "other", "--host", "10.0.0.1", "-o", "json")
        self.assertIn("does not advertise 10.0.0.1", documents.err)
        link, _, rest = documents.out.partition("\n}\n")
        self.assertEqual(json.loads(link + "}")["spec"]["endpoints"], [
            {"name": "inter-router", "host": "10.0.0.1", "port": "55672", "group": "other"}])
        secret = json.loads(rest)
        for file in ("tls.crt", "tls.key", "ca.crt"):
            with open(os.path.join(self.home, file), "wb") as target:
                target.write(base64.b64decode(secret["data"][file]))
        subprocess.run(["openssl", "verify", "-CAfile", "ca.crt", "tls.crt"], cwd=self.home, check=True,
                       capture_output=True, timeout=30)
        self.assertIn('there is no router access "x" to link to; there is: other, west',
                      self.skupper("link", "generate", "--name", "x").out)
        # What is printed can be applied as it is by the other site.
        self.assertIn("Link link-west added\nSecret link-west added\n",
                      self.ok("system", "apply", "-n", "east", "-f", "-", stdin=answer.out).out)


class Services:
    """What connectors and listeners have in common; `kind` is the noun."""

    kind = ""
    matching = ""
    default_host = ""

    def document(self, name="backend", port=8080, host=None, key=None, extra=""):
        return (
            f"apiVersion: skupper.io/v2alpha1\nkind: {self.kind.capitalize()}\nmetadata:\n  name: {name}\n"
            f"  namespace: default\nspec:\n  host: {host or self.default_host}\n  port: {port}\n"
            f"  routingKey: {key or name}\n{extra}  type: tcp\n")

    def test_create(self):
        answer = self.ok(self.kind, "create", "backend", "8080")
        name = f"{self.kind.capitalize()}-backend.yaml"
        self.assertEqual(answer.out, f"File written to {os.path.join(self.resources(), name)}\n")
        self.assertEqual(self.written(name), self.document())
        self.ok(self.kind, "create", "db", "5432", "-r", "data", "--host", "10.1.2.3", "--tls-credentials", "db-tls")
        self.assertEqual(
            self.written(f"{self.kind.capitalize()}-db.yaml"),
            self.document("db", 5432, "10.1.2.3", "data", "  tlsCredentials: db-tls\n"))

    def test_create_validation(self):
        kind = self.kind
        for words in ([], ["a"]):
            self.refused([kind, "create", *words], f"{kind} name and port must be configured")
        self.refused([kind, "create", "a", "1", "2"], "only two arguments are allowed for this command")
        self.refused([kind, "create", "", "1"], f"{kind} name must not be empty")
        self.refused([kind, "create", "a", ""], f"{kind} port must not be empty")
        self.refused([kind, "create", "A_", "1"], f"{kind} name is not valid: " + no_match(NAME))
        self.refused([kind, "create", "a", "one"],
                     f'{kind} port is not valid: strconv.Atoi: parsing "one": invalid syntax')
        self.refused([kind, "create", "--", "a", "-1"], f"{kind} port is not valid: value is not positive")
        self.refused([kind, "create", "a", "1", "--routing-key", "K_"], "routing key is not valid: " + no_match(NAME))
        self.refused([kind, "create", "a", "1", "--type", "udp"],
                     f"{kind} type is not valid: " + not_one_of("udp", "tcp"))
        self.refused([kind, "create", "a", "1", "--host", "-x-"], HOST)
        self.refused([kind, "create", "a", "1", "--tls-credentials", "T_"],
                     "tlsCredentials value is not valid: " + no_match(NAME))
        self.refused([kind, "create", "a", "1", "--timeout", "9s"],
                     "timeout is not valid: duration must not be less than 10s; got 9s")
        self.refused([kind, "create", "a", "1", "--wait", "x"],
                     "status is not valid: " + not_one_of("x", "ready", "configured", "none"))
        self.assertFalse(os.path.exists(self.resources()))
        self.ok(kind, "create", "a", "1")
        self.refused([kind, "create", "a", "2"], f"There is already a {kind} a created for namespace default")

    def test_what_no_host_can_do_is_refused(self):
        kind, title = self.kind, self.kind.capitalize()
        self.refused([kind, "create", "a", "70000"],
                     f'{title} "a" is not valid: port 70000 is not valid: a number from 1 to 65535 is expected')
        self.refused([kind, "create", "a", "0"], f'{title} "a" is not valid: port is required')
        self.ok(kind, "create", "a", "80")
        self.refused([kind, "update", "a", "--port", "70000"],
                     f'{title} "a" is not valid: port 70000 is not valid: a number from 1 to 65535 is expected')

    def test_update_keeps_what_is_not_given(self):
        name = f"{self.kind.capitalize()}-backend.yaml"
        extra = "  observer: none\n" if self.kind == "listener" else "  verifyHostname: true\n"
        document = self.document(extra="  settings:\n    own: value\n")
        self.put(name, document.replace("  type: tcp\n", "  type: tcp\n" + extra))
        before = self.written(name)
        self.ok(self.kind, "update", "backend", "--port", "9090")
        after = self.written(name)
        for line in before.splitlines():
            self.assertIn(line.replace("8080", "9090"), after.splitlines())
        self.ok(self.kind, "update", "backend", "--host", "10.0.0.9", "--routing-key", "other",
                "--tls-credentials", "t")
        text = self.written(name)
        for line in ("  host: 10.0.0.9", "  routingKey: other", "  tlsCredentials: t", "  port: 9090", extra.rstrip()):
            self.assertIn(line, text.splitlines())
        self.ok(self.kind, "update", "backend", "--tls-credentials", "")
        self.assertNotIn("tlsCredentials", self.written(name))

    def test_update_validation(self):
        kind = self.kind
        self.refused([kind, "update"], f"{kind} name must be configured")
        self.refused([kind, "update", ""], f"{kind} name must not be empty")
        self.refused([kind, "update", "a", "b"], "only one argument is allowed for this command")
        self.refused([kind, "update", "a"], f"{kind} a must exist in namespace default to be updated")
        self.ok(kind, "create", "a", "1")
        self.refused([kind, "update", "a", "--port", "-2", "--host", "-x-"],
                     f"{kind} port is not valid: value is not positive", HOST)

    def test_status(self):
        kind = self.kind
        self.refused([kind, "status"], f"No {kind}s found", code=0)
        self.refused([kind, "status", "a"], f"{kind} a does not exist in namespace default")
        self.ok(kind, "create", "backend", "8080")
        answer = self.ok(kind, "status")
        head, row = answer.out.splitlines()
        self.assertEqual(head.split(None, 4)[:3], ["NAME", "STATUS", "ROUTING-KEY"])
        self.assertIn(self.matching, head)
        self.assertEqual(row.split()[:3], ["backend", "Pending", "backend"])
        self.assertIn("false", row)
        single = dict(line.split(":", 1) for line in self.ok(kind, "status", "backend").out.splitlines())
        self.assertEqual(single["Name"].strip(), "backend")
        self.assertEqual(single["Port"].strip(), "8080")
        self.assertEqual(single["Routing key"].strip(), "backend")
        self.assertEqual(json.loads(self.ok(kind, "status", "backend", "-o", "json").out)["spec"]["port"], 8080)
        self.refused([kind, "status", "-o", "xml"],
                     "output type is not valid: " + not_one_of("xml", "json", "yaml"))

    def test_delete(self):
        kind = self.kind
        self.refused([kind, "delete"],
                     f"{kind} name must be {'configured' if kind == 'connector' else 'specified'}")
        self.refused([kind, "delete", "a"], f"{kind} a does not exist")
        self.ok(kind, "create", "a", "1")
        self.refused([kind, "delete", "a"], f'{kind.capitalize()} "a" deleted', code=0)
        self.assertEqual(os.listdir(self.resources()), [])

    def test_generate(self):
        kind = self.kind
        self.assertEqual(self.ok(kind, "generate", "backend", "8080").out,
                         self.document().replace("  namespace: default\n", ""))
        document = json.loads(self.ok(kind, "generate", "backend", "8080", "-o", "json", "-r", "key").out)
        self.assertEqual(document["spec"], {
            "host": self.default_host, "port": 8080, "routingKey": "key", "type": "tcp"})
        self.assertFalse(os.path.exists(self.resources()))
        self.refused([kind, "generate", "a"], f"{kind} name and port must be configured")


class Connector(Services, CommandLineTest):
    kind = "connector"
    matching = "HAS MATCHING LISTENER"
    default_host = "localhost"


class Listener(Services, CommandLineTest):
    kind = "listener"
    matching = "MATCHING-CONNECTOR"
    default_host = "0.0.0.0"


class Debug(CommandLineTest):
    def test_dump_holds_no_secrets(self):
        self.put("Site-west.yaml", SITE.format(name="west", namespace="default", access="default"))
        self.put("Secret-s.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\ndata:\n"
                                  "  tls.crt: cHVibGlj\n  tls.key: aGlkZGVu\n")
        self.put("mine.yaml", "apiVersion: skupper.io/v2alpha1\nkind: AccessToken\nmetadata:\n  name: t\nspec:\n"
                              "  ca: x\n  code: hidden-code\n  url: https://192.0.2.1/a\n")
        self.put("tls.key", "hidden-key", part=("runtime", "certs", "skupper-site-server"))
        self.put("tls.crt", "the certificate", part=("runtime", "certs", "skupper-site-server"))
        self.put("grants.yaml", "hidden-grant", part=("internal",))
        self.put("skrouterd.json", '[["proxyProfile", {"name": "p", "password": "hidden-password"}]]',
                 part=("runtime", "router"))
        answer = self.ok("debug", "dump", "fault")
        self.assertRegex(
            answer.out, r"\ASkupper dump details written to compressed archive: fault-default-\d{14}\.tar\.gz\n\Z")
        path = os.path.join(self.home, answer.out.split(": ")[1].strip())
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with tarfile.open(path, "r:gz") as archive:
            held = {name: archive.extractfile(name).read().decode() for name in archive.getnames()}
        self.assertIn("linkAccess: default", held["default/input/resources/Site-west.yaml"])
        self.assertIn("cHVibGlj", held["default/input/resources/Secret-s.yaml"])
        self.assertIn("https://192.0.2.1/a", held["default/input/resources/mine.yaml"])
        self.assertEqual(held["default/runtime/certs/skupper-site-server/tls.crt"], "the certificate")
        self.assertEqual(json.loads(held["default/runtime/router/skrouterd.json"])[0][1]["name"], "p")
        self.assertIn("internal/grants.yaml left out", held["default/files.txt"])
        for name, text in held.items():
            for secret in ("hidden", "aGlkZGVu"):
                self.assertNotIn(secret, text, name)

    def test_dump_of_nothing(self):
        self.refused(["debug", "dump", "a", "b"], "only one argument is allowed for this command")
        self.assertEqual(self.skupper("debug", "dump", "-n", "never").code, 1)


class PortsOfListeners(CommandLineTest):
    def test_one_port_has_one_listener(self):
        self.ok("listener", "create", "b", "8080")
        taken = 'port 8080 is already mapped for host "0.0.0.0"'
        for name in ("a", "c"):
            self.refused(["listener", "create", name, "8080"], f'Listener "{name}" is not valid: {taken}')
            self.ok("listener", "create", name, "8080", "--host", f"127.0.0.{ord(name)}")
        self.refused(["listener", "update", "a", "--host", "0.0.0.0"], f'Listener "a" is not valid: {taken}')
        self.ok("listener", "update", "b", "--routing-key", "other")


class System(CommandLineTest):
    def test_start_without_resources(self):
        answer = self.skupper("system", "start")
        self.assertEqual(answer.code, 1, answer)
        self.assertIn("No sources found at: " + self.resources(), answer.out)

    def test_arguments_are_refused(self):
        for verb in ("start", "stop", "reload", "status", "uninstall"):
            self.refused(["system", verb, "x"], "this command does not accept arguments")
        self.refused(["system", "apply", "x", "-f", "-"], "This command does not accept arguments")

    def test_nothing_to_install(self):
        answer = self.skupper("system", "install")
        self.assertEqual(answer.code, 1)
        self.assertIn("the selected platform is not supported by this command. There is nothing to install", answer.out)

    def test_generate_bundle_is_not_built(self):
        self.refused(["system", "generate-bundle"], "You need to specify a name for the bundle file to generate.")
        self.assertEqual(self.skupper("system", "generate-bundle", "b").code, 1)

    def test_apply_and_delete(self):
        text = (SITE.format(name="west", namespace="x", access="default") + "---\n" + LINK
                + "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: west-1\ntype: kubernetes.io/tls\n"
                  "data:\n  tls.crt: YQ==\n  tls.key: Yg==\n  ca.crt: Yw==\n")
        answer = self.ok("system", "apply", "-f", "-", stdin=text)
        self.assertEqual(answer.out, "Site west added\nLink west-1 added\nSecret west-1 added\n"
                                     "Custom resources are applied.\n")
        self.assertEqual(sorted(os.listdir(self.resources())),
                         ["Link-west-1.yaml", "Secret-west-1.yaml", "Site-west.yaml"])
        mode = stat.S_IMODE(os.stat(os.path.join(self.resources(), "Secret-west-1.yaml")).st_mode)
        self.assertEqual(mode, 0o600, "a private key is for its owner only")
        with open(os.path.join(self.home, "gone.yaml"), "w", encoding="utf-8") as file:
            file.write(LINK)
        answer = self.ok("system", "delete", "-f", "gone.yaml")
        self.assertTrue(answer.out.startswith("Link west-1 deleted\n"), answer)
        self.assertEqual(sorted(os.listdir(self.resources())), ["Secret-west-1.yaml", "Site-west.yaml"])

    def test_apply_keeps_unknown_fields(self):
        self.ok("system", "apply", "-f", "-", stdin=LINK + "  future: kept\n")
        self.assertIn("  future: kept\n", self.written("Link-west-1.yaml"))

    def test_apply_validation(self):
        answer = self.skupper("system", "apply")
        self.assertEqual(answer.code, 2)
        self.assertIn("You need to provide a file to apply or use standard input.", answer.out)
        self.refused(["system", "apply", "-f", "no.yaml"], 'The file "no.yaml" does not exist')
        self.refused(["system", "apply", "-f", "."], 'The file "." is a directory')
        with open(os.path.join(self.home, "a.txt"), "w", encoding="utf-8"):
            pass
        self.refused(
            ["system", "apply", "-f", "a.txt"],
            "The file has an unsupported extension, it should have one of the following: .yaml, .json")
        answer = self.skupper("system", "apply", "-f", "-", stdin="a: [\n")
        self.assertEqual(answer.code, 1)
        self.assertIn("Failed parsing the custom resources: ", answer.out)

    def test_stop_what_does_not_run(self):
        answer = self.skupper("system", "stop", "-n", "never")
        self.assertEqual(answer.code, 1, answer)
        self.assertIn("never", answer.out)



if __name__ == "__main__":
    unittest.main(verbosity=1)

"""Runs the `skupper` program as a user would: texts, exit codes, files written. No site is started here."""

import base64
import json
import os
import stat
import subprocess
import tarfile
import unittest

from cli_case import (
    FILE, HOST, LINK, NAME, NAMESPACE, NO_CLUSTER, SELECTOR, SITE, CommandLineTest, no_match, not_one_of)


class Help(CommandLineTest):
    COMMANDS = {
        "site": ["create", "update", "delete", "status", "generate"],
        "token": ["issue", "redeem"],
        "link": ["status", "update", "delete", "generate"],
        "connector": ["create", "update", "delete", "status", "generate"],
        "listener": ["create", "update", "delete", "status", "generate"],
        "system": ["start", "stop", "reload", "status", "install", "uninstall", "apply", "delete", "generate-bundle"],
        "debug": ["dump"],
    }

    def test_every_command_has_usage_flags_and_example(self):
        for platform in ("linux", "kubernetes"):
            lines = [["version"]] + [[noun, verb] for noun, verbs in self.COMMANDS.items() for verb in verbs]
            for words in lines:
                for flag in ("--help", "-h"):
                    answer = self.ok(*words, flag, SKUPPER_PLATFORM=platform)
                    with self.subTest(platform=platform, command=words, flag=flag):
                        self.assertIn("Usage:\n  skupper " + " ".join(words), answer.out)
                        self.assertIn("\nExample:\n  ", answer.out)
                        self.assertIn("skupper " + " ".join(words), answer.out.split("Example:")[1].split("\n\n")[0])
                        self.assertIn("\nFlags:\n", answer.out)
                        self.assertIn("-h, --help", answer.out)
                        self.assertIn("-n, --namespace string", answer.out)
                        self.assertEqual(answer.err, "")

    def test_groups_list_their_commands(self):
        for words in ([], ["--help"], ["help"]):
            answer = self.ok(*words)
            for noun in [*self.COMMANDS, "version"]:
                self.assertRegex(answer.out, rf"(?m)^  {noun} +\S")
            self.assertNotRegex(answer.out, r"(?m)^  (help|manifest) ")
        for noun, verbs in self.COMMANDS.items():
            for words in ([noun], [noun, "--help"], ["help", noun]):
                answer = self.ok(*words)
                for verb in verbs:
                    self.assertRegex(answer.out, rf"(?m)^  {verb} +\S")

    def test_defaults_are_told(self):
        self.assertRegex(self.ok("token", "issue", "-h").out, r"--expiration-window duration +.*\(default 15m0s\)")
        self.assertRegex(self.ok("token", "issue", "-h").out, r"--redemptions-allowed int +.*\(default 1\)")
        self.assertRegex(self.ok("connector", "create", "-h").out, r'--host string +.*\(default "localhost"\)')
        self.assertRegex(self.ok("site", "delete", "-h").out, r"--wait +.*\(default true\)")

    def test_flags_follow_the_platform(self):
        linux = self.ok("site", "create", "-h").out
        self.assertIn("--bind-host", linux)
        self.assertNotIn("--enable-ha", linux)
        kubernetes = self.ok("site", "create", "-h", SKUPPER_PLATFORM="kubernetes").out
        self.assertIn("--enable-ha", kubernetes)
        self.assertIn("--kubeconfig", kubernetes)
        self.assertNotIn("--bind-host", kubernetes)


class Parsing(CommandLineTest):
    def test_unknown_command(self):
        answer = self.skupper("sit")
        self.assertEqual(answer.code, 1)
        self.assertIn('unknown command "sit" for "skupper"', answer.out)
        self.assertIn("Did you mean this?\n\tsite\n", answer.out)
        self.assertIn('Error: unknown command "sit" for "skupper"', answer.err)
        answer = self.skupper("token", "isue", "x.yaml")
        self.assertEqual(answer.code, 1)
        self.assertIn('unknown command "isue" for "skupper token"\n\nDid you mean this?\n\tissue\n', answer.out)

    def test_unknown_flag(self):
        answer = self.skupper("site", "create", "west", "--enable-link-acces")
        self.assertEqual(answer.code, 1)
        self.assertTrue(answer.out.startswith("unknown flag: --enable-link-acces\n"), answer)
        self.assertIn("--enable-link-access", answer.out)
        self.assertIn("Error: unknown flag: --enable-link-acces", answer.err)
        self.assertIn("Usage:\n  skupper site create", answer.err)
        self.assertFalse(os.path.exists(self.resources()))
        self.refused(["site", "status", "-z"], "unknown shorthand flag: 'z' in -z", code=1)
        self.refused(["site", "create", "w", "--namespace"], "flag needs an argument: --namespace", code=1)
        self.refused(["site", "create", "w", "-n"], "flag needs an argument: 'n' in -n", code=1)

    def test_malformed_flag_values(self):
        self.refused(
            ["token", "issue", "x.yaml", "--expiration-window", "soon"],
            'invalid argument "soon" for "--expiration-window" flag: time: invalid duration "soon"', code=1)
        self.refused(
            ["token", "issue", "x.yaml", "--redemptions-allowed=two"],
            'invalid argument "two" for "--redemptions-allowed" flag: strconv.ParseInt: parsing "two": invalid syntax',
            code=1)
        self.refused(
            ["site", "create", "west", "--enable-link-access=maybe"],
            'invalid argument "maybe" for "--enable-link-access" flag: '
            'strconv.ParseBool: parsing "maybe": invalid syntax', code=1)

    def test_every_spelling_of_a_flag(self):
        for number, words in enumerate((["-n", "{}"], ["-n={}"], ["-n{}"], ["--namespace", "{}"], ["--namespace={}"])):
            name = f"ns{number}"
            self.ok("site", "create", "west", *[word.format(name) for word in words])
            self.assertEqual(os.listdir(self.resources(name)), ["Site-west.yaml"])
        self.ok("-n", "before", "site", "create", "west")
        self.assertEqual(os.listdir(self.resources("before")), ["Site-west.yaml"])

    def test_double_dash_ends_flags(self):
        self.refused(["site", "create", "--", "-n"], "site name is not valid: " + no_match(NAME))

    def test_bad_namespace(self):
        for words in (["site", "create", "west"], ["link", "status"], ["system", "start"], ["listener", "delete", "x"]):
            answer = self.skupper(*words, "-n", "No_Good")
            self.assertIn("namespace is not valid: " + no_match(NAMESPACE), answer.out, words)
            self.assertEqual(answer.code, 2)


class Platforms(CommandLineTest):
    platform = None

    def test_kubernetes_is_the_default_and_needs_a_cluster(self):
        for words in (["site", "create", "west"], ["link", "status"], ["token", "redeem", "x.yaml"],
                      ["connector", "create", "a", "80", "--selector", "app=a"]):
            answer = self.skupper(*words)
            self.assertEqual(answer.code, 1, answer)
            self.assertIn(NO_CLUSTER, answer.out)
            self.assertIn(os.path.join(self.home, ".kube/config") + " does not exist", answer.out)
            self.assertIn("--platform linux", answer.out)
            self.assertIn("SKUPPER_PLATFORM=linux", answer.out)
        self.assertFalse(os.path.exists(os.path.join(self.home, "namespaces")))

    def test_system_on_kubernetes(self):
        for verb in ("start", "stop", "reload", "status", "uninstall", "install"):
            answer = self.ok("system", verb)
            self.assertEqual(answer.out, "This command does not support kubernetes platforms.\n")

    def test_platform_flag_beats_environment(self):
        for words in (["-p", "linux"], ["--platform=linux"], ["-p=linux"], ["-plinux"]):
            self.refused(
                ["site", "status", *words], "There is no existing Skupper site resource", code=0,
                SKUPPER_PLATFORM="kubernetes")

    def test_unknown_platform(self):
        answer = self.skupper("site", "status", "--platform", "mars")
        self.assertEqual(answer.code, 1)
        self.assertIn('platform "mars" not supported', answer.out)
        self.assertIn('Error: platform "mars" not supported', answer.err)

    def test_containers_are_not_built(self):
        for platform in ("podman", "docker"):
            answer = self.skupper("site", "status", "-p", platform)
            self.assertEqual(answer.code, 1)
            self.assertIn(f'platform "{platform}" not supported', answer.out)

    def test_version_works_everywhere(self):
        for platform in ("linux", "kubernetes"):
            answer = self.ok("version", SKUPPER_PLATFORM=platform)
            self.assertRegex(answer.out, r"\A\S+\n\Z")
        self.refused(["version", "x"], "this command does not accept arguments")

    def test_generate_needs_no_cluster(self):
        answer = self.ok("site", "generate", "west", "--enable-link-access", "--link-access-type", "route")
        self.assertEqual(
            answer.out,
            "apiVersion: skupper.io/v2alpha1\nkind: Site\nmetadata:\n  name: west\nspec:\n  linkAccess: route\n")
        answer = self.ok("connector", "generate", "backend", "8080")
        self.assertIn("  selector: app=backend\n", answer.out)

    def test_kubernetes_generate_validation(self):
        self.refused(
            ["site", "generate", "west", "--link-access-type", "nodeport", "--enable-link-access"],
            "link access type is not valid: " + not_one_of("nodeport", "route", "loadbalancer", "default"))
        self.refused(
            ["site", "generate", "west", "--link-access-type", "route"],
            "for the site to work with this type of linkAccess, the --enable-link-access option must be set to true")
        self.refused(
            ["connector", "generate", "a", "80", "--host", "a", "--selector", "app=a"],
            "If host is configured, cannot configure workload or selector",
            "If selector is configured, cannot configure workload or host")
        self.refused(
            ["connector", "generate", "a", "80", "--selector", "app=a,tier=b"],
            "selector is not valid: " + no_match(SELECTOR))
        self.refused(
            ["connector", "generate", "a", "80", "--workload", "nothing"],
            "workload is not valid: workload must include <resource-type>/<resource-name>")

    def test_cluster_flags_on_linux_are_warned_about(self):
        answer = self.skupper("site", "status", "--context", "c", "--kubeconfig", "k", SKUPPER_PLATFORM="linux")
        self.assertEqual(answer.code, 0)
        self.assertIn("Warning: --context flag is not supported on this platform\n", answer.err)
        self.assertIn("Warning: --kubeconfig flag is not supported on this platform\n", answer.err)


class Site(CommandLineTest):
    def test_create(self):
        answer = self.ok("site", "create", "west", "-n", "west", "--enable-link-access")
        path = os.path.join(self.resources("west"), "Site-west.yaml")
        self.assertEqual(answer.out, f"File written to {path}\n")
        self.assertEqual(
            self.written("Site-west.yaml", "west"), SITE.format(name="west", namespace="west", access="default"))

    def test_create_without_link_access(self):
        self.ok("site", "create", "east")
        text = self.written("Site-east.yaml")
        self.assertTrue(text.startswith(
            "apiVersion: skupper.io/v2alpha1\nkind: Site\nmetadata:\n  name: east\n  namespace: default\n"), text)
        self.assertNotIn("linkAccess", text)

    def test_create_validation(self):
        self.refused(["site", "create"], "site name must not be empty")
        self.refused(["site", "create", ""], "site name must not be empty")
        self.refused(["site", "create", "a", "b"], "only one argument is allowed for this command.")
        self.refused(["site", "create", "Bad_Name"], "site name is not valid: " + no_match(NAME))
        self.refused(["site", "create", "west", "--timeout", "1s"],
                     "timeout is not valid: duration must not be less than 10s; got 1s")
        self.refused(["site", "create", "west", "--wait", "never"],
                     "status is not valid: " + not_one_of("never", "ready", "configured", "none"))
        self.refused(["site", "create", "west", "--enable-link-access", "--bind-host", "-x-"], "bind " + HOST)
        self.refused(["site", "create", "west", "--enable-link-access", "--advertise-host", "a b"],
                     "advertised " + HOST)
        answer = self.skupper("site", "create", "west", "--enable-link-access", "--port", "70000")
        self.assertEqual(answer.code, 2)
        self.assertIn("port is not valid: ", answer.out)
        answer = self.skupper("site", "create", "west", "--port", "55671")
        self.assertEqual(answer.code, 2)
        self.assertIn("--enable-link-access", answer.out)
        self.assertFalse(os.path.exists(self.resources()), "nothing is written when anything is wrong")

    def test_all_complaints_at_once(self):
        self.refused(
            ["site", "create", "Bad", "-n", "No_Good", "--timeout", "1s", "--wait", "never"],
            "namespace is not valid: " + no_match(NAMESPACE),
            "site name is not valid: " + no_match(NAME),
            "timeout is not valid: duration must not be less than 10s; got 1s",
            "status is not valid: " + not_one_of("never", "ready", "configured", "none"))

    def test_one_site_per_namespace(self):
        self.ok("site", "create", "west")
        self.refused(["site", "create", "other"], "There is already a site created for this namespace")
        self.assertEqual(os.listdir(self.resources()), ["Site-west.yaml"])

    def test_update(self):
        self.put("Site-west.yaml", SITE.format(name="west", namespace="default", access="none")
                 + "  defaultIssuer: my-ca\n  settings:\n    router-logging: debug\n")
        self.ok("site", "update", "--enable-link-access")
        text = self.written("Site-west.yaml")
        self.assertIn("  linkAccess: default\n", text)
        self.assertIn("  defaultIssuer: my-ca\n", text)
        self.assertIn("    router-logging: debug\n", text)
        self.ok("site", "update", "west")
        self.assertEqual(self.written("Site-west.yaml"), text, "an update without flags changes nothing")
        self.ok("site", "update", "west", "--enable-link-access=false")
        self.assertEqual(self.written("Site-west.yaml"), text.replace("linkAccess: default", "linkAccess: none"))

    def test_update_host_and_port(self):
        self.ok("site", "create", "west", "--enable-link-access", "--bind-host", "127.0.0.1",
                "--advertise-host", "west.example.com", "--port", "45000")
        text = self.written("Site-west.yaml")
        for value in ("127.0.0.1", "west.example.com", '"45000"'):
            self.assertIn(": " + value + "\n", text)
        self.ok("site", "update", "west", "--port", "45001")
        self.assertEqual(self.written("Site-west.yaml"), text.replace("45000", "45001"))

    def test_update_validation(self):
        self.refused(["site", "update"], "there is no existing Skupper site resource to update")
        self.ok("site", "create", "west")
        self.refused(["site", "update", "east"], 'site with name "east" is not available')
        self.refused(["site", "update", "a", "b"], "only one argument is allowed for this command.")
        self.refused(["site", "update", "Bad"], "site name is not valid: " + no_match(NAME))
        self.put("Site-other.yaml", SITE.format(name="other", namespace="default", access="none"))
        self.refused(["site", "update"], "site name is required because there are several sites in this namespace")

    def test_status(self):
        self.refused(["site", "status"], "There is no existing Skupper site resource", code=0)
        self.ok("site", "create", "west")
        answer = self.ok("site", "status")
        self.assertEqual(answer.out.splitlines()[0].split(), ["NAME", "STATUS", "MESSAGE"])
        self.assertEqual(answer.out.splitlines()[1].split()[0], "west")
        self.assertIn("Site not initialized yet", answer.err)
        document = json.loads(self.ok("site", "status", "west", "-o", "json").out)
        self.assertEqual(document["metadata"]["name"], "west")
        self.assertEqual(list(document), sorted(document))
        self.assertIn("kind: Site\n", self.ok("site", "status", "-o", "yaml").out)
        self.refused(["site", "status", "-o", "xml"],
                     "output type is not valid: " + not_one_of("xml", "json", "yaml"))
        self.refused(["site", "status", "east"], "site east does not exist")
        self.refused(["site", "status", "a", "b"], "only one argument is allowed for this command")

    def test_status_shows_the_runtime(self):
        self.put("Site-west.yaml", SITE.format(name="west", namespace="default", access="none"))
        self.put("Site-west.yaml", SITE.format(name="west", namespace="default", access="none") + (
            "status:\n  status: Ready\n  message: OK\n"), part=("runtime", "resources"))
        answer = self.ok("site", "status")
        self.assertEqual([line.split() for line in answer.out.splitlines()],
                         [["NAME", "STATUS", "MESSAGE"], ["west", "Ready", "OK"]])

    def test_delete(self):
        self.refused(["site", "delete"], "there is no existing Skupper site resource to delete")
        self.ok("site", "create", "west")
        self.ok("listener", "create", "backend", "8080")
        self.refused(["site", "delete", "east"], "site east does not exist")
        self.refused(["site", "delete", "west"], 'Site "west" is deleted', code=0)
        self.assertEqual(os.listdir(self.resources()), ["Listener-backend.yaml"])
        self.ok("site", "create", "west")
        self.ok("site", "delete", "--all")
        self.assertFalse(os.path.exists(self.resources()) and os.listdir(self.resources()))

    def test_generate(self):
        answer = self.ok("site", "generate", "west", "--enable-link-access")
        self.assertEqual(
            answer.out,
            "apiVersion: skupper.io/v2alpha1\nkind: Site\nmetadata:\n  name: west\nspec:\n  linkAccess: default\n")
        document = json.loads(self.ok("site", "generate", "west", "--enable-link-access", "-o", "json").out)
        self.assertEqual(document, {
            "apiVersion": "skupper.io/v2alpha1", "kind": "Site", "metadata": {"name": "west"},
            "spec": {"linkAccess": "default"}})
        self.assertFalse(os.path.exists(self.resources()))
        self.refused(["site", "generate"], "site name must not be empty")
        self.refused(["site", "generate", "west", "-o", "xml"],
                     "output type is not valid: " + not_one_of("xml", "json", "yaml"))


class Token(CommandLineTest):
    def test_issue_file_names(self):
        no_site = "A site must exist in namespace default before a token can be created"
        self.refused(["token", "issue"], "file name must be configured", no_site)
        self.refused(["token", "issue", "a", "b"], "only one argument is allowed for this command", no_site)
        self.refused(["token", "issue", ""], "file name must not be empty", no_site)
        self.refused(["token", "issue", "a b"], "token file name is not valid: " + no_match(FILE), no_site)
        self.refused(["token", "issue", "."], "token file name is a directory", no_site)
        answer = self.skupper("token", "issue", "not/there/t.yaml")
        self.assertEqual(answer.code, 2)
        self.assertRegex(answer.out, r"\Ainvalid token file name: .*[Nn]o such file or directory")

    def test_issue_needs_link_access(self):
        self.ok("site", "create", "west")
        answer = self.skupper("token", "issue", "t.yaml")
        self.assertEqual(answer.code, 2)
        self.assertIn("You must enable link access for this site before you can create a token.", answer.out)
        self.assertFalse(os.path.exists(os.path.join(self.home, "t.yaml")))

    def test_issue_refuses_edge_sites(self):
        self.put("Site-e.yaml", SITE.format(name="e", namespace="default", access="default") + "  edge: true\n")
        self.assertIn("Edge sites cannot accept incoming links from remote sites",
                      self.skupper("token", "issue", "t.yaml").out)

    def test_issue_flags(self):
        self.ok("site", "create", "west", "--enable-link-access")
        self.refused(
            ["token", "issue", "t.yaml", "--redemptions-allowed", "0", "--expiration-window", "30s",
             "--timeout", "1s", "--cost", "one"],
            "number of redemptions is not valid",
            "expiration time is not valid: duration must not be less than 1m0s; got 30s",
            "timeout is not valid: duration must not be less than 10s; got 1s",
            'link cost is not valid: strconv.Atoi: parsing "one": invalid syntax')
        self.refused(["token", "issue", "t.yaml", "--cost", "-1"], "link cost is not valid: value is not positive")

    def test_issue_without_a_running_site(self):
        self.ok("site", "create", "west", "--enable-link-access")
        answer = self.skupper("token", "issue", "t.yaml")
        self.assertEqual(answer.code, 1, answer)
        self.assertIn("not running", answer.out)
        self.assertIn("skupper system start", answer.out)
        self.assertEqual(os.listdir(self.resources()), ["Site-west.yaml"], "no grant is left behind")
        piped = self.skupper("token", "issue", "-")
        self.assertEqual((piped.code, piped.out), (1, ""), "standard output is the token's alone")
        self.assertIn("not running", piped.err)

    def test_redeem_validation(self):
        self.refused(["token", "redeem"], "token file name must be configured")
        self.refused(["token", "redeem", "a", "b"], "only one argument is allowed for this command")
        self.refused(["token", "redeem", ""], "file name must not be empty")
        self.refused(["token", "redeem", "a b"], "token file name is not valid: " + no_match(FILE))
        answer = self.skupper("token", "redeem", "absent.yaml")
        self.assertEqual(answer.code, 2)
        self.assertRegex(answer.out, r"\Atoken file does not exist: .*absent.yaml")
        self.assertIn("timeout is not valid: ", self.skupper("token", "redeem", "absent.yaml", "--timeout", "1s").out)

    def test_redeem_bad_tokens(self):
        token = ("apiVersion: skupper.io/v2alpha1\nkind: AccessToken\nmetadata:\n  name: t\nspec:\n"
                 "  ca: none\n  code: secretsecretsecret\n  url: {}\n")
        for text, expected in (
                ("", ""), ("a: [", ""), ("kind: Site\napiVersion: skupper.io/v2alpha1\nmetadata: {name: x}\n", ""),
                (token.format("http://127.0.0.1:1/x"), "which is not https")):
            answer = self.skupper("token", "redeem", "-", stdin=text)
            self.assertIn(answer.code, (1, 2), answer)
            self.assertNotEqual(answer.out.strip(), "")
            self.assertIn(expected, answer.out)
            self.assertNotIn("secretsecretsecret", answer.out + answer.err)
        self.assertFalse(os.path.exists(self.resources()) and os.listdir(self.resources()))


if __name__ == "__main__":
    unittest.main(verbosity=1)

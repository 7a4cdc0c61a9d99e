"""A real API server for tests: etcd and kube-apiserver of the folder KUBEBUILDER_ASSETS, on addresses of this host.

There is nothing else of a cluster: no scheduler, no kubelet, no controllers. Whoever needs a Pod to be Ready, an owned
object to be collected or a Service to have an external address writes that itself, as the missing part would.

    cluster.py        starts one, prints the KUBECONFIG of its administrator, and runs until it is interrupted
"""

import base64
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/Integration"))

from harness import Authority, Process, can_connect, free_port, wait_until  # noqa: E402

PROGRAMS = ("etcd", "kube-apiserver")


def assets():
    """The folder with the programs, or None."""
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if folder and all(os.access(pathlib.Path(folder) / name, os.X_OK) for name in PROGRAMS):
        return pathlib.Path(folder)
    return None


class Refused(Exception):
    """An answer with another status than 2xx."""

    def __init__(self, code, body):
        super().__init__(f"{code}: {body[:400]}")
        self.code = code
        self.body = body


class Cluster:
    """etcd and one API server; `stop` ends both by their ids and removes what they wrote."""

    def __init__(self, host="127.0.0.1"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skupper-cluster."))
        self.host = host
        self.authority = Authority(self.folder / "ca", "test cluster CA")
        self.serving = self.authority.issue("apiserver", hosts=(host, "localhost", "kubernetes.default.svc"))
        self.tokens = {}
        self.etcd = None
        self.server = None
        self._account_key()
        self.token("admin", "system:masters")

    # --- users ----------------------------------------------------------------------------------------------------

    def token(self, user, *groups):
        """A token for a user; users must be made before `start`."""
        self.tokens[user] = f"token-of-{user}"
        with open(self.folder / "tokens.csv", "a") as file:
            file.write(f'{self.tokens[user]},{user},uid-{user},"{",".join(groups)}"\n')
        return self.tokens[user]

    def client_certificate(self, user):
        """The folder with tls.crt and tls.key of a user."""
        return self.authority.issue(user, hosts=("client",))

    def kubeconfig(self, user="admin", namespace="default", server="", **user_entry):
        """Writes a kubeconfig for a user, with its token unless other credentials are given, and returns its path.
        With `server` its requests go there instead, for example to a FaultProxy."""
        path = self.folder / f"kubeconfig-{user}-{namespace}{server.rpartition(':')[2]}"
        entry = user_entry or {"token": self.tokens[user]}
        authority = base64.b64encode(pathlib.Path(self.authority.certificate).read_bytes()).decode()
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": server or self.url, "certificate-authority-data": authority}}],
            "users": [{"name": user, "user": entry}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user, "namespace": namespace}}],
        }))
        return path

    # --- processes ------------------------------------------------------------------------------------------------

    def start(self):
        self.client_port, self.port = free_port(self.host), free_port(self.host)
        self.url = f"https://{self.host}:{self.port}"
        self.etcd_url = f"http://{self.host}:{self.client_port}"
        peers = f"http://{self.host}:{free_port(self.host)}"
        try:
            self.etcd = Process(
                [assets() / "etcd", "--data-dir", self.folder / "etcd", "--listen-client-urls", self.etcd_url,
                 "--advertise-client-urls", self.etcd_url, "--listen-peer-urls", peers,
                 "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}"],
                self.folder / "etcd.log")
            wait_until("etcd", lambda: can_connect(self.client_port, self.host), 20)
            self.start_server()
        except BaseException:
            self.stop()
            raise
        return self

    def start_server(self):
        """Starts the API server, again on the same port after `kill_server`."""
        self.server = Process(
            [assets() / "kube-apiserver", "--etcd-servers", self.etcd_url, "--bind-address", self.host,
             "--advertise-address", self.host, "--secure-port", self.port,
             "--tls-cert-file", self.serving / "tls.crt", "--tls-private-key-file", self.serving / "tls.key",
             "--client-ca-file", self.authority.certificate, "--token-auth-file", self.folder / "tokens.csv",
             "--service-account-key-file", self.folder / "accounts.pub",
             "--service-account-signing-key-file", self.folder / "accounts.key",
             "--service-account-issuer", "https://kubernetes.default.svc", "--authorization-mode", "RBAC",
             "--service-cluster-ip-range", "10.96.0.0/16", "--cert-dir", self.folder / "certs",
             # Nobody makes the ServiceAccount "default" that this plugin wants Pods to have.
             "--disable-admission-plugins", "ServiceAccount", "--allow-privileged"],
            self.folder / "apiserver.log")

        def ready():
            if not self.server.is_alive():
                raise AssertionError(f"kube-apiserver ended:\n{self.server.log_tail()}")
            return self.request("GET", "/readyz", raw=True) == b"ok"

        def tried():
            try:
                return ready()
            except (Refused, urllib.error.URLError):
                return False

        wait_until("the API server", tried, 120, every=0.2)

    def kill_server(self):
        self.server.kill()

    def stop(self):
        for process in (self.server, self.etcd):
            if process is not None and process.is_alive():
                process.send(signal.SIGCONT)
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def _account_key(self):
        key = self.folder / "accounts.key"
        for arguments in (["genrsa", "-out", key, "2048"], ["rsa", "-in", key, "-pubout", "-out",
                                                            self.folder / "accounts.pub"]):
            subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)

    # --- requests, by another client than the one under test --------------------------------------------------------

    def request(self, method, path, body=None, content_type="application/json", user="admin", raw=False,
                accept="application/json"):
        """One request; returns the parsed answer (its octets with `raw`) or raises Refused."""
        import ssl
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers={
            "Authorization": f"Bearer {self.tokens[user]}", "Content-Type": content_type, "Accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace")) from None
        return content if raw else json.loads(content)

    def create_namespace(self, name):
        return self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})

    def apply_definitions(self, folder=ROOT / "deploy/kubernetes/crds"):
        """Makes our kinds known and waits until the server serves them."""
        names = []
        for path in sorted(pathlib.Path(folder).glob("*.yaml")):
            names += self.apply(path.read_text())
        place = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"

        def is_served(name):
            conditions = self.request("GET", place + name).get("status", {}).get("conditions", [])
            return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

        for name in names:
            wait_until(f"the definition {name}", lambda name=name: is_served(name), 30)
        return names

    # The kinds of our manifests outside of our own group, and where they are.
    PLACES = {
        "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "Namespace": "/api/v1/namespaces",
        "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
        "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
        "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
        "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
        "Service": "/api/v1/namespaces/{namespace}/services",
        "Secret": "/api/v1/namespaces/{namespace}/secrets",
        "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
        "Pod": "/api/v1/namespaces/{namespace}/pods",
    }

    def place(self, kind, namespace):
        if kind in self.PLACES:
            return self.PLACES[kind].format(namespace=namespace)
        plural = kind.lower() + ("es" if kind.lower().endswith("s") else "s")
        return f"/apis/skupper.io/v2alpha1/namespaces/{namespace}/{plural}"

    def apply(self, text, namespace="default"):
        """Applies a manifest as kubectl apply --server-side does; returns the names."""
        names = []
        for part in re.split(r"^---\s*$", text, flags=re.MULTILINE):
            kind = re.search(r"^kind: *(\S+)", part, re.MULTILINE)
            name = re.search(r"^metadata:(?:\n+ +.*)*?\n +name: *\"?([^\s\"]+)", part, re.MULTILINE)
            if not kind or not name:
                continue
            stated = re.search(r"^metadata:(?:\n+ +.*)*?\n +namespace: *\"?([^\s\"]+)", part, re.MULTILINE)
            place = self.place(kind.group(1), stated.group(1) if stated else namespace)
            if kind.group(1) == "CustomResourceDefinition":
                self._define(place, part)
            else:
                self.request("PATCH", f"{place}/{name.group(1)}?fieldManager=test&force=true", part.encode(),
                             "application/apply-patch+yaml")
            names.append(name.group(1))
        return names

    def _define(self, place, text):
        """Creates a definition; unlike apply this drops what an older server does not know, such as rules in CEL."""
        try:
            self.request("POST", place, text.encode(), "application/yaml")
        except Refused as refusal:
            if refusal.code != 409:
                raise

    def compact(self):
        """Makes etcd forget everything but the present."""
        def post(path, body):
            request = urllib.request.Request(self.etcd_url + path, data=json.dumps(body).encode(), method="POST")
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())

        revision = post("/v3/kv/range", {"key": base64.b64encode(b"x").decode()})["header"]["revision"]
        post("/v3/kv/compaction", {"revision": revision, "physical": True})


def main():
    if assets() is None:
        sys.exit("KUBEBUILDER_ASSETS must name a folder with etcd and kube-apiserver")
    with Cluster() as cluster:
        cluster.apply_definitions()
        print(f"export KUBECONFIG={cluster.kubeconfig()}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()

"""The parts of a cluster that an API server alone lacks, as far as sites need them: kubelet, load balancer.

A router Pod runs here as its Deployment describes it: the containers' commands and environments, with the folder of the
volume and the address of the Pod (one of 127.0.0.0/8) put in.
"""

import os
import pathlib
import tempfile
import urllib.request

from cluster import ROOT, Cluster
from harness import BIN, RANDOM, Process, free_port, wait_until

NAMESPACES = ("west", "east")
FOLDER = "/etc/skupper-router-certs"


def loopback():
    """An address of this host that hardly anybody else uses now."""
    return f"127.{RANDOM.randint(2, 250)}.{RANDOM.randint(1, 250)}.{RANDOM.randint(2, 250)}"


def is_ok(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


class SiteCluster(Cluster):
    """An API server with our definitions, a controller, and Pods on request."""

    def __init__(self, namespaces=NAMESPACES):
        super().__init__()
        self.pods = []
        self.controller = None
        self.controllers = 0
        # Where our programs find the API server, if not at its own address.
        self.front = ""
        # The API server knows ServiceAccounts by these names, so they have the rights of our manifests and Sites.
        for namespace in ("skupper", "alone"):
            self.token(f"system:serviceaccount:{namespace}:skupper-controller")
        for namespace in (*namespaces, "alone"):
            self.token(f"system:serviceaccount:{namespace}:skupper-router")

    def start(self):
        super().start()
        self.apply_definitions()
        self.apply((ROOT / "deploy/kubernetes/install.yaml").read_text(), "skupper")
        return self

    def stop(self):
        for pod in self.pods:
            pod.stop()
        if self.controller is not None and self.controller.is_alive():
            self.controller.stop()
        super().stop()

    def account(self, name, namespace):
        """The kubeconfig of a ServiceAccount; a colon in its path would make it two."""
        path = self.kubeconfig(f"system:serviceaccount:{namespace}:{name}", namespace, self.front)
        plain = path.with_name(path.name.replace(":", "-"))
        plain.write_text(path.read_text())
        return str(plain)

    # --- the controller -------------------------------------------------------------------------------------------

    def start_controller(self, namespace="skupper", wait=True, **extra):
        self.grant_port = getattr(self, "grant_port", None) or free_port()
        self.health_port = free_port()
        self.controllers += 1
        environment = dict(
            os.environ, NAMESPACE=namespace, SKUPPER_ENABLE_GRANTS="true", HOSTNAME="controller",
            SKUPPER_GRANT_SERVER_AUTOCONFIGURE="true", SKUPPER_GRANT_SERVER_PORT=str(self.grant_port),
            SKUPPER_GRANT_SERVER_BASE_URL=f"127.0.0.1:{self.grant_port}", SKUPPER_ROUTER_IMAGE="skupper:test",
            SKUPPER_KUBE_ADAPTOR_IMAGE="skupper:test", SKUPPER_METRICS_ADDRESS=f"127.0.0.1:{self.health_port}",
            SWIFT_BACKTRACE="enable=no", KUBECONFIG=self.account("skupper-controller", namespace))
        environment.update(extra)
        self.controller = Process(
            [BIN / "skupper-controller", "--platform", "kubernetes"],
            self.folder / f"controller-{self.controllers}.log", environment)
        if not wait:
            return self.controller
        try:
            wait_until("the controller's health", lambda: is_ok(f"http://127.0.0.1:{self.health_port}/healthz"), 60)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.controller.log_tail()}") from None
        return self.controller

    # --- looking ----------------------------------------------------------------------------------------------------

    def get(self, kind, name, namespace):
        try:
            return self.request("GET", f"{self.place(kind, namespace)}/{name}")
        except Exception as error:
            if getattr(error, "code", 0) == 404:
                return None
            raise

    def summary(self, kind, name, namespace):
        status = (self.get(kind, name, namespace) or {}).get("status", {})
        return f"{status.get('status', '')} {status.get('message', '')}".strip()

    def await_summary(self, kind, name, namespace, wanted, seconds=60):
        seen = []

        def arrived():
            text = self.summary(kind, name, namespace)
            if text and (not seen or seen[-1] != text):
                seen.append(text)
            return text == wanted

        try:
            wait_until(f"{kind} {namespace}/{name} to be {wanted!r}", arrived, seconds, every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; seen {seen}; controller:\n{self.controller.log_tail()}") from None
        return seen

    # --- the parts that are not there -------------------------------------------------------------------------------

    def balance(self, service, namespace, address):
        """What a load balancer's controller does."""
        wait_until(f"Service {service}", lambda: self.get("Service", service, namespace), 90, every=0.1)
        self.request(
            "PATCH", f"{self.place('Service', namespace)}/{service}/status",
            {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}, "application/merge-patch+json")

    def pod(self, name, namespace, labels, address, ready=True):
        """A Pod that runs at an address, as a kubelet reports it."""
        self.request("POST", self.place("Pod", namespace), {
            "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "main", "image": "x"}]}})
        self.mark(name, namespace, address, ready)

    def mark(self, name, namespace, address, ready=True):
        self.request(
            "PATCH", f"{self.place('Pod', namespace)}/{name}/status",
            {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
                        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}},
            "application/merge-patch+json")

    def run_router(self, namespace, address, group="skupper-router"):
        pod = RouterPod(self, namespace, address, group)
        self.pods.append(pod)
        return pod


class RouterPod:
    """The processes of one router Pod."""

    def __init__(self, cluster, namespace, address, group):
        self.cluster, self.namespace, self.address = cluster, namespace, address
        self.name = f"{group}-5d4f-{len(cluster.pods)}"
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=cluster.folder))
        self.processes = []
        wait_until(
            f"Deployment {namespace}/{group}", lambda: cluster.get("Deployment", group, namespace), 90, every=0.1)
        template = cluster.get("Deployment", group, namespace)["spec"]["template"]
        self.spec = template["spec"]
        cluster.request("POST", cluster.place("Pod", namespace), {
            "metadata": {"name": self.name, "labels": template["metadata"]["labels"]},
            "spec": {"containers": [{"name": c["name"], "image": c["image"]} for c in self.spec["containers"]]}})
        cluster.mark(self.name, namespace, address, ready=False)
        first = self._start(self.spec["initContainers"][0])
        wait_until("the init container", lambda: not first.is_alive(), 70)
        if not (self.folder / "skrouterd.json").exists():
            raise AssertionError(f"the init container wrote no configuration:\n{first.log_tail()}")
        self.router, self.adaptor = [self._start(container) for container in self.spec["containers"]]
        for port in (9090, 9191):
            try:
                wait_until(f"health at {address}:{port}", lambda p=port: is_ok(f"http://{address}:{p}/healthz"), 90)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{self.router.log_tail()}\n{self.adaptor.log_tail()}") from None
        cluster.mark(self.name, namespace, address)

    def _start(self, container):
        command = [part.replace(FOLDER, str(self.folder)).replace("/usr/bin/", f"{BIN}/")
                   for part in container["command"] + container.get("args", [])]
        environment = dict(
            os.environ, HOSTNAME=self.name, SKUPPER_ROUTER_FOLDER=str(self.folder), SWIFT_BACKTRACE="enable=no",
            SKUPPER_ROUTER_ADDRESS=self.address,
            KUBECONFIG=self.cluster.account(self.spec["serviceAccountName"], self.namespace))
        for entry in container["env"]:
            environment[entry["name"]] = entry["value"].replace(FOLDER, str(self.folder))
        process = Process(command, self.folder / f"{container['name']}.log", environment)
        self.processes.append(process)
        return process

    def stop(self):
        for process in reversed(self.processes):
            if process.is_alive():
                process.stop()

"""Two linked sites with a service between them, in front of whose API server stands a FaultProxy."""

import json
import ssl
import threading
import time
import unittest
import urllib.request

from cluster import assets
from fault_proxy import FaultProxy
from harness import Server, connect, echo, receive_exactly, wait_until
from site_cluster import SiteCluster, loopback

HEAD = "apiVersion: skupper.io/v2alpha1\nkind: {}\nmetadata:\n  name: {}\n"


def resource(kind, name, **fields):
    """A manifest of one of our kinds."""
    return HEAD.format(kind, name) + f"spec: {json.dumps(fields)}\n"


def patient_echo(connection):
    """Streams of these tests are quiet for minutes."""
    connection.settimeout(None)
    echo(connection)


class Witness:
    """Keeps every version of a site's router configuration, watched past the proxy."""

    def __init__(self, cluster, namespace):
        self.cluster, self.namespace = cluster, namespace
        self.versions = []
        self.ended = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        path = f"/api/v1/namespaces/{self.namespace}/configmaps?fieldSelector=metadata.name%3Dskupper-router"
        version = "0"
        while not self.ended.wait(0.05):
            try:
                request = urllib.request.Request(
                    f"{self.cluster.url}{path}&watch=true&resourceVersion={version}",
                    headers={"Authorization": f"Bearer {self.cluster.tokens['admin']}"})
                with urllib.request.urlopen(request, timeout=300, context=self._trust()) as answer:
                    for line in answer:
                        item = json.loads(line)
                        if item["type"] not in ("ADDED", "MODIFIED"):
                            version = "0"
                            break
                        version = item["object"]["metadata"]["resourceVersion"]
                        self.versions.append(item["object"]["data"]["skrouterd.json"])
            except (OSError, ValueError):
                continue

    def _trust(self):
        return ssl.create_default_context(cafile=str(self.cluster.authority.certificate))

    def ports(self, kind="tcpListener"):
        """For each version, the ports by name of its entities of a kind."""
        return [{a["name"]: a.get("port") for k, a in json.loads(text) if k == kind} for text in list(self.versions)]

    def losses(self, kinds=("tcpListener", "tcpConnector", "listener", "connector")):
        """Entities that were in one version and not in the next, or there with another port."""
        found = []
        for kind in kinds:
            seen = {}
            for number, ports in enumerate(self.ports(kind)):
                found += [f"{kind} {name} in version {number}" for name, port in seen.items()
                          if ports.get(name) != port]
                seen = ports
        return found


class LinkedCluster(SiteCluster):
    """Sites `west` (takes links, has the workload) and `east` (has the listener `backend`)."""

    def __init__(self):
        super().__init__()
        self.west, self.east, self.workload = loopback(), loopback(), loopback()
        self.proxy = None
        self.server_of_workload = None
        self.witnesses = []
        self.streams = []

    def start(self):
        super().start()
        self.proxy = FaultProxy(self)
        self.front = self.proxy.url
        for name in ("west", "east"):
            self.create_namespace(name)
            self.witnesses.append(Witness(self, name))
        return self

    def stop(self):
        for stream in self.streams:
            stream.close()
        for witness in self.witnesses:
            witness.ended.set()
        if self.server_of_workload is not None:
            self.server_of_workload.__exit__()
        try:
            super().stop()
        finally:
            if self.proxy is not None:
                self.proxy.stop()

    # --- the set-up, in steps that each wait for what the API server shows -------------------------------------------

    def make_sites(self):
        self.apply(resource("Site", "west", linkAccess="default"), "west")
        self.apply(resource("Site", "east"), "east")
        self.run_router("west", self.west)
        self.balance("skupper-router", "west", self.west)
        self.run_router("east", self.east)
        for name in ("west", "east"):
            self.await_summary("Site", name, name, "Ready OK", 120)

    def link(self, name="link"):
        self.apply(resource("AccessGrant", name, redemptionsAllowed=1), "west")
        self.await_summary("AccessGrant", name, "west", "Ready OK", 120)
        status = self.get("AccessGrant", name, "west")["status"]
        self.apply(resource("AccessToken", name, **{k: status[k] for k in ("url", "code", "ca")}), "east")
        self.await_summary("Link", name, "east", "Ready OK", 120)
        self.await_summary("AccessToken", name, "east", "Ready OK", 60)

    def make_service(self):
        self.server_of_workload = Server(patient_echo, host=self.workload).__enter__()
        self.pod("web-0", "west", {"app": "web"}, self.workload)
        self.apply(resource("Connector", "backend", routingKey="backend", selector="app=web",
                            port=self.server_of_workload.port), "west")
        self.listen("backend")
        for kind, namespace in (("Connector", "west"), ("Listener", "east")):
            self.await_summary(kind, "backend", namespace, "Ready OK", 120)

    def listen(self, name, key="backend", port=8080):
        self.apply(resource("Listener", name, routingKey=key, host=name, port=port), "east")

    def make_all(self):
        self.make_sites()
        self.link()
        self.make_service()
        return self

    # --- traffic ------------------------------------------------------------------------------------------------------

    def router_port(self, service="backend", namespace="east"):
        return self.get("Service", service, namespace)["spec"]["ports"][0]["targetPort"]

    def open_stream(self):
        stream = connect(self.router_port(), host=self.east)
        self.streams.append(stream)
        self.use(stream)
        return stream

    @staticmethod
    def use(stream, data=b"across two namespaces"):
        stream.sendall(data)
        answer = receive_exactly(stream, len(data))
        if answer != data:
            raise AssertionError(f"the stream gave {answer!r}")

    def await_traffic(self, service="backend", seconds=60):
        """A new connection through a listener's router port carries data."""
        self.await_traffic_to(self.router_port(service), seconds)

    def await_traffic_to(self, port, seconds=60):
        def carries():
            with connect(port, host=self.east, timeout=5) as stream:
                self.use(stream)
                return True
        wait_until(f"traffic through port {port}", carries, seconds, every=0.1)

    # --- looking ------------------------------------------------------------------------------------------------------

    def settle(self, seconds=3):
        """Waits until nobody has asked for anything but leases for a while."""
        def is_quiet():
            last = [r for r in self.proxy.requests(lambda r: not r.is_watch and not r.is_lease)][-1]
            return time.monotonic() - last.begun > seconds
        wait_until("quiet", is_quiet, 120, every=0.2)

    def await_network(self, service="backend"):
        """Both Sites show who listens for a service and who has its workload. Routers report that after all else."""
        def shows(name):
            records = (self.get("Site", name, name) or {}).get("status", {}).get("network", [])
            services = [s for record in records for s in record.get("services", []) if s["routingKey"] == service]
            return any(s.get("listeners") for s in services) and any(s.get("connectors") for s in services)
        for name in ("west", "east"):
            wait_until(f"the network in the status of {name}", lambda name=name: shows(name), 60)

    def drops(self, wanted=()):
        """What adaptors took from running routers, and configurations that would have made them; without the names
        that a test itself took away."""
        found = []
        for pod in self.pods:
            found += [line for line in pod.adaptor.log().splitlines() if " delete tcp" in line
                      or ' delete listener "' in line or ' delete connector "' in line]
        for witness in self.witnesses:
            found += witness.losses()
        return [text for text in found if not any(name in text for name in wanted)]


@unittest.skipIf(assets() is None, "KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver")
class LinkedCase(unittest.TestCase):
    """Tests that share two linked sites and a stream through them that has to live through all of it."""

    # What the controller is told beside the usual.
    environment = {}
    resource = staticmethod(resource)

    @classmethod
    def setUpClass(cls):
        cls.cluster = LinkedCluster().start()
        cls.addClassCleanup(cls.cluster.stop)
        cls.proxy = cls.cluster.proxy
        cls.cluster.start_controller(**cls.environment)
        cls.cluster.make_all()
        cls.stream = cls.cluster.open_stream()

"""The compared systems: each starts a pair of processes between a client and the servers of the measurements.

A system is started twice: once with both processes side by side, once with a delay line between them.
"""

import contextlib
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/Integration"))

from harness import Process, Router, can_connect, free_port, wait_until  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
CIPHER = "TLS_AES_128_GCM_SHA256"


def process_file(path):
    """The text of a file below /proc; empty when the process or thread it tells of has ended meanwhile."""
    try:
        return pathlib.Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def family(pid):
    """The process and its descendants. Threads, of which some programs have one for each connection, come and go."""
    found = [pid]
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in process_file(f"/proc/{pid}/task/{task}/children").split():
                found += family(int(child))
    return found


class System:
    """One way from the client to the servers: its entry ports and the processes on the way."""

    def __init__(self, name, entries, processes, is_pair=True):
        self.name, self.entries, self.processes, self.is_pair = name, entries, processes, is_pair

    def cpu_seconds(self):
        """Of all processes, with threads and children that have ended."""
        total = 0
        for process in self.processes:
            for pid in family(process.pid):
                stat = process_file(f"/proc/{pid}/stat")
                if stat:
                    total += sum(map(int, stat.rsplit(")", 1)[1].split()[11:15]))
                elif pid == process.pid:
                    raise RuntimeError(f"process {pid} of {self.name} has ended")
        return total / TICKS

    def resident_megabytes(self):
        """The larger of the pair, which is what a site has to hold."""
        sizes = []
        for process in self.processes:
            kilobytes = 0
            for pid in family(process.pid):
                for line in process_file(f"/proc/{pid}/status").splitlines():
                    if line.startswith("VmRSS:"):
                        kilobytes += int(line.split()[1])
            sizes.append(kilobytes / 1024)
        return max(sizes, default=0)


class Setting:
    """What all systems share: folder, certificates, servers, delay line."""

    def __init__(self, folder, authority, servers, tools):
        self.folder, self.authority, self.servers, self.tools = folder, authority, servers, tools
        self.started = []
        self.delay_file = folder / "delay"
        self.lines = []

    def spawn(self, name, *command):
        log = self.folder / f"{name}.log"
        process = Process(command, log)
        self.started.append(process)
        return process

    def stop(self):
        for process in reversed(self.started):
            process.kill()

    def between(self, port, delayed):
        """The port at which the near process finds the far one's `port`."""
        if not delayed:
            return port
        entry = free_port()
        if not self.delay_file.exists():
            self.delay_file.write_text("0\n")
        self.lines.append(self.spawn(f"delay-{entry}", self.tools / "delay", entry, port, self.delay_file))
        wait_until(f"the delay line on port {entry}", lambda: can_connect(entry), 10)
        return entry

    def set_delay(self, milliseconds):
        self.delay_file.write_text(f"{milliseconds}\n")
        for line in self.lines:
            line.send(1)
        time.sleep(0.3)

    def await_entries(self, system):
        for port in system.entries.values():
            try:
                wait_until(f"{system.name} on port {port}", lambda p=port: can_connect(p), 20)
            except AssertionError:
                print("\n".join(process.log_tail() for process in system.processes), file=sys.stderr)
                raise
        return system


def direct(setting, delayed=False):
    entries = {name: setting.between(port, delayed) for name, port in setting.servers.items()}
    return System("direct", entries, [], is_pair=False)


def floor(setting, delayed=False):
    """The minimal relay: kernel copies and the cipher, nothing else."""
    entries, processes = {}, []
    for name, port in setting.servers.items():
        middle, entry = free_port(), free_port()
        suffix = f"{name}-{delayed}"
        processes.append(setting.spawn(f"floor-far-{suffix}", setting.tools / "relay", "far", middle, port))
        wait_until("the far relay", lambda: can_connect(middle), 10)
        processes.append(setting.spawn(
            f"floor-near-{suffix}", setting.tools / "relay", "near", entry, setting.between(middle, delayed)))
        entries[name] = entry
    return setting.await_entries(System("floor", entries, processes, is_pair=False))


class OtherRouter(Router):
    """The same configuration for another program."""

    program = None

    def start(self, wait=True):
        import json
        self.config_path.write_text(json.dumps(self.entities, indent=1))
        self.process = Process([self.program, "-c", self.config_path], self.folder / "router.log")
        return self


def routers(setting, delayed, name, kind):
    suffix = "-delayed" if delayed else ""
    far = kind(f"{name}-far{suffix}", setting.folder, setting.authority)
    near = kind(f"{name}-near{suffix}", setting.folder, setting.authority)
    near.connect_to(setting.between(far.listen_for_routers(), delayed))
    entries = {}
    for service, port in setting.servers.items():
        entries[service] = near.tcp_listener(service)
        far.tcp_connector(service, port)
    for router in (far, near):
        router.start()
        setting.started.append(router.process)
    return setting.await_entries(System(name, entries, [near.process, far.process], is_pair=False))


def ours(setting, delayed=False):
    return routers(setting, delayed, "skupper", Router)


def skrouterd(setting, delayed=False):
    OtherRouter.program = os.environ["SKROUTERD"]
    return routers(setting, delayed, "skrouterd", OtherRouter)


def identity(setting, name):
    """(certificate, key, both in one file)"""
    folder = setting.authority.issue(name)
    both = folder / "both.pem"
    both.write_text((folder / "tls.crt").read_text() + (folder / "tls.key").read_text())
    return folder / "tls.crt", folder / "tls.key", both


def most_connections():
    """HAProxy refuses to start when two descriptors for each connection may not be had."""
    return min(50_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 500) // 2)


def haproxy(setting, delayed=False):
    """TCP in, mutual TLS between, TCP out; the same cipher as ours, threads as HAProxy itself chooses."""
    common = f"""global
    maxconn {most_connections()}
    ssl-default-bind-ciphersuites {CIPHER}
    ssl-default-server-ciphersuites {CIPHER}
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode tcp
    timeout connect 10s
    timeout client 300s
    timeout server 300s
"""
    ca = setting.authority.certificate
    near, far, entries = common, common, {}
    for name, port in setting.servers.items():
        entry, middle = free_port(), free_port()
        entries[name] = entry
        far += f"""frontend {name}
    bind 127.0.0.1:{middle} ssl crt {identity(setting, 'haproxy-far')[2]} ca-file {ca} verify required
    default_backend {name}
backend {name}
    server it 127.0.0.1:{port}
"""
        near += f"""frontend {name}
    bind 127.0.0.1:{entry}
    default_backend {name}
backend {name}
    server far 127.0.0.1:MIDDLE-{middle}- ssl crt {identity(setting, 'haproxy-near')[2]} ca-file {ca} verify required \
sni str(localhost) verifyhost localhost
"""
    return two_programs(setting, delayed, "HAProxy", entries, far, near,
                        lambda path: [find("haproxy"), "-db", "-f", path])


def nginx(setting, delayed=False):
    """The stream module, with a worker for each processor."""
    ca = setting.authority.certificate
    parts = {}
    entries = {}
    for side in ("far", "near"):
        prefix = setting.folder / f"nginx-{side}-{delayed}"
        prefix.mkdir()
        parts[side] = f"""daemon off;
worker_processes auto;
worker_rlimit_nofile 65536;
pid {prefix}/pid;
error_log {prefix}/error.log warn;
load_module {nginx_stream_module()};
events {{ worker_connections 30000; }}
stream {{
    tcp_nodelay on;
    proxy_timeout 300s;
"""
    certificate, key, _ = identity(setting, "nginx-far")
    client_certificate, client_key, _ = identity(setting, "nginx-near")
    for name, port in setting.servers.items():
        entry, middle = free_port(), free_port()
        entries[name] = entry
        parts["far"] += f"""    server {{
        listen 127.0.0.1:{middle} ssl backlog=4096;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_client_certificate {ca};
        ssl_verify_client on;
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites {CIPHER};
        proxy_pass 127.0.0.1:{port};
    }}
"""
        parts["near"] += f"""    server {{
        listen 127.0.0.1:{entry} backlog=4096;
        proxy_pass 127.0.0.1:MIDDLE-{middle}-;
        proxy_ssl on;
        proxy_ssl_certificate {client_certificate};
        proxy_ssl_certificate_key {client_key};
        proxy_ssl_trusted_certificate {ca};
        proxy_ssl_verify on;
        proxy_ssl_name localhost;
        proxy_ssl_protocols TLSv1.3;
        proxy_ssl_conf_command Ciphersuites {CIPHER};
    }}
"""
    return two_programs(setting, delayed, "nginx", entries, parts["far"] + "}\n", parts["near"] + "}\n",
                        lambda path: [find("nginx"), "-p", setting.folder, "-c", path])


def stunnel(setting, delayed=False):
    ca = setting.authority.certificate
    common = f"""foreground = yes
debug = err
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
sslVersion = TLSv1.3
ciphersuites = {CIPHER}
CAfile = {ca}
verifyChain = yes
"""
    far = common + f"cert = {identity(setting, 'stunnel-far')[2]}\n"
    near = common + f"cert = {identity(setting, 'stunnel-near')[2]}\n"
    entries = {}
    for name, port in setting.servers.items():
        entry, middle = free_port(), free_port()
        entries[name] = entry
        far += f"[{name}]\naccept = 127.0.0.1:{middle}\nconnect = 127.0.0.1:{port}\n"
        near += (f"[{name}]\nclient = yes\naccept = 127.0.0.1:{entry}\nconnect = 127.0.0.1:MIDDLE-{middle}-\n"
                 "checkHost = localhost\n")
    return two_programs(setting, delayed, "stunnel", entries, far, near, lambda path: [find("stunnel4"), path])


def two_programs(setting, delayed, name, entries, far, near, command):
    """Starts the far program, then the near one with the ports at which it finds the far one."""
    import re
    suffix = "-delayed" if delayed else ""
    processes = []
    for side, text in (("far", far), ("near", near)):
        for middle in set(re.findall(r"MIDDLE-(\d+)-", text)):
            wait_until(f"{name} on port {middle}", lambda p=int(middle): can_connect(p), 20)
            text = text.replace(f"MIDDLE-{middle}-", str(setting.between(int(middle), delayed)))
        path = setting.folder / f"{name}-{side}{suffix}.conf"
        path.write_text(text)
        processes.append(setting.spawn(f"{name}-{side}{suffix}", *command(path)))
    return setting.await_entries(System(name, entries, processes))


def find(program):
    return shutil.which(program) or f"/usr/sbin/{program}"


def nginx_stream_module():
    for path in ("/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"):
        if os.path.exists(path):
            return path
    raise FileNotFoundError("nginx's stream module is missing; install libnginx-mod-stream")


def all_systems():
    """The functions that start each system, ours among them; those whose program is missing are left out, and said."""
    found = [direct, floor, ours]
    for start, program in ((haproxy, "haproxy"), (nginx, "nginx"), (stunnel, "stunnel4")):
        if os.path.exists(find(program)):
            found.append(start)
        else:
            print(f"{program} is not installed: its pair is left out", file=sys.stderr)
    if os.environ.get("SKROUTERD"):
        found.append(skrouterd)
    return found


def versions():
    """What the compared programs call themselves."""
    result = {}
    for name, command in (("haproxy", ["haproxy", "-v"]), ("nginx", ["nginx", "-v"]),
                          ("stunnel", ["stunnel4", "-version"]), ("iperf3", ["iperf3", "--version"]),
                          ("openssl", ["openssl", "version"])):
        try:
            done = subprocess.run([find(command[0]), *command[1:]], capture_output=True, text=True, timeout=10)
            result[name] = (done.stdout + done.stderr).splitlines()[0]
        except (OSError, IndexError, subprocess.TimeoutExpired):
            pass
    result["host"] = socket.gethostname()
    return result

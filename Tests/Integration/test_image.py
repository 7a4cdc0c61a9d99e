"""The container image: what is in it, and that its programs run from it as in a pod: not as root, root file system
read-only, no right to gain rights. No container engine is needed: mount and chroot do what one would do."""

import hashlib
import json
import os
import pathlib
import shutil
import stat
import subprocess
import tarfile
import tempfile
import unittest
import urllib.request

from harness import BIN, ROOT, SANITIZED, SLOWNESS, free_port, wait_until

USER = 65532
LIMIT = 60_000_000
# In a mount namespace of its own: the folder $1 becomes a root that cannot be written, with the folder $2 as the
# volume /etc/skupper-router-certs; then the rest of the arguments run there as the image's user.
POD = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount --rbind /proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --bind "$2" "$1/etc/skupper-router-certs"
root="$1"
shift 2
exec setpriv --no-new-privs chroot --userspec=65532:65532 --groups= "$root" "$@"
"""


def is_static():
    """True when the programs bring their Swift runtime along, as in the image."""
    done = subprocess.run(["ldd", BIN / "skupper-router"], capture_output=True, text=True)
    return done.returncode == 0 and "libswiftCore" not in done.stdout


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if SANITIZED or not is_static():
            raise unittest.SkipTest("the image is made of release programs with a static Swift runtime")
        if not shutil.which("dpkg-query"):
            raise unittest.SkipTest("the image's libraries come from Debian packages")
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="image-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        # Pods of another user walk through it.
        cls.folder.chmod(0o755)
        cls.archive = cls.folder / "image.tar"
        done = subprocess.run([ROOT / "deploy/image/build.sh", "--bin", BIN, "--output", cls.archive],
                              capture_output=True, text=True, timeout=200 * SLOWNESS)
        if done.returncode != 0:
            raise AssertionError(f"build.sh ended with {done.returncode}: {done.stdout}{done.stderr}")
        cls.rootfs = cls.folder / "rootfs"
        cls.unpack()

    @classmethod
    def unpack(cls):
        """Reads the archive as a registry would: index, manifest, configuration, layer, each by its digest."""
        with tarfile.open(cls.archive) as tar:
            def blob(descriptor):
                content = tar.extractfile("blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")).read()
                assert "sha256:" + hashlib.sha256(content).hexdigest() == descriptor["digest"], descriptor
                assert len(content) == descriptor["size"], descriptor
                return content

            index = json.load(tar.extractfile("index.json"))
            manifest = json.loads(blob(index["manifests"][0]))
            cls.configuration = json.loads(blob(manifest["config"]))
            layer = cls.folder / "layer.tar.gz"
            layer.write_bytes(blob(manifest["layers"][0]))
            docker = json.load(tar.extractfile("manifest.json"))[0]
            cls.docker_names = docker["RepoTags"]
            assert tar.getmember(docker["Config"]) and tar.getmember(docker["Layers"][0])
        with tarfile.open(layer) as tar:
            cls.entries = tar.getmembers()
            tar.extractall(cls.rootfs)
        for place in ("proc", "dev", "etc/skupper-router-certs"):
            (cls.rootfs / place).mkdir()

    def test_is_small_and_holds_nothing_to_break_in_with(self):
        self.assertLess(sum(entry.size for entry in self.entries), LIMIT)
        names = {entry.name for entry in self.entries}
        for program in ("skupper", "skupper-router", "skupper-controller"):
            self.assertIn(f"usr/bin/{program}", names)
        self.assertEqual(len([name for name in names if name.startswith("usr/bin/")]), 3, "no shell, no tools")
        for entry in self.entries:
            self.assertEqual((entry.uid, entry.gid), (0, 0), entry.name)
            self.assertFalse(entry.mode & (stat.S_ISUID | stat.S_ISGID), entry.name)
            if entry.isfile():
                self.assertFalse(entry.mode & 0o022, f"{entry.name} can be written by others")

    def test_says_who_it_is_and_what_it_is_made_of(self):
        config = self.configuration["config"]
        self.assertEqual(config["User"], f"{USER}:{USER}")
        wanted = (ROOT / "deploy/kubernetes/images.txt").read_text().split()
        self.assertEqual(self.docker_names, wanted)
        packages = {path.name for path in (self.rootfs / "var/lib/dpkg/status.d").iterdir()}
        self.assertIn("libc6", packages)
        for package in packages:
            self.assertTrue((self.rootfs / "usr/share/doc" / package / "copyright").stat().st_size, package)

    def test_same_content_gives_the_same_archive(self):
        again = [self.folder / "again-1.tar", self.folder / "again-2.tar"]
        source = self.folder / "small"
        shutil.copytree(self.rootfs / "etc", source / "etc", ignore=lambda *_: ["skupper-router-certs"])
        for target in again:
            os.utime(source / "etc")
            subprocess.run(["python3", ROOT / "deploy/image/oci_archive.py", source, target, "localhost/small:1"],
                           check=True, capture_output=True)
        self.assertEqual(again[0].read_bytes(), again[1].read_bytes())

    # --- running --------------------------------------------------------------------------------------------

    def pod(self, volume, *command, **environment):
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("mounting needs root, and setpriv of util-linux")
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", POD, "pod", self.rootfs, volume, *command],
            env={"PATH": os.environ["PATH"], **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)

        def end():
            if process.poll() is None:
                process.kill()
            process.communicate()

        self.addCleanup(end)
        return process

    def volume(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="volume-", dir=self.folder))
        os.chown(folder, USER, USER)
        return folder

    def run_in_pod(self, *command):
        process = self.pod(self.volume(), *command)
        output, _ = process.communicate(timeout=20 * SLOWNESS)
        return process.returncode, output

    def test_every_program_starts(self):
        for program in ("skupper", "skupper-router", "skupper-controller"):
            argument = "version" if program == "skupper" else "--version"
            code, output = self.run_in_pod(f"/usr/bin/{program}", argument)
            self.assertEqual(code, 0, output)
            self.assertRegex(output, r"^\d+\.\d+\.\d+")

    def test_router_runs_as_its_user_and_stops_in_order(self):
        volume, port = self.volume(), free_port()
        (volume / "skrouterd.json").write_text(json.dumps([
            ["router", {"id": "west-${HOSTNAME}", "mode": "interior"}],
            ["listener", {"name": "@9090", "role": "normal", "host": "127.0.0.1", "port": port, "http": True,
                          "healthz": True, "metrics": True}]]))
        # As the router's Deployment does: no arguments, the configuration named in the environment.
        command = self.configuration["config"]["Cmd"]
        router = self.pod(volume, *command, HOSTNAME="pod-1",
                          QDROUTERD_CONF="/etc/skupper-router-certs/skrouterd.json", QDROUTERD_CONF_TYPE="json")

        def healthy():
            self.assertIsNone(router.poll(), "the router ended")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
                return answer.status == 200

        wait_until("the router's health", healthy, 20)
        status = dict(line.split(":\t", 1) for line in
                      pathlib.Path(f"/proc/{router.pid}/status").read_text().splitlines() if ":\t" in line)
        self.assertEqual(status["Uid"].split(), [str(USER)] * 4)
        self.assertEqual(status["Groups"].split(), [])
        self.assertEqual(int(status["CapEff"], 16), 0)
        self.assertEqual(status["NoNewPrivs"].strip(), "1")
        self.assertTrue(os.readlink(f"/proc/{router.pid}/exe").endswith("rootfs/usr/bin/skupper-router"))
        options = next(line.split()[5] for line in
                       pathlib.Path(f"/proc/{router.pid}/mountinfo").read_text().splitlines()
                       if line.split()[4] == "/")
        self.assertIn("ro", options.split(","))
        router.terminate()
        router.communicate(timeout=20 * SLOWNESS)
        self.assertEqual(router.returncode, 0)

    def test_controller_runs_a_site(self):
        volume = self.volume()
        home = {"SKUPPER_OUTPUT_PATH": "/etc/skupper-router-certs/home", "SKUPPER_PLATFORM": "linux"}
        create = self.pod(volume, "/usr/bin/skupper", "site", "create", "west", "-n", "west", **home)
        output, _ = create.communicate(timeout=20 * SLOWNESS)
        self.assertEqual(create.returncode, 0, output)
        controller = self.pod(volume, "/usr/bin/skupper-controller", "--platform", "linux", "-n", "west",
                              "--foreground", **home)
        status = volume / "home/namespaces/west/runtime/resources/Site-west.yaml"

        def running():
            self.assertIsNone(controller.poll(), "the controller ended")
            return status.is_file() and "status: Ready" in status.read_text()

        wait_until("the site to be Ready", running, 40)
        controller.terminate()
        controller.communicate(timeout=30 * SLOWNESS)
        self.assertEqual(controller.returncode, 0)


if __name__ == "__main__":
    unittest.main()

"""Packs a folder into an image archive: an OCI image layout (image-spec 1.0) with docker's manifest.json beside it.

    oci_archive.py ROOTFS ARCHIVE NAME:TAG

The same folder gives the same archive: entries are sorted, belong to root and have the time SOURCE_DATE_EPOCH (else 0).
"""

import gzip
import hashlib
import io
import json
import os
import pathlib
import platform
import sys
import tarfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
USER = "65532:65532"
COMMAND = ["/usr/bin/skupper-router"]
OCI = "application/vnd.oci.image"


def entry(name, size=0, time=0, mode=0o644, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode, info.type, info.linkname = size, time, mode, kind, link
    return info


def layer_of(root, time):
    """The folder as an uncompressed tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            name, mode = str(path.relative_to(root)), path.lstat().st_mode & 0o7777
            if path.is_symlink():
                tar.addfile(entry(name, 0, time, 0o777, tarfile.SYMTYPE, os.readlink(path)))
            elif path.is_dir():
                tar.addfile(entry(name, 0, time, mode, tarfile.DIRTYPE))
            else:
                content = path.read_bytes()
                tar.addfile(entry(name, len(content), time, mode), io.BytesIO(content))
    return buffer.getvalue()


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def main():
    root, archive, name = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    time = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    layer = layer_of(root, time)
    packed = gzip.compress(layer, 9, mtime=0)
    config = json.dumps({
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()), "os": "linux",
        "config": {"User": USER, "Cmd": COMMAND, "WorkingDir": "/", "Env": ["PATH=/usr/bin"],
                   "Labels": {"org.opencontainers.image.title": "skupper", "org.opencontainers.image.version":
                              name.rsplit(":", 1)[1], "org.opencontainers.image.licenses": "Apache-2.0"}},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        "history": [{"created_by": "deploy/image/build.sh"}]}, sort_keys=True).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json",
        "config": {"mediaType": f"{OCI}.config.v1+json", "digest": digest(config), "size": len(config)},
        "layers": [{"mediaType": f"{OCI}.layer.v1.tar+gzip", "digest": digest(packed), "size": len(packed)}],
    }, sort_keys=True).encode()
    index = json.dumps({"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": [{
        "mediaType": f"{OCI}.manifest.v1+json", "digest": digest(manifest), "size": len(manifest),
        "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]},
    }]}, sort_keys=True).encode()
    blob = {content: "blobs/sha256/" + digest(content).split(":")[1] for content in (config, manifest, packed)}
    docker = json.dumps([{"Config": blob[config], "RepoTags": [name], "Layers": [blob[packed]]}]).encode()
    files = [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index), ("manifest.json", docker)]
    files += sorted((path, content) for content, path in blob.items())
    temporary = f"{archive}.new"
    with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for folder in ("blobs", "blobs/sha256"):
            tar.addfile(entry(folder, 0, time, 0o755, tarfile.DIRTYPE))
        for path, content in files:
            tar.addfile(entry(path, len(content), time), io.BytesIO(content))
    os.replace(temporary, archive)
    print(f"{archive}: image {name}, {len(layer) / 1e6:.1f} MB unpacked, {len(packed) / 1e6:.1f} MB to transfer")


if __name__ == "__main__":
    main()

#!/usr/bin/env bash
# Builds the image without a container registry and without a container engine, as one archive file.
#
#   deploy/image/build.sh [--bin DIR] [--output FILE] [--name NAME]
#
#   --bin DIR      take programs that are built already (with a static Swift runtime); else they are built
#   --output FILE  where the archive goes; else skupper-image.tar
#   --name NAME    the image's name; else localhost/skupper:0.1.0, as in deploy/kubernetes/install.yaml
#
# The archive is an OCI image layout that docker understands too. Load it with one of
#   podman load -i FILE      docker load -i FILE      ctr -n k8s.io images import FILE
#   kind load image-archive FILE      skopeo copy oci-archive:FILE docker://REGISTRY/skupper:0.1.0
# The same programs and libraries give the same archive, octet for octet.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/packages.sh
. "$HERE/../packages.sh"

OUTPUT="skupper-image.tar"
NAME="localhost/skupper:0.1.0"
TAKEN=()
while [ $# -gt 0 ]; do
    case "$1" in
        --bin) TAKEN=(--bin "${2:-}") && shift ;;
        --output) OUTPUT="${2:-}" && shift ;;
        --name) NAME="${2:-}" && shift ;;
        -h | --help)
            sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        *) die "unknown argument '$1' (try --help)" ;;
    esac
    shift
done
[ -n "$OUTPUT" ] || die "--output needs a file name"
[[ "$NAME" =~ ^[a-z0-9][a-z0-9._:/-]*:[A-Za-z0-9._-]+$ ]] || die "'$NAME' is no image name with a tag"

install_packages python3 ca-certificates binutils
SCRATCH="$(mktemp -d)"
trap 'rm -rf "$SCRATCH"' EXIT
"$HERE/rootfs.sh" "$SCRATCH/rootfs" ${TAKEN[@]+"${TAKEN[@]}"}
python3 "$HERE/oci_archive.py" "$SCRATCH/rootfs" "$OUTPUT" "$NAME"

#!/usr/bin/env bash
# Lays out the root file system of the image: the three programs and the Debian libraries they are linked to.
#
#   deploy/image/rootfs.sh FOLDER             builds the programs, then fills FOLDER, which must not exist
#   deploy/image/rootfs.sh FOLDER --bin DIR   takes programs that are built already (with a static Swift runtime)
#
# Everything else comes from the Debian packages that are installed here, which is what the programs were linked to; no
# container registry is needed. There is no shell in it. For each package that gives a file, its copyright and an entry
# for scanners (/var/lib/dpkg/status.d) go along.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/packages.sh
. "$HERE/../packages.sh"

PROGRAMS=(skupper skupper-router skupper-controller)

ROOTFS=""
BIN=""
while [ $# -gt 0 ]; do
    case "$1" in
        --bin)
            BIN="${2:-}"
            [ -d "$BIN" ] || die "--bin needs the folder of the programs; '$BIN' is none"
            shift
            ;;
        -h | --help)
            sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        -*) die "unknown option '$1' (try --help)" ;;
        *) ROOTFS="$1" ;;
    esac
    shift
done
[ -n "$ROOTFS" ] || die "the folder to fill is missing (try --help)"
[ ! -e "$ROOTFS" ] || die "$ROOTFS is there already; name a new folder"
command -v dpkg-query >/dev/null || die "this is not Debian: build the image with deploy/image/Containerfile instead"

if [ -z "$BIN" ]; then
    install_packages "${BUILD_PACKAGES[@]}" ca-certificates
    find_swift
    build_programs "$HERE/../.."
fi

# owner FILE: the package a file belongs to. Files are known by the name from before /lib became a link to /usr/lib.
owner() {
    local name
    for name in "$1" "/usr$1" "${1#/usr}"; do
        if dpkg-query -S "$name" 2>/dev/null | sed -n '1s/:.*//p' | grep .; then return; fi
    done
    return 1
}

# libraries: the files that the dynamic linker loads for the programs, and the linker itself.
libraries() {
    local program listing
    for program in "${PROGRAMS[@]}"; do
        listing="$(ldd "$BIN/$program")" || die "$BIN/$program is missing or cannot be read"
        case "$listing" in
            *"not found"*) die "$program lacks a library here: $(grep 'not found' <<<"$listing" | head -n 1)" ;;
            *libswiftCore*) die "$program needs a Swift runtime beside it: build it with --static-swift-stdlib" ;;
        esac
        awk '/=> \// { print $3 } /^[ \t]*\// { print $1 }' <<<"$listing"
    done | sort -u
}

mkdir -p "$ROOTFS"/{etc/ssl/certs,tmp,usr/{bin,lib,lib64,share/doc},var/lib/dpkg/status.d}
# As in Debian: the folders of old are links.
ln -s usr/lib "$ROOTFS/lib"
ln -s usr/lib64 "$ROOTFS/lib64"
ln -s usr/bin "$ROOTFS/bin"
chmod 1777 "$ROOTFS/tmp"

for program in "${PROGRAMS[@]}"; do
    install -m 0755 "$BIN/$program" "$ROOTFS/usr/bin/$program"
    # Names of functions in back traces are not worth twice the size.
    strip --strip-unneeded "$ROOTFS/usr/bin/$program"
done

packages=(ca-certificates)
while read -r library; do
    mkdir -p "$ROOTFS/usr${library%/*}"
    install -m 0755 "$(readlink -f "$library")" "$ROOTFS/usr${library#/usr}"
    packages+=("$(owner "$library")") || die "no Debian package owns $library: the image would not say where it is from"
done < <(libraries)

for package in $(printf '%s\n' "${packages[@]}" | sort -u); do
    mkdir "$ROOTFS/usr/share/doc/$package"
    install -m 0644 "$(readlink -f "/usr/share/doc/$package/copyright")" "$ROOTFS/usr/share/doc/$package/copyright"
    dpkg-query -s "$package" >"$ROOTFS/var/lib/dpkg/status.d/$package"
done
mkdir "$ROOTFS/usr/share/doc/skupper"
install -m 0644 "$HERE/../../LICENSE" "$ROOTFS/usr/share/doc/skupper/copyright"
install -m 0644 /etc/ssl/certs/ca-certificates.crt "$ROOTFS/etc/ssl/certs/ca-certificates.crt"

printf 'root:x:0:0:root:/:/nonexistent\nskupper:x:65532:65532:skupper:/tmp:/nonexistent\n' >"$ROOTFS/etc/passwd"
printf 'root:x:0:\nskupper:x:65532:\n' >"$ROOTFS/etc/group"
printf 'hosts: files dns\n' >"$ROOTFS/etc/nsswitch.conf"
cp /etc/os-release "$ROOTFS/etc/os-release"
find "$ROOTFS" -type f -path "$ROOTFS/etc/*" -exec chmod 0644 {} +
say "$ROOTFS: $(du -sb --apparent-size "$ROOTFS" | cut -f1) octets of ${#packages[@]} libraries and 3 programs"

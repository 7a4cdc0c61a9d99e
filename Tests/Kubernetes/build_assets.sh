#!/usr/bin/env bash
# Makes the API server that the tests of this folder run against, of Debian packages: etcd, and kube-apiserver built of
# the source package `kubernetes` (1.20.2, the last one that brings its dependencies along). About six minutes of
# processor time and 3 GB below the temporary folder; nothing when the two programs are there already.
#
#   Tests/Kubernetes/build_assets.sh FOLDER        then: export KUBEBUILDER_ASSETS=FOLDER
#
# ASSETS_CACHE names a folder that keeps compiled packages between runs.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/packages.sh
. "$HERE/../../deploy/packages.sh"

VERSION="1.20.5+really1.20.2-1.1+deb12u1"
[ $# = 1 ] && [[ "$1" != -* ]] || {
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 1
}
mkdir -p "$1"
TARGET="$(cd "$1" && pwd)"
if [ -x "$TARGET/etcd" ] && [ -x "$TARGET/kube-apiserver" ]; then
    say "$TARGET has both programs"
    exit 0
fi

WORK="$(mktemp -d)"
trap 'rm -rf "$WORK"' EXIT
cd "$WORK"
install_packages golang-1.19-go ca-certificates

# Downloaded and unpacked, not installed: the package etcd-server would start a service.
say "Fetching etcd and the source of kube-apiserver"
printf 'deb-src http://deb.debian.org/debian bookworm main\n' >sources
mkdir -p lists/partial
APT=(-q -o "Dir::Etc::sourcelist=$WORK/sources" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$WORK/lists"
    -o APT::Sandbox::User=root)
{
    apt-get -q -o APT::Sandbox::User=root download etcd-server golang-github-modern-go-reflect2-dev
    apt-get "${APT[@]}" update
    apt-get "${APT[@]}" source --download-only "kubernetes=$VERSION"
} >apt.log 2>&1 || die "apt-get failed: $(tail -n 3 apt.log)"
for package in ./*.deb; do dpkg -x "$package" unpacked; done
install -m 0755 unpacked/usr/bin/etcd "$TARGET/etcd"

export GOPATH="$WORK/go" GOCACHE="${ASSETS_CACHE:-$WORK/cache}" CGO_ENABLED=0 GOPROXY=off GO111MODULE=off GOFLAGS=
export PATH="/usr/lib/go-1.19/bin:$PATH"
SOURCE="$GOPATH/src/k8s.io/kubernetes"
mkdir -p "$SOURCE"
tar -C "$SOURCE" --strip-components=1 -xf kubernetes_*.orig.tar.gz
cd "$SOURCE"
# The copy of 2018 reads maps in a way that Go 1.19 no longer has; the server would crash at the first custom resource.
rm -rf vendor/github.com/modern-go/reflect2
cp -r "$WORK/unpacked/usr/share/gocode/src/github.com/modern-go/reflect2" vendor/github.com/modern-go/reflect2
rm -f vendor/github.com/modern-go/reflect2/*_test.go

say "Generating the description of its types"
go build -trimpath -o "$WORK/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
packages="$(grep -lrE --include=*.go '^// ?\+k8s:openapi-gen=true' pkg cmd staging/src/k8s.io | grep -v _test.go |
    xargs -n1 dirname | sort -u | sed -E 's#^staging/src/#k8s.io/kubernetes/vendor/#; t; s#^#k8s.io/kubernetes/#' |
    grep -vE 'sample|code-generator|test' | paste -sd,)"
"$WORK/openapi-gen" -i "$packages" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
    -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r "$WORK/violations" >"$WORK/generate.log" 2>&1 ||
    die "openapi-gen failed: $(tail -n 3 "$WORK/generate.log")"

say "Building kube-apiserver (minutes)"
go build -trimpath -ldflags "-s -w" -o "$TARGET/kube-apiserver.new" ./cmd/kube-apiserver
mv "$TARGET/kube-apiserver.new" "$TARGET/kube-apiserver"
say "$TARGET has both programs"

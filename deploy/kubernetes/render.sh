#!/usr/bin/env bash
# Puts the installation manifests together from their parts in crds/ and controller/.
#
#   deploy/kubernetes/render.sh                  writes install.yaml, install-namespaced.yaml and images.txt anew
#   deploy/kubernetes/render.sh --check          changes nothing; fails when one of them is not made of the parts
#   deploy/kubernetes/render.sh --image IMAGE [cluster|namespaced]
#                                                prints that manifest for an image of your registry
#
# install.yaml             definitions, and a controller in namespace skupper that looks after all namespaces
# install-namespaced.yaml  a controller that looks after the namespace it is applied to, with rights there only
# images.txt               every image that an installation pulls, for clusters without a way out
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# The name that deploy/image/build.sh gives to the image.
IMAGE="localhost/skupper:0.1.0"

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# document FILE: the file as one document of a stream.
document() {
    printf -- '---\n'
    cat "$1"
}

# in_namespace FILE: the same, as an object of namespace skupper.
in_namespace() {
    document "$1" | awk '/^metadata:/ { print; print "  namespace: skupper"; next } { print }'
}

# role KIND BINDING: the rules as a role of that kind, and its binding to the controller.
role() {
    cat <<YAML
---
apiVersion: rbac.authorization.k8s.io/v1
kind: $1
metadata:
  name: skupper-controller
  labels:
    app.kubernetes.io/name: skupper-controller
    app.kubernetes.io/part-of: skupper
rules:
$(sed 's/^/  /' "$HERE/controller/rules.yaml")
YAML
    if [ "$1" = ClusterRole ]; then
        # Names of nodes tell nobody's secrets; the address of one is needed for access type nodeport.
        printf '  - apiGroups: [""]\n    resources: [nodes]\n    verbs: [get, list]\n'
    fi
    cat <<YAML
---
apiVersion: rbac.authorization.k8s.io/v1
kind: $2
metadata:
  name: skupper-controller
  labels:
    app.kubernetes.io/name: skupper-controller
    app.kubernetes.io/part-of: skupper
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: $1
  name: skupper-controller
subjects:
  - kind: ServiceAccount
    name: skupper-controller
YAML
    if [ "$1" = ClusterRole ]; then printf '    namespace: skupper\n'; fi
}

# manifest cluster|namespaced: a whole manifest.
manifest() {
    local crd watch
    echo "# Made by deploy/kubernetes/render.sh of the parts beside it; change those."
    case "$1" in
        cluster)
            for crd in "$HERE"/crds/*.yaml; do document "$crd"; done
            document "$HERE/controller/namespace.yaml"
            in_namespace "$HERE/controller/service-account.yaml"
            role ClusterRole ClusterRoleBinding
            watch='value: ""'
            in_namespace "$HERE/controller/deployment.yaml" | fill "$watch"
            ;;
        namespaced)
            document "$HERE/controller/service-account.yaml"
            role Role RoleBinding
            watch=$'valueFrom:\n                fieldRef:\n                  fieldPath: metadata.namespace'
            document "$HERE/controller/deployment.yaml" | fill "$watch"
            ;;
        *) die "there is no manifest '$1': cluster or namespaced" ;;
    esac
}

# images: what the pods of an installation run, one a line.
images() {
    manifest cluster | sed -nE 's/^ *(- )?image: //p; /_IMAGE$/ { n; s/^ *value: //p }' | sort -u
}

# fill WATCH: puts the image and the namespace to watch into a deployment.
fill() {
    local text
    text="$(cat)"
    text="${text//'${IMAGE}'/$IMAGE}"
    printf '%s\n' "${text//'${WATCH_NAMESPACE}'/$1}"
}

# check FILE COMMAND...: fails when FILE is not what the command prints.
check() {
    diff -u --label "$1" --label "$1, made of the parts" "$HERE/$1" <("${@:2}") >&2 ||
        die "deploy/kubernetes/$1 is not made of its parts: run deploy/kubernetes/render.sh"
}

case "${1:-}" in
    "")
        manifest cluster >"$HERE/install.yaml"
        manifest namespaced >"$HERE/install-namespaced.yaml"
        images >"$HERE/images.txt"
        ;;
    --check)
        check install.yaml manifest cluster
        check install-namespaced.yaml manifest namespaced
        check images.txt images
        ;;
    --image)
        [ -n "${2:-}" ] || die "--image needs the name of an image"
        [[ "$2" =~ ^[A-Za-z0-9][A-Za-z0-9._:/@-]*$ ]] || die "'$2' is no name of an image"
        IMAGE="$2"
        manifest "${3:-cluster}"
        ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" ;;
    *) die "unknown argument '$1' (try --help)" ;;
esac

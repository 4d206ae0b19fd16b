#!/usr/bin/env bash
# Builds the image "samotop" with buildah, podman or docker, whichever is there, and writes it to DIRECTORY/samotop-image.tar
# (default: build), which "podman load" and "docker load" read. The same commit gives the same layer.
#   dist/container/build.sh [DIRECTORY]
#   BUILDER=docker VERSION=1.2.3 dist/container/build.sh
#   BUILDER=rootfs dist/container/build.sh      # only what the image holds, in DIRECTORY/rootfs
set -euo pipefail
umask 022
cd "$(dirname "$0")/../.."
out=$(realpath -m "${1:-build}")
: "${GO:=go}"
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
: "${VERSION:=0.0-git$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d.%H%M%S)}"
: "${CA_CERTIFICATES:=/etc/ssl/certs/ca-certificates.crt}"
: "${TAG:=samotop:$VERSION}"
builder=${BUILDER:-}
for b in buildah podman docker; do
  if [ -z "$builder" ] && command -v $b >/dev/null; then builder=$b; fi
done
if [ -z "$builder" ]; then echo "none of buildah, podman and docker is installed" >&2; exit 1; fi
if [ ! -r "$CA_CERTIFICATES" ]; then echo "$CA_CERTIFICATES: the authorities by which other servers are checked are not there: install ca-certificates, or set CA_CERTIFICATES" >&2; exit 1; fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
root=$context/rootfs
install -d "$root/etc/ssl/certs" "$root/var/lib"
install -d -m 1777 "$root/tmp"
CGO_ENABLED=0 GOOS=linux $GO build -trimpath -buildvcs=false -tags timetzdata -ldflags "-s -w -X main.version=$VERSION" -o "$root/samotop" ./cmd/samotop
for name in sendmail mailq newaliases; do ln -s samotop "$root/$name"; done
install -m 644 "$CA_CERTIFICATES" "$root/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0:root:/:/\nsamotop:x:65532:65532:samotop:/var/lib/samotop:/\n' >"$root/etc/passwd"
printf 'root:x:0:\nsamotop:x:65532:\n' >"$root/etc/group"
install -d -m 711 "$root/var/lib/samotop" "$root/var/lib/samotop/spool"
for d in accounts mails queue journal evidence dkim tls run; do install -d -m 700 "$root/var/lib/samotop/$d"; done # each may be a volume
cp dist/container/Containerfile "$context/Containerfile"
# Volumes begin with the owners of these directories; only root can say whose they are before they are copied.
if [ "$(id -u)" = 0 ]; then chown -R 65532:65532 "$root/var/lib/samotop"; else echo 'COPY --chown=65532:65532 rootfs/var/lib/samotop/ /var/lib/samotop/' >>"$context/Containerfile"; fi
find "$root" -exec touch --no-dereference -d "@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$out"
if [ "$builder" = rootfs ]; then
  rm -rf "$out/rootfs"
  cp -a "$root" "$out/rootfs"
  echo "$out/rootfs"
  exit
fi
archive=$out/samotop-image.tar
rm -f "$archive"
case $builder in
  buildah)
    buildah bud --quiet --isolation chroot --format docker --timestamp "$SOURCE_DATE_EPOCH" --tag "$TAG" "$context" >/dev/null
    buildah push --quiet "$TAG" "docker-archive:$archive:$TAG" ;;
  podman)
    podman build --quiet --format docker --timestamp "$SOURCE_DATE_EPOCH" --tag "$TAG" "$context" >/dev/null
    podman save --quiet --format docker-archive --output "$archive" "$TAG" ;;
  docker)
    SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH docker build --quiet --file "$context/Containerfile" --tag "$TAG" "$context" >/dev/null
    docker save --output "$archive" "$TAG" ;;
  *) echo "BUILDER=$builder: write buildah, podman or docker" >&2; exit 1 ;;
esac
echo "$archive ($TAG)"

#!/usr/bin/env bash
# Builds samotop_VERSION_ARCH.deb into a directory (default: build). The same commit gives the same octets: times are those of
# SOURCE_DATE_EPOCH, by default the commit's.
#   dist/deb/build.sh [DIRECTORY]
#   VERSION=1.2.3 GOARCH=arm64 dist/deb/build.sh
set -euo pipefail
umask 022
cd "$(dirname "$0")/../.."
out=$(realpath -m "${1:-build}")
: "${GO:=go}"
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
: "${VERSION:=0.0~git$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d.%H%M%S)}"
goarch=${GOARCH:-$($GO env GOARCH)}
case $goarch in
  386) arch=i386 ;; arm) arch=armhf ;; ppc64le) arch=ppc64el ;; *) arch=$goarch ;;
esac

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
put() { install -D -m "$1" "$2" "$root/$3"; } # MODE FILE PLACE
doc=usr/share/doc/samotop

CGO_ENABLED=0 GOOS=linux GOARCH=$goarch $GO build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o "$root/usr/bin/samotop" ./cmd/samotop
# What describes the verbs is printed by a program that runs here.
native=$root/usr/bin/samotop
if [ "$goarch" != "$($GO env GOHOSTARCH)" ]; then
  native=$(mktemp)
  trap 'rm -rf "$root" "$native"' EXIT
  CGO_ENABLED=0 GOOS= GOARCH= $GO build -trimpath -buildvcs=false -ldflags "-X main.version=$VERSION" -o "$native" ./cmd/samotop
fi
describe() { mkdir -p "$root/$(dirname "$1")"; "$native" "${@:2}" >"$root/$1"; } # PLACE VERB...
describe usr/share/man/man1/samotop.1 man
describe usr/share/bash-completion/completions/samotop completion bash
describe usr/share/zsh/vendor-completions/_samotop completion zsh
describe usr/share/fish/vendor_completions.d/samotop.fish completion fish

# The names by which programs send mail.
mkdir -p "$root/usr/sbin" "$root/usr/lib" "$root/usr/share/man/man8"
ln -s ../bin/samotop "$root/usr/sbin/sendmail"
ln -s ../sbin/sendmail "$root/usr/lib/sendmail"
for name in mailq newaliases; do
  ln -s samotop "$root/usr/bin/$name"
  ln -s samotop.1.gz "$root/usr/share/man/man1/$name.1.gz"
done
ln -s ../man1/samotop.1.gz "$root/usr/share/man/man8/sendmail.8.gz"

for unit in dist/systemd/*.service dist/systemd/*.socket dist/systemd/*.target; do put 644 "$unit" "usr/lib/systemd/system/$(basename "$unit")"; done
put 644 dist/systemd/samotop-msa.conf 'usr/lib/systemd/system/samotop@msa.service.d/samotop-msa.conf'
put 644 dist/systemd/samotop-sysusers.conf usr/lib/sysusers.d/samotop.conf
put 644 dist/systemd/samotop-tmpfiles.conf usr/lib/tmpfiles.d/samotop.conf
put 644 dist/systemd/samotop-split.conf $doc/examples/samotop-split.conf
put 644 dist/deb/samotop.default etc/default/samotop
for text in README.md ARCHITECTURE.md docs/*.md; do put 644 "$text" "$doc/$(basename "$text")"; done
put 644 CHANGELOG.md $doc/changelog
{
  printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: samotop\n\nFiles: *\nCopyright: the samotop authors\nLicense: Apache-2.0 or Expat\n'
  sed 's/^$/./; s/^/ /' LICENSE-MIT
  printf ' .\n On Debian systems, the Apache License 2.0 is in /usr/share/common-licenses/Apache-2.0.\n'
} >"$root/$doc/copyright"
gzip -9n "$root"/usr/share/man/man1/samotop.1 "$root/$doc/changelog"

install -d "$root/DEBIAN"
for script in postinst prerm postrm; do install -m 755 "dist/deb/$script" "$root/DEBIAN/$script"; done
echo /etc/default/samotop >"$root/DEBIAN/conffiles"
sed -e "s/@VERSION@/$VERSION/; s/@ARCH@/$arch/; s/@SIZE@/$(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)/" dist/deb/control >"$root/DEBIAN/control"
(cd "$root" && find . -type f -not -path './DEBIAN/*' -printf '%P\n' | sort | xargs -d '\n' md5sum) >"$root/DEBIAN/md5sums"
chmod 644 "$root"/DEBIAN/{md5sums,conffiles,control}
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference -d "@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$out"
deb=$out/samotop_${VERSION}_$arch.deb
dpkg-deb --root-owner-group --threads-max=1 -Zxz -z"${XZ_LEVEL:-6}" --build "$root" "$deb" >/dev/null
echo "$deb"

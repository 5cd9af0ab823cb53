#!/usr/bin/env bash
# Gets what the lab needs: QEMU, busybox and taskset by apt, and a Debian cloud kernel, unpacked and not installed. Run as root;
# a second run is quick. NUMAPIN_LAB_KERNEL names another kernel than Debian's own by its version, like 6.12.
set -euo pipefail
cd "$(dirname "$0")/../.."
lab=${NUMAPIN_LAB:-$PWD/target/lab}
version=${NUMAPIN_LAB_KERNEL:-debian}
export DEBIAN_FRONTEND=noninteractive
need=(qemu-system-x86 seabios busybox-static util-linux)
dpkg -s "${need[@]}" >/dev/null 2>&1 || { apt-get update -q && apt-get install -y -q --no-install-recommends "${need[@]}"; }

kernel=$lab/kernel-$version
compgen -G "$kernel/boot/vmlinuz-*" >/dev/null && exit 0
newest() { # PATTERN: the newest package whose name matches
  apt-cache search --names-only "$1" | awk '{ print $1 }' | sort -V | tail -n 1
}
find_image() {
  if [ "$version" = debian ]; then
    apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }'
  else
    newest "^linux-image-${version//./\\.}.*-cloud-amd64-unsigned\$"
  fi
}
image=$(find_image)
[ -n "$image" ] || { apt-get update -q && image=$(find_image); }
[ -n "$image" ] || { echo "setup.sh: apt has no cloud kernel $version; apt-cache search linux-image lists those it has" >&2; exit 1; }
mkdir -p "$kernel.part"
cd "$kernel.part"
# Lists that are old name a package that is gone.
apt-get download -q "$image" || { apt-get update -q && image=$(find_image) && apt-get download -q "$image"; }
dpkg-deb -x "$image"_*.deb .
rm -f -- *.deb
cd "$lab" && rm -rf "$kernel" && mv "$kernel.part" "$kernel"

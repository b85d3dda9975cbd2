#!/usr/bin/env bash
# Make the image in which tests boot systemd, and print its id: idempotent, kept on the engine.
#
# Two layers: Debian with systemd (debootstrap), and a virtual environment with the daemon's
# dependencies, installed without a network from wheels fetched here. trainbox itself is not in it:
# the test installs the wheel it has just built. TRAINBOX_TEST_ROOTFS names a debootstrap directory
# to use instead of making one.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin"
python=${PYTHON:-.venv/bin/python}
suite=bookworm # its python3 is 3.11, the oldest the daemon runs on
packages=systemd,systemd-sysv,dbus,procps,curl,python3,python3-venv,ca-certificates
recipe=$suite-1

find_image() { # kind, recipe
  docker images -q --filter "label=trainbox.test=$1" --filter "label=trainbox.test.recipe=$2" | head -n 1
}

work=$(mktemp -d)
container=
trap '[ -z "$container" ] || docker rm -f "$container" >/dev/null; rm -rf "$work"' EXIT

# Only a change of the dependencies makes another image.
"$python" - >"$work/dependencies" <<'PYTHON'
import tomllib
from pathlib import Path
print("\n".join(tomllib.loads(Path("pyproject.toml").read_text())["project"]["dependencies"]))
PYTHON
sed -n '/^[A-Za-z0-9_.-]*==/s/ *\\$//p' locks/runtime.lock >"$work/constraints"
key=$(cat "$work/dependencies" "$work/constraints" "$0" | sha256sum | cut -c1-16)

image=$(find_image systemd "$key")
if [ -n "$image" ]; then
  echo "$image"
  exit 0
fi

base=$(find_image systemd-base "$recipe")
if [ -z "$base" ]; then
  rootfs=${TRAINBOX_TEST_ROOTFS:-$work/rootfs}
  [ -d "$rootfs/etc" ] || debootstrap --variant=minbase --include=$packages $suite "$rootfs" >&2
  base=$(tar -C "$rootfs" --numeric-owner --exclude=./dev/* --exclude=./proc/* --exclude=./sys/* \
    --exclude=./var/cache/apt/* --exclude=./var/lib/apt/lists/* --exclude=./usr/share/doc/* -c . |
    docker import --change 'CMD ["/lib/systemd/systemd"]' --change 'ENV container=docker' \
      --change "LABEL trainbox.test=systemd-base" --change "LABEL trainbox.test.recipe=$recipe" \
      - "trainbox-test-systemd-base:$recipe")
fi

mkdir "$work/wheels"
"$python" -m pip download -q --only-binary :all: -d "$work/wheels" \
  -r "$work/dependencies" -c "$work/constraints" >&2
container=$(docker create --network none "$base" /bin/sh -c '
  set -e
  python3 -m venv /opt/trainbox
  /opt/trainbox/bin/pip install -q --no-index --no-compile --find-links /wheels -r /wheels/dependencies
  rm -rf /wheels')
cp "$work/dependencies" "$work/wheels/"
docker cp "$work/wheels" "$container:/wheels"
docker start -a "$container" >&2
docker commit --change 'CMD ["/lib/systemd/systemd"]' --change "LABEL trainbox.test=systemd" \
  --change "LABEL trainbox.test.recipe=$key" "$container" "trainbox-test-systemd:$key"

#!/usr/bin/env bash
# Everything `make test` checks, in one run; the slow image build goes on beside lint and types.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${1:-2}
started=$SECONDS
logs=$(mktemp -d)
building=
trap '[ -z "$building" ] || kill "$building" 2>/dev/null || true; rm -rf "$logs"' EXIT

export TRAINBOX_TEST_STATE="${TRAINBOX_TEST_STATE:-$PWD/.trainbox/test}"
mkdir -p "$TRAINBOX_TEST_STATE"

images() {
  TRAINBOX_STATE_DIR="$TRAINBOX_TEST_STATE" .venv/bin/trainbox images "$@"
}
# A host that lacks a Python leaves its runtime out by name, such as "python3.10 python3.12".
without=" ${TRAINBOX_TEST_WITHOUT_RUNTIMES:-} "
names=$(images ls --json | .venv/bin/python -c '
import json, sys
print(*dict.fromkeys(one["name"] for one in json.load(sys.stdin)))')
wanted=()
for name in $names; do
  [[ "$without" == *" $name "* ]] || wanted+=("$name")
done
build() {
  images build --backend "$1" "${wanted[@]}"
}
# The image in which systemd boots takes minutes the first time: here no test's time limit runs.
(build docker && build process && bash scripts/build_systemd_image.sh) >"$logs/build" 2>&1 &
building=$!

check() {
  local name=$1 from=$SECONDS
  shift
  if "$@" >"$logs/$name" 2>&1; then
    echo "ok    $name ($((SECONDS - from)) s)"
  else
    echo "FAIL  $name"
    cat "$logs/$name"
    exit 1
  fi
}
check ruff .venv/bin/ruff check .
check format .venv/bin/ruff format --check .
check mypy .venv/bin/mypy
check layers .venv/bin/lint-imports

if wait "$building"; then
  building=
  echo "ok    environments ($((SECONDS - started)) s)"
else
  echo "FAIL  environments"
  cat "$logs/build"
  exit 1
fi
.venv/bin/python -m pytest -n "$jobs" --dist loadgroup -q --durations=15
echo "make test: $((SECONDS - started)) s"

#!/usr/bin/env bash
# Resolve every lock file again. No index address is written: pip's own configuration decides.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m pip install -q uv
uv="$PWD/.venv/bin/uv"
python=3.11
resolve() {
  "$uv" pip compile -q --python-version "$python" --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-header "$@"
}
compile() {
  resolve --universal --no-annotate "$@"
}
compile pyproject.toml -o locks/runtime.lock
compile pyproject.toml --group dev -c locks/runtime.lock -o locks/dev.lock
printf 'hatchling\neditables\n' | compile - -c locks/dev.lock -o locks/build.lock
# What sandboxes install is for Linux alone: a marker would ask a backend what it cannot know.
cd plugins/trainbox_plugins/tabular/environment
resolve --python-platform linux requirements.in -o requirements.lock
cd ../../custom_script/environment
for python in 3.10 3.11 3.12; do
  resolve --python-platform linux --no-build requirements.in -o "$python.lock"
done

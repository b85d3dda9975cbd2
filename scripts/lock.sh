#!/usr/bin/env bash
# Resolve every lock file again. No index address is written: pip's own configuration decides.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m pip install -q uv
compile() {
  .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-header --no-annotate "$@"
}
compile pyproject.toml -o locks/runtime.lock
compile pyproject.toml --group dev -c locks/runtime.lock -o locks/dev.lock
printf 'hatchling\neditables\n' | compile - -c locks/dev.lock -o locks/build.lock
compile plugins/trainbox_plugins/tabular/environment/requirements.in \
  -o plugins/trainbox_plugins/tabular/environment/requirements.lock

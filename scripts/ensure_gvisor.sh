#!/bin/sh
# Make sure that runsc (gVisor) is installed, for the tests that run attacks in it: idempotent, one
# line of output. TRAINBOX_TEST_WITHOUT_GVISOR=1 opts out, here as in the tests.
set -eu

say() { printf 'ensure_gvisor: %s\n' "$*"; }

[ -z "${TRAINBOX_TEST_WITHOUT_GVISOR:-}" ] || { say "left out, as asked"; exit 0; }
if command -v runsc >/dev/null 2>&1; then
    say "$(runsc --version | head -n 1)"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
if { apt-get install -y --no-install-recommends runsc ||
    { apt-get update && apt-get install -y --no-install-recommends runsc; }; } >/dev/null 2>&1
then
    say "installed $(runsc --version | head -n 1)"
else
    say "runsc cannot be installed: install gVisor, or set TRAINBOX_TEST_WITHOUT_GVISOR=1" >&2
    exit 1
fi

#!/bin/sh
# Make sure that a Docker Engine answers: idempotent, one line of output, no systemd needed.
#
# Installs what is missing on Debian or Ubuntu (as root), starts dockerd detached where nothing else
# starts it, and waits until it answers. TRAINBOX_DOCKERD_LOG is where that dockerd logs.
set -eu

log=${TRAINBOX_DOCKERD_LOG:-/var/log/trainbox-dockerd.log}
socket=/var/run/docker.sock
patience_s=90
did=

say() { printf 'ensure_docker: %s\n' "$*"; }

fail() {
    printf 'ensure_docker: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

# Asks the engine itself: a client alone, however new, proves nothing.
answers() {
    if command -v docker >/dev/null 2>&1; then
        timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null
    else
        timeout 10 curl -fsS --unix-socket "$socket" http://localhost/version 2>/dev/null |
            sed -n 's/.*"Version":"\([0-9][^"]*\)".*/\1/p'
    fi
}

packages() {
    command -v dockerd >/dev/null 2>&1 || [ -x /usr/sbin/dockerd ] || printf 'docker.io '
    command -v debootstrap >/dev/null 2>&1 || [ -x /usr/sbin/debootstrap ] || printf 'debootstrap '
}

install() {
    missing=$(packages)
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null 2>&1 ||
        fail "missing: $missing" "install them with your distribution's package manager"
    # Where a service manager is absent or forbidden to start things, apt must not fail over it.
    export DEBIAN_FRONTEND=noninteractive
    out=$(mktemp)
    # shellcheck disable=SC2086 # a list of words
    if ! apt-get install -y --no-install-recommends $missing >"$out" 2>&1; then
        if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$out" 2>&1
        then
            last=$(tail -n 3 "$out")
            rm -f "$out"
            fail "apt-get install $missing failed" "$last"
        fi
    fi
    rm -f "$out"
    did="installed $missing"
}

start() {
    if [ -d /run/systemd/system ]; then
        systemctl start docker || fail "systemctl start docker failed" "see: journalctl -u docker"
        did="${did:+$did, }started docker.service"
        return
    fi
    # Not ours to judge a lock of a dockerd that is still coming up: then only wait.
    if ! pidof dockerd >/dev/null 2>&1; then
        PATH="$PATH:/usr/sbin:/sbin" setsid dockerd >"$log" 2>&1 </dev/null &
        did="${did:+$did, }started dockerd (log: $log)"
    fi
}

wait_for_answer() {
    waited=0
    while [ "$waited" -lt "$patience_s" ]; do
        version=$(answers || true)
        [ -z "$version" ] || return 0
        if [ "$waited" -gt 2 ] && [ ! -d /run/systemd/system ] && ! pidof dockerd >/dev/null 2>&1
        then
            fail "dockerd ended at once" "its last words ($log):" "$(tail -n 3 "$log" 2>/dev/null)"
        fi
        sleep 1
        waited=$((waited + 1))
    done
    fail "the Docker Engine gave no answer within $patience_s s" "$(tail -n 3 "$log" 2>/dev/null)"
}

version=$(answers || true)
if [ -n "$version" ] && [ -z "$(packages)" ]; then
    say "engine $version answers"
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    [ -z "$version" ] || { say "engine $version answers; not installed: $(packages)"; exit 0; }
    fail "no Docker Engine answers, and only root can start one" \
        "run this as root, start your engine, or set TRAINBOX_TEST_WITHOUT_DOCKER=1"
fi

# One at a time: two test runs may begin together.
exec 9>/var/lock/trainbox-ensure-docker.lock
command -v flock >/dev/null 2>&1 && flock 9
install
version=$(answers || true)
if [ -z "$version" ]; then
    start 9>&-
    wait_for_answer
fi
say "engine $version answers${did:+; $did}"

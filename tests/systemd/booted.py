"""A container in which systemd is PID 1 and trainbox is installed from its wheel."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHARED = "/opt/trainbox/share/trainbox/systemd"
UNIT = "trainbox.service"
DROP_INS = f"/etc/systemd/system/{UNIT}.d"
URL = "http://127.0.0.1:8422"
# No --privileged: a host that lacks CAP_SYS_RESOURCE itself refuses it.
BOOT = (
    "--stop-signal=SIGRTMIN+3 --cap-add=ALL --cap-drop=SYS_RESOURCE --security-opt=seccomp=unconfined"
    " --security-opt=apparmor=unconfined --cgroupns=private --tmpfs=/run --tmpfs=/run/lock"
    " --tmpfs=/tmp:exec --network=none --label=trainbox.test=1"
).split()


class Box:
    """Commands inside one booted container."""

    def __init__(self, image: str) -> None:
        self.id = docker("run", "-d", *BOOT, image).strip()

    def remove(self) -> None:
        docker("rm", "-f", self.id)

    def boot(self) -> None:
        # Credentials are handed over through a mount that must reach the service.
        self.sh("mount --make-rshared /")
        self.until(lambda: self.sh("systemctl is-system-running", check=False) == "running", 30)

    def sh(self, script: str, *, check: bool = True) -> str:
        done = subprocess.run(
            ["docker", "exec", self.id, "sh", "-c", script], capture_output=True, text=True
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{script}\n{done.stdout}\n{done.stderr}")
        return (done.stdout + done.stderr).strip()

    def python(self, script: str) -> Any:
        """Run a script of Python in the box and return the JSON that it prints."""
        return json.loads(self.sh(f"/opt/trainbox/bin/python3 -c {shlex.quote(script)}"))

    def copy(self, source: Path, target: str) -> None:
        docker("cp", str(source), f"{self.id}:{target}")

    def write(self, path: str, text: str) -> None:
        self.sh(f"mkdir -p {Path(path).parent} && printf %s {shlex.quote(text)} > {path}")

    def show(self, name: str) -> str:
        """Return one property of the service, as systemd has it."""
        return self.sh(f"systemctl show -P {name} {UNIT}")

    def journal(self) -> str:
        return self.sh(f"journalctl -u {UNIT} -o cat --no-pager")

    def drop_in(self, name: str, text: str) -> None:
        self.write(f"{DROP_INS}/{name}.conf", text)
        self.sh("systemctl daemon-reload")

    def shipped(self, name: str) -> None:
        """Take a drop-in that comes with trainbox."""
        self.sh(f"mkdir -p {DROP_INS} && cp {SHARED}/drop-ins/{name}.conf {DROP_INS}/")
        self.sh("systemctl daemon-reload")

    def http(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
        """Send one request from inside; a token is added, and a JSON type if there is a body."""
        options = f"-sS -m 60 -X {method} -w '\\n%{{http_code}}'"
        options += ' -H "Authorization: Bearer $(cat /var/lib/trainbox/token)"'
        for name, value in headers.items():
            options += f" -H '{name.replace('_', '-')}: {value}'"
        if body:
            options += f" --data-binary {shlex.quote(body)}"
        text, _, status = self.sh(f"curl {options} {shlex.quote(URL + path)}").rpartition("\n")
        return int(status), text

    def call(self, method: str, path: str, document: Any = None) -> Any:
        body = "" if document is None else json.dumps(document)
        more = {"Content_Type": "application/json"} if body else {}
        status, text = self.http(method, path, body, **more)
        assert status < 400, f"{method} {path}: {status} {text}"
        return json.loads(text)

    def until(self, true: Callable[[], bool], seconds: float, why: Callable[[], str] = str) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, why()
            time.sleep(0.2)


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"docker {arguments[0]}: {done.stderr}"
    return done.stdout

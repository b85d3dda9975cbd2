"""Runs in the sandbox: says what it can see."""

import json
import os
import socket
import time


def main(run):
    time.sleep(run.params["seconds"])
    seen = {
        "uid": os.getuid(),
        "pid": os.getpid(),
        "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "state": os.path.exists("/var/lib/trainbox/trainbox.db"),
    }
    (run.output_path / "seen.json").write_text(json.dumps(seen))
    run.result({"metrics": {"seen": 1.0}})

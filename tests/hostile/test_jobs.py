"""Hostile scripts as jobs of a real daemon, in real containers: others' data, bombs, survivors."""

from __future__ import annotations

import subprocess
import textwrap
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainbox_client import Client
from trainbox_sdk.testing.daemon import DaemonProcess

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.docker,
    pytest.mark.xdist_group("hostile-jobs"),
]
SMALL = {"cpus": 0.5, "memory_bytes": 512 * 1024**2}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    state = tmp_path_factory.mktemp("hostile-jobs") / "state"
    with DaemonProcess(state, env={"TRAINBOX_BACKEND": "docker"}) as running:
        yield running


@pytest.fixture(scope="module")
def client(daemon: DaemonProcess) -> Iterator[Client]:
    with Client(daemon.url, daemon.token) as made:
        yield made


def begin(client: Client, folder: Path, source: str, **options: Any) -> Any:
    script = folder / "train.py"
    script.write_text(textwrap.dedent(source), encoding="utf-8")
    return client.run_script(script, **{"resources": SMALL, **options})


def log_of(job: Any) -> str:
    printed = job.logs()
    return str(printed)


LEAVES = """
import os
with open(os.environ["MODEL_OUTPUT_PATH"], "w") as file:
    file.write("the model of {token}")
"""

LOOKS_FOR_OTHERS = """
import os, socket

state, token, port = {state!r}, {token!r}, {port}

def tried(name, work):
    try:
        found = work()
    except OSError as error:
        print("refused", name, error.strerror)
        return
    print("FOUND" if found else "empty", name)

for name in ("trainbox.sqlite3", "trainbox.db", "admin.token", "blobs/sha256", "attempts", "disks", ""):
    tried("state " + name, lambda: os.listdir(os.path.join(state, name)) or True)
for digest in {digests!r}:
    tried("blob", lambda: open(os.path.join(state, "blobs/sha256", digest[:2], digest), "rb").read(1))
tried("daemon", lambda: socket.create_connection(("127.0.0.1", port), 2))
for table in ("mountinfo", "mounts"):
    with open("/proc/self/" + table) as file:
        text = file.read()
    tried(table, lambda: token in text)
seen = 0
for folder, folders, files in os.walk("/"):
    if folder == "/":
        folders[:] = [each for each in folders if each not in ("proc", "sys")]
    for each in files:
        path = os.path.join(folder, each)
        if token in each:
            print("FOUND by name", path)
        if path.startswith("/trainbox"):
            with open(path, "rb") as file:
                if ("model of " + token).encode() in file.read(1 << 20):
                    print("FOUND by words", path)
        seen += 1
print("looked at", seen, "files")
"""


def test_job_finds_nothing_of_another(
    client: Client, daemon: DaemonProcess, tmp_path: Path
) -> None:
    token = f"tenant{uuid.uuid4().hex}"
    rows = "\n".join(["age,word", *(f"{n},{token}" for n in range(50))])
    data = client.datasets.upload(rows.encode(), name=f"data-of-{token}", format="csv")
    theirs = begin(client, tmp_path, LEAVES.format(token=token), dataset=data.id, name=token)
    assert theirs.wait(200, progress=False).state == "succeeded", log_of(theirs)
    digests = [artifact.digest.removeprefix("sha256:") for artifact in theirs.artifacts()]
    assert digests
    source = LOOKS_FOR_OTHERS.format(
        state=str(daemon.state_dir), token=token, port=daemon.port, digests=digests
    )
    looking = begin(client, tmp_path, source)
    looking.wait(200, progress=False)
    told = log_of(looking)
    assert "looked at" in told, told
    # Its own source holds the word; nothing else does.
    found = [line for line in told.splitlines() if line.startswith("FOUND")]
    assert [line for line in found if not line.endswith("/train.py")] == []


def test_pickle_bomb_is_stored_and_never_loaded(client: Client, tmp_path: Path) -> None:
    marker = Path("/tmp") / f"bomb-{uuid.uuid4().hex}"
    source = f"""
        import os, pickle

        class Bomb:
            def __reduce__(self):
                return (exec, ("open({str(marker)!r}, 'w').write('went off')",))

        with open(os.environ["MODEL_OUTPUT_PATH"], "wb") as file:
            pickle.dump(Bomb(), file)
    """
    job = begin(client, tmp_path, source)
    assert job.wait(200, progress=False).state == "succeeded", log_of(job)
    (artifact,) = job.artifacts()
    assert artifact.bytes > 0
    client.models.get(job.model_id)
    assert not marker.exists()


SURVIVES = """
import os, signal, time
for number in set(range(1, 65)) - {signal.SIGCHLD}:  # which waits for the first forks
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                time.sleep(0.05)
        os._exit(0)
    os.wait()
print("surviving", flush=True)
while True:
    time.sleep(1)
"""


def test_job_that_ignores_everything_is_gone_after_its_cancellation(
    client: Client, tmp_path: Path
) -> None:
    job = begin(client, tmp_path, SURVIVES)
    deadline = time.monotonic() + 120
    while "surviving" not in log_of(job):
        assert time.monotonic() < deadline and not job.ended, job
        job.refresh()
        time.sleep(0.2)
    job.cancel()
    assert job.wait(90, progress=False).state == "cancelled"
    words = ["docker", "ps", "--quiet", "--filter", f"label=trainbox.job={job.id}"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == ""

"""Files made to hurt, and what a worker that has been taken over could still do."""

import json
import os
import socket
import subprocess
import sys
import textwrap

import pytest
from trainbox_sdk.errors import TooLarge, ValidationFailed

pytestmark = pytest.mark.hostile


async def test_value_that_unpacks_to_half_a_gigabyte(upload, parquet, tmp):
    bomb = parquet("SELECT repeat('x', 500000000) AS a", COMPRESSION="zstd")
    assert len(bomb) < 1_000_000
    with pytest.raises((TooLarge, ValidationFailed)) as caught:
        await upload(bomb, "parquet")
    assert caught.value.code in ("needs_too_much_memory", "value_too_large", "unreadable_data")
    assert not list(tmp.iterdir())


async def test_many_long_values_that_pack_to_nothing(upload, parquet, tmp):
    columns = ", ".join(f"repeat('{chr(97 + i)}', 9000) AS c{i}" for i in range(20))
    bomb = parquet(f"SELECT {columns} FROM range(50000)", COMPRESSION="zstd")
    assert len(bomb) < 1_000_000
    try:
        data = await upload(bomb, "parquet")
    except TooLarge:
        pass
    else:
        assert data.rows == 50_000
    assert not list(tmp.iterdir())


async def test_row_count_that_lies(upload, parquet):
    """A footer that promises a thousand times the rows there are."""
    whole = parquet("SELECT i AS a FROM range(100) AS t(i)")
    footer = int.from_bytes(whole[-8:-4], "little")
    start = len(whole) - 8 - footer
    # 100 is varint zigzag c8 01; put something enormous in its place in the footer alone.
    hurt = whole[:start] + whole[start:].replace(b"\xc8\x01", b"\xff\x7f")
    assert hurt != whole
    with pytest.raises((ValidationFailed, TooLarge)):
        await upload(hurt, "parquet")


@pytest.mark.parametrize(
    "name",
    ["'; DROP TABLE raw; --", "\"); COPY raw TO '/tmp/x", "$(id)", "c0", "raw", "../../x", "@"],
)
async def test_column_names_are_names(upload, rows, name):
    quoted = '"' + name.replace('"', '""') + '"'
    data = await upload(f"{quoted},b\n1,2\n")
    assert data.columns[0].name == name
    assert rows(data) == [(1, 2)]


@pytest.mark.parametrize(
    "value", ["'; SELECT 1; --", "read_csv('/etc/passwd')", "=cmd|' /C calc'!A0", "{{7*7}}", "@v"]
)
async def test_values_are_values(upload, rows, value):
    assert rows(await upload(f'a,b\n"{value}",1\n')) == [(value, 1)]


async def test_quotes_everywhere(upload, tmp):
    with pytest.raises(ValidationFailed):
        await upload(b'"' * 99_999)
    assert not list(tmp.iterdir())


PROBE = """
import json, os, socket, sys
from pathlib import Path
from trainbox.workers.lockdown import lock_down

work = Path(sys.argv[1])
report = lock_down(
    write=(work,), data_bytes=256 * 1024**2, file_bytes=1_000_000, open_files=64, cpu_s=60
)

def attempt(what):
    try:
        return f"done: {what()!r}"
    except BaseException as error:
        return type(error).__name__

def connect():
    return socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=5)

def large_file():
    with (work / "large").open("wb", buffering=0) as file:
        for _ in range(3):
            file.write(b"x" * 600_000)

def many_files():
    return [os.open("/dev/null", os.O_RDONLY) for _ in range(100)]

outcome = {
    "own folder": attempt(lambda: (work / "mine").write_text("x")),
    "connect to the host": attempt(connect),
    "vsock": attempt(lambda: socket.socket(40, socket.SOCK_STREAM)),
    "read a secret": attempt(lambda: Path(sys.argv[3]).read_text()),
    "write beside the secret": attempt(lambda: Path(sys.argv[3] + ".new").write_text("x")),
    "write into the code": attempt(lambda: Path(os.__file__ + ".new").write_text("x")),
    "256 MiB": attempt(lambda: len(bytearray(300 * 1024**2))),
    "large file": attempt(large_file),
    "many files": attempt(many_files),
}
print(json.dumps({"outcome": outcome, "applied": report.applied, "missing": report.missing}))
"""


WEAK_HOST = """
import json, os, sys
from pathlib import Path
from trainbox.workers.ingest_request import IngestRequest
from trainbox.workers.ingest_worker import ingest
from trainbox.workers.lockdown import lock_down

work = Path(sys.argv[1])
report = lock_down(
    write=(work,),
    data_bytes=1024**3,
    file_bytes=10_000_000,
    open_files=64,
    cpu_s=60,
    layers=tuple(sys.argv[2].split(",")),
)
os.chdir(work)
request = IngestRequest("csv", 10, 10, 1000, 1000, 1024**3, 60, 10_000_000, 2)
print(json.dumps({"answer": ingest(request), "applied": list(report.applied)}))
"""


@pytest.mark.parametrize(
    "layers",
    [
        ["limits", "privileges"],
        ["limits", "privileges", "landlock"],
        ["limits", "privileges", "landlock", "syscalls"],
        ["network", "files", "limits", "privileges"],
    ],
)
def test_reading_works_on_hosts_that_give_less(tmp_path, layers):
    (tmp_path / "upload").write_text("a,b\n1,x\n")
    done = subprocess.run(
        [sys.executable, *("-I", "-c", WEAK_HOST), str(tmp_path), ",".join(layers)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answer"]["rows"] == 1


@pytest.fixture
def probe(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = subprocess.run(
            [
                sys.executable,
                *("-I", "-c", textwrap.dedent(PROBE)),
                *(str(work), str(server.getsockname()[1]), str(secret)),
            ],
            cwd=work,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    beside = secret.with_name("secret.new").exists()
    return json.loads(done.stdout) | {"written beside the secret": beside}


def test_what_a_confined_worker_can_still_do(probe):
    outcome, applied = probe["outcome"], probe["applied"]
    assert outcome["own folder"].startswith("done")
    # Every Linux gives these.
    assert outcome["256 MiB"] == "MemoryError"
    assert outcome["large file"] == "OSError"
    assert outcome["many files"] == "OSError"
    assert {"limits", "privileges"} <= applied.keys()
    # These hang on the host; where a layer is missing, the report says so and nothing is claimed.
    if "network" in applied:
        assert not outcome["connect to the host"].startswith("done")
    if "files" in applied or "landlock" in applied:
        assert not outcome["read a secret"].startswith("done")
        # In a private /tmp a write may succeed; it reaches nothing outside.
        assert not probe["written beside the secret"]
        assert not outcome["write into the code"].startswith("done")
    if "syscalls" in applied:
        assert not outcome["vsock"].startswith("done")
    assert applied.keys() | probe["missing"].keys() >= {"network", "files", "landlock", "syscalls"}


def test_this_host_confines_reading_and_network(probe):
    """Not a promise of every host, but a regression here would go unnoticed otherwise."""
    if os.environ.get("TRAINBOX_TEST_WEAK_HOST") == "1":
        pytest.skip("TRAINBOX_TEST_WEAK_HOST=1: this host gives no namespaces and no Landlock")
    applied = probe["applied"]
    assert "landlock" in applied or "files" in applied, probe["missing"]
    assert "network" in applied, probe["missing"]
    assert "syscalls" in applied, probe["missing"]

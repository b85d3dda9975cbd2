"""What the conformance suite runs: small Python programs, each with what a fake does in its place.

A program says ``ready`` through its events file when a test may go on, and waits for a file ``go``
in its scratch directory where the test decides when it ends; no test waits for time to pass.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainbox_guest import protocol, second_layer
from trainbox_sdk.testing.fake_backend import FakeScript

_HEAD = """
import os, sys, time
out = os.environ["MODEL_OUTPUT_PATH"]
scratch = os.environ["TRAINBOX_SCRATCH"]
def ready():
    with open(os.environ["TRAINBOX_EVENTS"], "a") as events:
        events.write("ready\\n")
def leave(name, text):
    with open(os.path.join(out, name), "a") as file:
        file.write(text)
"""


@dataclass(frozen=True)
class Program:
    """One guest program.

    Attributes:
        body: what it does, after a head that imports os, sys, time and defines ``out``,
            ``scratch``, ``ready()`` and ``leave(name, text)``.
        script: what a fake does that is told to be this program.
    """

    body: str
    script: FakeScript = field(default_factory=FakeScript)

    @property
    def code(self) -> str:
        """The whole source."""
        return _HEAD + self.body


def exits_with(code: int) -> Program:
    """Return a program with an exit code."""
    return Program(f"sys.exit({code})", FakeScript(exit_code=code))


def numbered(count: int) -> bytes:
    """Return that many numbered lines."""
    return b"".join(b"line %d\n" % number for number in range(count))


ORDINARY = Program(
    """
print("begin", flush=True)
with open(os.environ["TRAINBOX_EVENTS"], "a") as events:
    events.write('{"t": "progress", "at": 1.0, "fraction": 0.5}\\n')
data = os.environ.get("DATASET_PATH")
leave("model.onnx", "model of " + (open(data).read() if data else "nothing"))
print("end", flush=True)
""",
    FakeScript(
        stdout=b"begin\n",
        last_words=b"end\n",
        events=(b'{"t": "progress", "at": 1.0, "fraction": 0.5}',),
        outputs={"model.onnx": b"model of the data"},
    ),
)

SEGFAULTS = Program(
    "import signal; os.kill(os.getpid(), signal.SIGSEGV); time.sleep(60)",
    FakeScript(exit_code=139),
)

HOLDS_64_MIB = Program(
    """
block = bytearray(64 * 1024 * 1024)
block[::4096] = b"x" * len(block[::4096])
time.sleep(0.5)
"""
)

# One write a line: print() on an unbuffered stream makes two, and what comes through the other pipe
# may get in between.
BOTH_STREAMS = Program(
    "os.write(1, b'to stdout\\n'); os.write(2, b'to stderr\\n')",
    FakeScript(stdout=b"to stdout\n", stderr=b"to stderr\n"),
)

RAW_BYTES = Program(
    "os.write(1, b'\\xff\\xfe\\x00\\x80\\nno newline')",
    FakeScript(stdout=b"\xff\xfe\x00\x80\nno newline"),
)

TEN_THOUSAND_LINES = Program(
    "sys.stdout.write(''.join(f'line {n}\\n' for n in range(10_000)))",
    FakeScript(stdout=numbered(10_000)),
)

FLOODS_8_MIB = Program(
    """
os.write(1, b"first line\\n")
line = b"x" * 1023 + b"\\n"
for _ in range(8 * 1024):
    os.write(1, line)
os.write(1, b"last line\\n")
""",
    FakeScript(stdout=b"first line\n" + b"x" * 8 * 1024**2 + b"\nlast line\n"),
)

COUNTS_ITS_RUNS = Program('leave("runs", "ran\\n")', FakeScript(outputs={"runs": b"ran\n"}))

WAITS_THEN_PRINTS = Program(
    """
print("ready", flush=True)
ready()
while not os.path.exists(os.path.join(scratch, "go")):
    time.sleep(0.01)
for n in range(1000):
    print("line", n)
sys.exit(3)
""",
    FakeScript(
        exit_code=3,
        waits_for="go",
        stdout=b"ready\n",
        events=(b"ready",),
        last_words=numbered(1000),
    ),
)

OBEYS_TERM = Program(
    """
import signal
def goodbye(number, frame):
    sys.exit(7)
signal.signal(signal.SIGTERM, goodbye)
ready()
while True:
    time.sleep(60)
""",
    FakeScript(run_for_s=None, term_exit_code=7, events=(b"ready",)),
)

IGNORES_TERM = Program(
    """
import signal
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
ready()
while True:
    time.sleep(60)
""",
    FakeScript(run_for_s=None, term_exit_code=None, events=(b"ready",)),
)

DOUBLE_FORKS = Program(
    """
import signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for stream in (0, 1, 2):
            os.close(stream)
        ready()
        while True:
            with open(os.path.join(scratch, "heartbeat"), "a") as file:
                file.write("beat\\n")
            time.sleep(0.02)
    os._exit(0)
os.wait()
while True:
    time.sleep(60)
""",
    FakeScript(run_for_s=None, events=(b"ready",)),
)

SLEEPS_BRIEFLY = Program("time.sleep(0.3)", FakeScript(run_for_s=0.05))

ECHOES_ARGV_AND_ENV = Program(
    """
import json
env = {name: os.environ[name] for name in ("ODD", "EMPTY")}
leave("arrived", json.dumps([sys.argv[1:], env], sort_keys=True))
"""
)
ODD_WORDS = ("", "a b", "'\"", "$HOME", "*", "--", "-c", "\u00e4\n\U0001f680", "\\", "#no comment")


def arrived(argv: tuple[str, ...], env: Mapping[str, str]) -> str:
    """Return what :data:`ECHOES_ARGV_AND_ENV` leaves when all came through."""
    return json.dumps([list(argv), dict(env)], sort_keys=True)


LISTS_VARIABLES = Program('leave("names", "\\n".join(os.environ))')
CONTRACT_VARIABLES = frozenset(
    {
        *("PATH", "LANG", "HOME", "TZ", "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONUNBUFFERED"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONNOUSERSITE"),
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY"),
        "ORT_DISABLE_TELEMETRY",
        *(protocol.ENV_SPEC, protocol.ENV_OUTPUT, protocol.ENV_SCRATCH, protocol.ENV_EVENTS),
        protocol.ENV_DATASET,
    }
)
HARMLESS_VARIABLES = frozenset(
    {"HOSTNAME", "LC_CTYPE", "PWD", "SHLVL", "_", "TMPDIR", "OLDPWD", second_layer.ENV_FILTER}
)
"""What a runtime, a shell or a backend sets by itself and what says nothing of the host."""

TRIES_TO_CHANGE_ITS_INPUTS = Program(
    """
import staged
assert staged.WORD == "imported"
data = os.environ["DATASET_PATH"]
assert open(data).read() == "the data"
assert data.endswith(".onnx"), data
spec = os.environ["TRAINBOX_SPEC"]
changed = []
for path in (data, spec, staged.__file__, os.path.join(os.environ["PYTHONPATH"], "new.py")):
    for attempt in (lambda: open(path, "a").write("x"), lambda: os.chmod(path, 0o777),
                    lambda: os.rename(path, path + ".old"), lambda: os.unlink(path)):
        try:
            attempt()
        except OSError:
            continue
        changed.append(path)
leave("changed", "\\n".join(changed))
"""
)

EATS_MEMORY = Program(
    """
hoard = []
while True:
    block = bytearray(8 * 1024 * 1024)
    block[::4096] = b"x" * len(block[::4096])
    hoard.append(block)
    if len(hoard) > 512:
        break
""",
    FakeScript(out_of_memory=True),
)

FORKS = Program(
    """
children = 0
try:
    while children < 400:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        children += 1
except OSError:
    pass
leave("forked", str(children + 1))
os._exit(0)
"""
)

CALLS_OUT = Program(
    """
import socket
with open("/proc/net/route") as table:
    leave("routes", str(len(table.read().splitlines()) - 1))
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=2).close()
except OSError as error:
    print(error)
"""
)

WRITES_EVERYWHERE = Program(
    """
places = ["/", "/etc", "/usr", "/usr/local", "/usr/lib", "/var", "/var/tmp", "/var/lib", "/opt",
          "/root", "/home", "/run", "/run/lock", "/srv", "/mnt", "/media", "/boot", "/bin", "/sbin",
          "/lib", "/dev", "/proc", "/sys", "/sys/fs/cgroup",
          os.path.dirname(os.environ["TRAINBOX_SPEC"]), os.path.dirname(sys.executable)]
escaped = []
for place in places:
    path = os.path.join(place, "trainbox-probe")
    try:
        with open(path, "w") as file:
            file.write("x")
    except OSError:
        continue
    escaped.append(path)
    os.unlink(path)
leave("escaped", "\\n".join(escaped))
for place in (out, scratch, "/tmp"):
    with open(os.path.join(place, "allowed"), "w") as file:
        file.write("x")
""",
)

FILLS_THE_DISK = Program(
    """
block = b"x" * (1024 * 1024)
deadline = time.monotonic() + 20
number = 0
while time.monotonic() < deadline and number < 64:
    with open(os.path.join(out, "part%d" % (number // 4)), "ab") as file:
        file.write(block)
    number += 1
while time.monotonic() < deadline:
    time.sleep(0.05)
""",
    FakeScript(exit_code=1),
)

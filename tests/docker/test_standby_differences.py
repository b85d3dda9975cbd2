"""What a script could notice of having been started warm: nothing but what is listed here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainbox_plugins.docker_backend.backend import DockerBackend
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.testing import WarmDocker
from trainbox_sdk.backends import Observation, SandboxBackend, SandboxSpec
from trainbox_sdk.testing.backend import MakeSpec
from trainbox_sdk.testing.guest_programs import Program

pytestmark = pytest.mark.docker

LOOKS = """
import atexit, gc, json, os, resource, signal, sys, threading, warnings
out = os.environ["MODEL_OUTPUT_PATH"]
main = sys.modules["__main__"]
def read(path):
    with open(path) as file:
        return file.read()
def status(*names):
    lines = dict(line.split(":\\t", 1) for line in read("/proc/self/status").splitlines())
    return {name: lines[name].split() for name in names}
def allowed(path):
    return [os.access(path, mode) for mode in (os.R_OK, os.W_OK, os.X_OK)]
tree = sorted(os.path.join(top, name) for top, folders, files in os.walk("/trainbox")
              for name in folders + files if "__pycache__" not in top)
seen = {
    "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "flags": repr(sys.flags),
    "executable": sys.executable, "cmdline": read("/proc/self/cmdline"),
    "main": {name: repr(value).split(" at 0x")[0] for name, value in vars(main).items()
             if name.startswith("__") and name != "__builtins__"},
    "main_names": sorted(vars(main)),
    "environ": dict(os.environ),
    "cwd": os.getcwd(), "umask": os.umask(0o77), "nice": os.nice(0),
    # Which number comes next in a fresh PID namespace is a matter of the runtime's threads.
    "ppid": os.getppid(), "sid": os.getsid(0), "leads": os.getpgid(0) == os.getpid(),
    "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
    "status": status("NoNewPrivs", "Seccomp", "CapBnd", "CapEff", "SigIgn", "SigBlk", "SigCgt",
                     "Threads", "Cpus_allowed"),
    "fds": {fd: os.path.basename(os.readlink("/proc/self/fd/" + fd)).split(":")[0]
            for fd in os.listdir("/proc/self/fd") if int(fd) < 3},
    "fd_count": len(os.listdir("/proc/self/fd")),
    "stdin": os.readlink("/proc/self/fd/0"), "tty": [os.isatty(fd) for fd in (0, 1, 2)],
    "streams": [[s.encoding, s.errors, s.line_buffering, s.write_through]
                for s in (sys.stdin, sys.stdout, sys.stderr)],
    "signals": {str(n): str(signal.getsignal(n)) for n in signal.valid_signals()},
    "gc": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), gc.get_debug()],
    "recursion": sys.getrecursionlimit(), "switch": sys.getswitchinterval(),
    "hashes": [hash("trainbox"), hash(b"trainbox")],
    "threads": threading.active_count(), "hooks": [repr(sys.excepthook), repr(sys.displayhook)],
    "trace": [sys.gettrace(), sys.getprofile()], "warnings": warnings.filters[:4],
    "meta_path": [repr(each) for each in sys.meta_path], "atexit": atexit._ncallbacks(),
    "limits": {str(n): resource.getrlimit(n) for n in range(16)},
    "tree": tree, "allowed": {path: allowed(path) for path in ["/trainbox", *tree]},
    "memory_limit": read("/sys/fs/cgroup/memory/memory.limit_in_bytes")
        if os.path.exists("/sys/fs/cgroup/memory") else read("/sys/fs/cgroup/memory.max"),
    "customization": repr(sys.modules.get("sitecustomize")),
}
with open(os.path.join(out, "seen.json"), "w") as file:
    json.dump(seen, file, default=str)
with open(os.path.join(out, "modules.json"), "w") as file:
    json.dump(sorted(sys.modules), file)
"""


class Pair:
    """The same job twice: started cold and started warm."""

    def __init__(self, cold: SandboxBackend, warm: SandboxBackend, make: MakeSpec) -> None:
        self._backends = (cold, warm)
        self._make = make

    async def run(
        self, body: str, *, module: bool, words: tuple[str, ...] = (), **settings: Any
    ) -> list[tuple[SandboxSpec, Observation]]:
        """Run a program by ``-m`` or by ``-c`` on both."""
        ended = []
        for backend in self._backends:
            spec = self._make(
                Program(""), env={"EPOCHS": "3", "OMP_SCHEDULE": "static"}, **settings
            )
            argv = ("-c", body, *words)
            if module:
                (spec.paths.code / "program.py").write_text(body)
                argv = ("-m", "program", *words)
            spec = replace(spec, argv=argv)
            await backend.prepare(spec)
            await backend.start(spec)
            async with asyncio.timeout(60):
                ended.append((spec, await backend.wait(spec)))
        return ended


@pytest.fixture
async def pair(tmp_path: Path, instance: str, make: MakeSpec) -> AsyncIterator[Pair]:
    backends: list[DockerBackend] = [
        WarmDocker(tmp_path / name, None, Config())  # type: ignore[arg-type]
        for name in ("cold", "warm")
    ]
    backends[0].prepare = super(WarmDocker, backends[0]).prepare  # type: ignore[method-assign]
    for backend in backends:
        await backend.open(instance)
    yield Pair(*backends, make)
    for backend in backends:
        for seen in (await backend.observe()).values():
            await backend.remove(seen.ref)
        await backend.close()


@pytest.mark.parametrize("module", [True, False], ids=["module", "command"])
async def test_nothing_a_script_looks_at_differs(pair: Pair, module: bool) -> None:
    cold, warm = await pair.run(
        LOOKS, module=module, words=("a b", "", "--x"), dataset=b"data", suffix=".csv"
    )
    assert [each.confinement["start"] for _, each in (cold, warm)] == ["cold", "warm"]
    assert [each.exit_code for _, each in (cold, warm)] == [0, 0], cold[0].paths.log.read_text()
    was, now = (json.loads((s.paths.output / "seen.json").read_text()) for s, _ in (cold, warm))
    assert {key: (was[key], now[key]) for key in was if was[key] != now[key]} == {}
    before, after = (
        set(json.loads((s.paths.output / "modules.json").read_text())) for s, _ in (cold, warm)
    )
    assert before <= after, "more is imported already, nothing less"


ENDS = {
    "uncaught": "def inner():\n    raise ValueError('boom')\ninner()\n",
    "chained": "try:\n    {}['x']\nexcept KeyError as error:\n    raise RuntimeError('y') from error\n",
    "message": "import sys\nsys.exit('a message')\n",
    "interrupt": "raise KeyboardInterrupt\n",
    "atexit": "import atexit, sys\natexit.register(print, 'last', file=sys.stderr)\n1/0\n",
    "signal": "import os, signal\nos.kill(os.getpid(), signal.SIGABRT)\n",
}


@pytest.mark.parametrize("end", ENDS)
async def test_every_end_reads_the_same(pair: Pair, end: str) -> None:
    cold, warm = await pair.run(ENDS[end], module=True)
    assert warm[1].confinement["start"] == "warm"
    assert warm[1].exit_code == cold[1].exit_code
    assert warm[0].paths.log.read_bytes() == cold[0].paths.log.read_bytes()
    assert (cold[1].exit_code, cold[0].paths.log.read_bytes()) != (0, b"")


async def test_random_numbers_are_each_sandboxs_own(pair: Pair) -> None:
    body = "import os, random\nopen(os.environ['MODEL_OUTPUT_PATH'] + '/r', 'w').write(str(random.random()))"
    drawn = [
        (spec.paths.output / "r").read_text()
        for _ in range(2)
        for spec, _ in await pair.run(body, module=False)
    ]
    assert len(set(drawn)) == 4

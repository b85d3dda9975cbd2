"""A user's requirements become a lock: the one step of a build that asks an index for versions.

Only metadata is read and nothing of a package is run: what has no wheel is refused, because
building one would run a stranger's code outside a sandbox. The result is a hash-locked file like
any other, kept by content, so that equal wishes are resolved once.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from trainbox_plugins.environments.cache import exclusive, work_directory
from trainbox_plugins.environments.index_settings import resolver_environment
from trainbox_plugins.environments.lock import Pin, read_lock
from trainbox_plugins.environments.pip import without_credentials
from trainbox_plugins.environments.wishes import Wish, read_wishes, requirements_problems
from trainbox_sdk.environments import BuildProgress, Environment
from trainbox_sdk.errors import BackendRejected

REFUSED = "requirements_refused"
UNRESOLVABLE = "requirements_unresolvable"
RESOLVE_TIMEOUT_S = 600
_MAX_TOLD = 1500
_TOLD = 5
_PLACES = re.compile(r"(?:https?|file)://[^\s`'\")]*/([^\s`'\")/]*)/?")

_CAUSES = (
    (
        ("invalid peer certificate", "UnknownIssuer", "certificate verify failed"),
        "package_index_untrusted",
        "the package index answers with a certificate that this host does not trust",
        "add your company's CA to the system's store, or set PIP_CERT to its bundle for the daemon",
    ),
    (
        ("No space left on device",),
        "storage_full",
        "the disk is full",
        "free space in the cache directory (TRAINBOX_CACHE_DIR)",
    ),
    (
        ("No solution found", "no usable wheels", "has no wheels"),
        UNRESOLVABLE,
        "these requirements cannot be met together on this Python, from wheels alone",
        "change the requirements; a package without a wheel needs one built and put on the index",
    ),
    (
        ("error sending request", "dns error", "tcp connect", "Failed to fetch", "timed out"),
        "package_index_unreachable",
        "the package index cannot be reached",
        (
            "set PIP_INDEX_URL (or pip.conf) to an index this host reaches, HTTPS_PROXY if it "
            "needs one, or point TRAINBOX_WHEELHOUSE to a directory with the wheels"
        ),
    ),
)


class Resolver:
    """A cache directory of locks made from wishes.

    Args:
        root: may be shared by any number of daemons of one user.
        offline: a directory of wheels to take instead of asking an index.
    """

    def __init__(self, root: Path, offline: Path | None = None) -> None:
        self._root = root
        self._offline = offline

    def lock(self, environment: Environment, report: BuildProgress, *, glibc_minor: int) -> Path:
        """Return the lock of an environment: its own, or one with its wishes resolved. Blocks.

        Raises:
            BackendRejected: ``requirements_refused``, ``requirements_unresolvable``, or what keeps
                the index from answering.
        """
        wishes = tuple(wish for path in environment.wishes for wish in _wishes_of(path))
        if not wishes:
            return environment.requirements
        key = f"{environment.digest[:32]}-glibc2.{glibc_minor}-{platform.machine()}"
        target = self._root / f"{key}.lock"
        with exclusive(self._root / f".{key}.held"):
            if not target.exists():
                report(0.0, f"resolving {len(wishes)} requirements")
                self._resolve(environment, wishes, target, glibc_minor)
        report(1.0, f"{len(read_lock(target))} packages are locked")
        return target

    def _resolve(
        self, environment: Environment, wishes: Sequence[Wish], target: Path, glibc_minor: int
    ) -> None:
        with work_directory(self._root, ".resolve-") as work:
            (work / "base.in").write_text("\n".join(environment.names) + "\n", encoding="utf-8")
            lines = "\n".join(wish.text for wish in wishes)
            (work / "wishes.in").write_text(f"{lines}\n", encoding="utf-8")
            # What is pinned in the file that will be written is preferred where there is a choice.
            shutil.copyfile(environment.requirements, work / "out.lock")
            self._run(work, environment.python, glibc_minor)
            pins = [_as_wished(pin, wishes) for pin in read_lock(work / "out.lock")]
            (work / "lock").write_text("".join(map(_line, pins)), encoding="utf-8")
            (work / "lock").replace(target)

    def _run(self, work: Path, python: str, glibc_minor: int) -> None:
        own = resolver_environment(self._root / "resolver", self._offline)
        no_index = ["--no-index"] if own.pop("UV_OFFLINE", None) else []
        command = [
            *(_uv(), "pip", "compile", "--quiet", "--no-build", "--generate-hashes"),
            *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
            # As pip does: the best version of all indexes, whichever has it.
            "--index-strategy=unsafe-best-match",
            f"--python={sys.executable}",
            f"--python-version={python}",
            f"--python-platform={platform.machine()}-manylinux_2_{glibc_minor}",
            *no_index,
            *("base.in", "wishes.in", "--output-file=out.lock"),
        ]
        code, said = _run_limited(command, work, own)
        if code != 0:
            raise _explain(said)


def _uv() -> str:
    import uv

    try:
        return uv.find_uv_bin()
    except FileNotFoundError as error:
        raise BackendRejected(
            "the resolver uv is not installed beside the daemon",
            code="resolver_missing",
            hint=f"{sys.executable} -m pip install uv",
        ) from error


def _run_limited(command: Sequence[str], work: Path, own: dict[str, str]) -> tuple[int, str]:
    with subprocess.Popen(
        command,
        cwd=work,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=own,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=RESOLVE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise BackendRejected(
                f"the requirements could not be resolved in {RESOLVE_TIMEOUT_S} s",
                code=UNRESOLVABLE,
                hint="pin more versions, so that there is less to choose from",
            ) from None
    return process.returncode, said


def _wishes_of(path: Path) -> tuple[Wish, ...]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BackendRejected(f"{path.name} is not UTF-8 text", code=REFUSED) from None
    problems = requirements_problems(text)
    if problems:
        told = "; ".join(f"line {problem.line}: {problem.message}" for problem in problems[:_TOLD])
        more = f" (and {len(problems) - _TOLD} more)" if len(problems) > _TOLD else ""
        raise BackendRejected(f"{path.name} {told}{more}", code=REFUSED)
    return read_wishes(text)


def _as_wished(pin: Pin, wishes: Sequence[Wish]) -> Pin:
    """Leave only the files a user allowed, where hashes were written."""
    for wish in wishes:
        if wish.hashes and wish.name == _normal(pin.name):
            pin = Pin(pin.name, pin.version, pin.hashes & wish.hashes)
            if not pin.hashes:
                raise BackendRejected(
                    f"no file of {pin.name} {pin.version} on the index has a hash that line "
                    f"{wish.line} allows",
                    code=UNRESOLVABLE,
                )
    return pin


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _line(pin: Pin) -> str:
    hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(pin.hashes))
    return f"{pin.name}=={pin.version}{hashes}\n"


def _explain(said: str) -> BackendRejected:
    """Turn the resolver's words into a sentence, a code and a way out; it names no address."""
    told = _PLACES.sub(r"\1", without_credentials(" ".join(said.split())))[-_MAX_TOLD:]
    for words, code, sentence, hint in _CAUSES:
        if any(word in said for word in words):
            return BackendRejected(f"{sentence}: {told}", code=code, hint=hint)
    return BackendRejected(f"the resolver failed: {told}", code=UNRESOLVABLE)

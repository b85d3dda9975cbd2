"""Run pip as a program, with the host's own configuration, and say what went wrong.

The host's index, proxy, credentials and CA bundle (pip.conf, PIP_*, netrc, SSL_CERT_FILE, ...)
apply because pip runs here, as the daemon's user; nothing of them is passed on.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from trainbox_sdk.errors import BackendRejected

PipLine = Callable[[str], None]
_CREDENTIALS = re.compile(r"//[^/@\s]+@")
_MAX_TOLD = 600

_CAUSES = (
    (
        ("CERTIFICATE_VERIFY_FAILED", "SSLError", "certificate verify failed"),
        "package_index_untrusted",
        "the package index answers with a certificate that this host does not trust",
        (
            "add your company's CA to the system's store, or set PIP_CERT to its bundle for the "
            "daemon (REQUESTS_CA_BUNDLE, where it is set, wins over PIP_CERT)"
        ),
    ),
    (
        ("DO NOT MATCH THE HASHES",),
        "wheel_hash_mismatch",
        "a package is not the one that was locked: its sha256 differs",
        "the index or a proxy changed the file; do not install it, ask who runs the index",
    ),
    (
        (
            "NewConnectionError",
            "NameResolutionError",
            "Max retries exceeded",
            "ProxyError",
            "ReadTimeout",
            "ConnectTimeout",
            "Connection broken",
            "Temporary failure in name resolution",
            "Connection refused",
            "Network is unreachable",
            "RemoteDisconnected",
            "ConnectionResetError",
            "Connection aborted",
        ),
        "package_index_unreachable",
        "the package index cannot be reached",
        (
            "set PIP_INDEX_URL (or pip.conf) to an index this host reaches, HTTPS_PROXY if it "
            "needs one, or point TRAINBOX_WHEELHOUSE to a directory with the wheels"
        ),
    ),
    (
        ("No matching distribution", "Could not find a version"),
        "wheel_missing",
        "the index has no wheel of a locked version for this Python and platform",
        "upload the wheel to your index, or put it into the TRAINBOX_WHEELHOUSE directory",
    ),
    (
        ("No space left on device",),
        "storage_full",
        "the disk is full",
        "free space in the cache directory (TRAINBOX_CACHE_DIR)",
    ),
)


def pip_package() -> Path:
    """Return pip itself, the daemon's own or the one that Python carries: a folder or a wheel.

    Either can be run by any Python: ``python <folder or wheel>/pip``.

    Raises:
        BackendRejected: neither exists.
    """
    spec = importlib.util.find_spec("pip")
    if spec is not None and spec.origin:
        return Path(spec.origin).parent
    bundled = sorted(_bundled_wheels())
    if bundled:
        return bundled[-1]
    raise BackendRejected(
        f"{sys.executable} has no pip, which environments are built with",
        code="pip_missing",
        hint="run it with -m ensurepip, or install your distribution's python3-pip and "
        "python3-venv packages",
    )


def _pip_command() -> list[str]:
    package = pip_package()
    return [sys.executable, "-I", str(package / "pip" if package.suffix == ".whl" else package)]


def _bundled_wheels() -> list[Path]:
    spec = importlib.util.find_spec("ensurepip")
    origin = Path(spec.origin).parent if spec is not None and spec.origin else Path("/nonexistent")
    folders = (origin / "_bundled", Path("/usr/share/python-wheels"))
    return [wheel for folder in folders for wheel in folder.glob("pip-*.whl")]


def run_pip(arguments: Sequence[str], *, doing: str, line: PipLine | None = None) -> None:
    """Run pip and raise what its failure means.

    Args:
        arguments: after ``pip``.
        doing: for the message, such as ``downloading wheels for tabular``.
        line: called with each line of output.

    Raises:
        BackendRejected: with a code, what happened and how to fix it.
    """
    command = [*_pip_command(), "--no-input", "--disable-pip-version-check", *arguments]
    said: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        umask=0o022,  # another user will run what is installed
    ) as process:
        assert process.stdout is not None
        for raw in process.stdout:
            said.append(raw.rstrip())
            if line is not None:
                line(said[-1])
    if process.returncode != 0:
        raise explain(doing, said)


def pip_settings() -> str:
    """Return what ``pip config list`` prints: one ``section.option='value'`` per line.

    Raises:
        BackendRejected: a broken pip.conf, which pip's own words name.
    """
    done = subprocess.run(
        [*_pip_command(), "config", "list"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise explain("reading pip's settings", done.stderr.splitlines())
    return done.stdout


def without_credentials(text: str) -> str:
    """Return text with user names and passwords cut out of its URLs."""
    return _CREDENTIALS.sub("//", text)


def explain(doing: str, said: Sequence[str]) -> BackendRejected:
    """Turn pip's words into one sentence, a code and a way out; credentials are cut out."""
    text = "\n".join(said)
    told = [line for line in said if line.lower().startswith(("error", "warning"))] or said[-3:]
    detail = without_credentials("; ".join(dict.fromkeys(told)))[-_MAX_TOLD:]
    for words, code, sentence, hint in _CAUSES:
        if any(word in text for word in words):
            return BackendRejected(f"{doing}: {sentence} ({detail})", code=code, hint=hint)
    return BackendRejected(f"{doing}: pip failed ({detail})", code="pip_failed")

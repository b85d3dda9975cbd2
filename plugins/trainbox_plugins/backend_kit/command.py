"""The arguments and the environment of a step's program, refused where it could not have them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trainbox_sdk.backends import guest_environment
from trainbox_sdk.errors import BackendRejected

if TYPE_CHECKING:
    from trainbox_sdk.backends import InsidePaths, SandboxSpec

MAX_ENV_VALUE_BYTES = 4096
"""A longer value makes ``exec`` fail as if the step had failed."""
MAX_ENV_BYTES = 64 * 1024

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOADER_ENV = re.compile(r"LD_.*|GCONV_PATH|MALLOC_.*|GLIBC_TUNABLES")


def arguments(spec: SandboxSpec) -> list[str]:
    """Return the words after the interpreter.

    Raises:
        BackendRejected: there are none, or one holds a null byte.
    """
    if not spec.argv:
        raise BackendRejected("nothing to run: argv is empty")
    if any("\0" in word for word in spec.argv):
        raise BackendRejected("an argument holds a null byte")
    return list(spec.argv)


def environment(spec: SandboxSpec, inside: InsidePaths) -> dict[str, str]:
    """Return the guest's whole environment.

    Raises:
        BackendRejected: a name no variable can have or that steers the loader, a value no program
            can be given, or more than :data:`MAX_ENV_BYTES` in all.
    """
    for name in spec.env:
        if not _ENV_NAME.fullmatch(name):
            raise BackendRejected(f"{name!r} is not a name an environment variable can have")
        if _LOADER_ENV.fullmatch(name):
            raise BackendRejected(
                f"variable {name} steers the dynamic loader, which also loads the sandbox's init"
            )
    whole = guest_environment(inside, spec)
    if sum(_variable_bytes(name, value) for name, value in whole.items()) > MAX_ENV_BYTES:
        raise BackendRejected(f"the environment is larger than {MAX_ENV_BYTES} bytes")
    return whole


def data_name(spec: SandboxSpec) -> str:
    """Return the name of the dataset inside; it keeps its suffix, which readers look at."""
    return "data" if spec.paths.dataset is None else f"data{spec.paths.dataset.suffix}"


def _variable_bytes(name: str, value: str) -> int:
    if "\0" in value:
        raise BackendRejected(f"variable {name} holds a null byte")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise BackendRejected(f"variable {name} is not text: {error}") from error
    if size > MAX_ENV_VALUE_BYTES:
        raise BackendRejected(f"variable {name} is longer than {MAX_ENV_VALUE_BYTES} bytes")
    return len(name) + size + 2

"""Read the spec, run the entry, turn any outcome into an exit code.

Started as ``python -u -m trainbox_guest.main`` with the staged code on ``PYTHONPATH``.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any, Callable, cast

from trainbox_guest import protocol, second_layer
from trainbox_guest.run import GuestError, Run


def load_entry(entry: str) -> Callable[[Run], Any]:
    """Return the function behind ``package.module:function``.

    Raises:
        protocol.ProtocolError: malformed, or no such module or function.
    """
    module_name, _, function_name = entry.partition(":")
    if not module_name or not function_name:
        raise protocol.ProtocolError(f"entry {entry!r} is not 'package.module:function'")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except AttributeError as error:
        raise protocol.ProtocolError(f"{module_name} has no function {function_name}") from error
    return cast("Callable[[Run], Any]", function)


def run_step(run: Run) -> int:
    """Run one step and return its exit code; the reason goes to events and stderr."""
    try:
        load_entry(run.spec.entry)(run)
    except GuestError as error:
        run.emit.failure(error.code, error.message, error.hint)
        print(f"{error.code}: {error.message}\n{error.hint}".rstrip(), file=sys.stderr)
        return protocol.EXIT_DATA
    except MemoryError:
        run.emit.failure("out_of_memory", "Python could not allocate memory", "raise the limit")
        traceback.print_exc()
        return protocol.EXIT_CRASH
    except Exception as error:  # noqa: BLE001 - the last line of defence before the exit code
        run.emit.failure("exception", f"{type(error).__name__}: {error}")
        traceback.print_exc()
        return protocol.EXIT_CRASH
    return protocol.EXIT_OK


def main() -> int:
    """Run the step the environment describes."""
    try:
        second_layer.put_on()
        run = Run.from_environment()
    except (protocol.ProtocolError, OSError, ValueError) as error:
        print(f"trainbox_guest: {error}", file=sys.stderr)
        return protocol.EXIT_PROTOCOL
    return run_step(run)


if __name__ == "__main__":
    sys.exit(main())

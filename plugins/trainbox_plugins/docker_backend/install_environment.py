"""Runs inside a throw-away container with no network: wheels in, a compiled environment out.

Standard library only, any Python the base brings; ``/mnt`` holds the wheels, the lock and pip, and
is a mount, so that nothing of it can stay in the image.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import subprocess
import sys
import sysconfig

PREFIX = "/opt/trainbox"
_MNT = "/mnt"


def main() -> None:
    """Make the environment at :data:`PREFIX`, of the Python version given as argument."""
    here = "{}.{}".format(*sys.version_info[:2])
    if here != sys.argv[1]:
        sys.exit(f"the base has Python {here}, the lock is for {sys.argv[1]}")
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", PREFIX], check=True)
    python = f"{PREFIX}/bin/python"
    pip = f"{_MNT}/pip.whl/pip" if os.path.exists(f"{_MNT}/pip.whl") else f"{_MNT}/pip"  # noqa: PTH110
    options = ["--no-input", "--disable-pip-version-check", "--no-cache-dir", "--isolated"]
    install = ["install", "--no-index", f"--find-links={_MNT}/wheels", "--require-hashes"]
    quiet = ["--no-deps", "--no-compile", "--no-warn-script-location", "--root-user-action=ignore"]
    lock = f"--requirement={_MNT}/requirements.lock"
    subprocess.run([python, "-I", pip, *options, *install, *quiet, lock], check=True)
    print("compiling bytecode", flush=True)  # noqa: T201 - the builder reads it
    # Unchecked: trusted without a look at the source, whatever layers do to modification times.
    for folder in (sysconfig.get_path("stdlib"), f"{PREFIX}/lib"):
        compileall.compile_dir(
            folder,
            quiet=2,
            force=True,
            workers=0,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


if __name__ == "__main__":
    main()

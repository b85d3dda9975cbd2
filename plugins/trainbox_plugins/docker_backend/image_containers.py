"""The throw-away containers that make and try an image, and what they are given to read."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainbox_plugins.docker_backend import install_environment
from trainbox_plugins.docker_backend.image_base import Ground
from trainbox_plugins.environments.cache import work_directory
from trainbox_plugins.environments.pip import pip_package
from trainbox_plugins.environments.prefixes import Prefix, pack
from trainbox_plugins.environments.wheelhouse import IMAGE_GLIBC, Wheels
from trainbox_sdk.environments import Environment

BUILDING = "trainbox.building"
"""Label of the throw-away containers, so that a crashed build's can be told from sandboxes."""
BUILDING_FOR = "trainbox.building.digest"
PYTHON = f"{install_environment.PREFIX}/bin/python"
USER = "10001:10001"
_INSTALL_MEMORY = 4 * 1024**3


def place_of(prefix: Prefix) -> str:
    """Return where a prefix lies in an image."""
    return f"/opt/python/{prefix.version}"


def install_body(
    ground: Ground, stage: Path, environment: Environment, digest: str
) -> dict[str, Any]:
    """Return the container that installs and compiles: root, but without network."""
    return {
        "Image": ground.image,
        "Entrypoint": [],
        "Cmd": ["/bin/sh", "-ec", _install_command(ground, environment)],
        "User": "0:0",
        "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/tmp"],
        "Labels": {BUILDING: "1", BUILDING_FOR: digest},
        "HostConfig": {
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "Tmpfs": {"/tmp": "rw,nosuid,nodev,size=512m"},  # noqa: S108
            "Mounts": [{"Type": "bind", "Source": str(stage), "Target": "/mnt", "ReadOnly": True}],
            "Memory": _INSTALL_MEMORY,
            "PidsLimit": 256,
            "Init": True,
        },
    }


def _install_command(ground: Ground, environment: Environment) -> str:
    source = Path(install_environment.__file__).read_text(encoding="utf-8")
    # Nothing is imported where a stranger's packages are installed: they would run here, as root.
    imports = () if ground.is_environment else environment.warm_imports
    arguments = shlex.join((environment.python, *imports))
    run = f"-I -c {shlex.quote(source)} {arguments}"
    if ground.is_environment:
        return f"exec {PYTHON} {run}"
    if ground.prefix is None:
        # The one interpreter every such base has on its PATH, whatever the directory.
        return f"exec python3 {run}"
    place = place_of(ground.prefix)
    return (
        f"mkdir -p {place}; tar -xf /mnt/python.tar --no-same-owner -C {place}; "
        f"echo {place}/lib > /etc/ld.so.conf.d/trainbox.conf; /sbin/ldconfig; "
        f"exec {place}/bin/python{environment.python} {run}"
    )


def import_body(image: str, environment: Environment, digest: str) -> dict[str, Any]:
    """Return the container that tries the imports as a sandbox would: nothing is writable."""
    modules = ", ".join(environment.warm_imports) or "sys"
    code = f"import time; t = time.perf_counter(); import {modules}; print(time.perf_counter() - t)"
    return {
        "Image": image,
        "Cmd": [PYTHON, "-I", "-B", "-c", code],
        "User": USER,
        "Env": ["LANG=C.UTF-8", "HOME=/tmp", "PATH=/usr/local/bin:/usr/bin:/bin"],
        "Labels": {BUILDING: "1", BUILDING_FOR: digest},
        "HostConfig": {
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "Tmpfs": {"/tmp": "rw,nosuid,nodev,noexec,size=64m,mode=1777"},  # noqa: S108
            "Memory": _INSTALL_MEMORY,
            "PidsLimit": 256,
            "Init": True,
        },
    }


@contextmanager
def staged(wheels: Wheels, lock: Path, prefix: Prefix | None, cache: Path) -> Iterator[Path]:
    """Lay out what the install container sees at /mnt; wheels are linked where possible."""
    with work_directory(cache, ".stage-") as stage:
        stage.chmod(0o755)
        (stage / "wheels").mkdir()
        for name in wheels.files:
            _link_or_copy(wheels.directory / name, stage / "wheels" / name)
        shutil.copyfile(lock, stage / "requirements.lock")
        if prefix is not None:
            pack(prefix, place_of(prefix), stage / "python.tar", IMAGE_GLIBC)
        pip = pip_package()
        if pip.suffix == ".whl":
            shutil.copyfile(pip, stage / "pip.whl")
        else:
            shutil.copytree(pip, stage / "pip", ignore=shutil.ignore_patterns("__pycache__"))
        yield stage


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)

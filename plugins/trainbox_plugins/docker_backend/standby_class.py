"""Which sandboxes are so alike that one of them can stand by for any: pure, from the policy.

A sandbox that stands by is created with the very body that a cold one of its class would have; what
differs from job to job (the reference, the files, some variables) comes later. Whatever the policy
decides is part of the class, so a new line there needs nothing here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainbox_plugins.docker_backend.policy import LABEL, Confinement, sandbox_policy
from trainbox_plugins.docker_backend.slot_directory import INSIDE, STANDBY_INSIDE, Bind
from trainbox_sdk.backends import SandboxSpec

ROLE = "standby"
_CODE = f"{INSIDE}/in/code"
_PRELOADED = ("runpy", "traceback", "trainbox_guest.run")
"""What every guest program imports before the first line of its job."""
_READ_EARLY = re.compile(
    r"(PYTHON|LC_|LANG|OMP_|GOMP_|KMP_|MKL_|OPENBLAS_|BLIS_|BLAS|NUM|NPY_|NUMBA_|VECLIB_|TORCH|CUDA_|"
    r"PYTORCH_|TF_|XLA_|JAX_|HF_|TRANSFORMERS_|TOKENIZERS_|ORT_|JOBLIB_|LOKY_|SKLEARN_|SCIPY_|"
    r"PANDAS_|ARROW_|SSL_|TMPDIR|TZ).*"
)
"""Variables that an interpreter or a library reads while it starts: set before it does."""


@dataclass(frozen=True)
class StandbyClass:
    """One class of sandboxes.

    Attributes:
        key: equal for specs that the same sandbox can serve.
        body: what one is created with, but for what tells it from its like.
        early: what is mounted before it starts.
        modules: what it imports while it waits.
    """

    key: str
    body: Mapping[str, Any]
    early: tuple[Bind, ...]
    modules: tuple[str, ...]


def standby_class(spec: SandboxSpec, confinement: Confinement) -> StandbyClass:
    """Return the class of a spec.

    Raises:
        BackendRejected: as :func:`~trainbox_plugins.docker_backend.policy.sandbox_policy`.
    """
    early_env = {name: value for name, value in spec.env.items() if _READ_EARLY.fullmatch(name)}
    alike = replace(spec, env=early_env, paths=replace(spec.paths, dataset=None, inputs=None))
    body = sandbox_policy(alike, confinement)
    early = tuple(bind for bind in binds_of(body) if bind.target == _CODE)
    modules = (*_PRELOADED, *(name for name in spec.modules if name not in _PRELOADED))
    told = {**body, "Labels": {}, "HostConfig": {**body["HostConfig"], "Mounts": _others(body)}}
    key = [told, [bind.source for bind in early], modules, spec.trusted]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
    return StandbyClass(digest[:32], body, early, modules)


def slot_body(kind: StandbyClass, instance: str, slot: str, root: str) -> dict[str, Any]:
    """Return what one sandbox of a class is created with.

    Args:
        kind: its class.
        instance: whose it is.
        slot: its own id.
        root: the host directory behind ``/trainbox``.
    """
    variables = variables_of(kind.body)
    # The standby's own files come first among the packages, until it has started.
    before = variables.get("PYTHONPATH", "")
    variables["PYTHONPATH"] = f"{STANDBY_INSIDE}:{before}" if before else STANDBY_INSIDE
    mount = {
        "Type": "bind",
        "Source": root,
        "Target": INSIDE,
        "ReadOnly": True,
        # What is mounted below on the host appears inside, and nothing the other way.
        "BindOptions": {"Propagation": "rslave"},
    }
    host = {**kind.body["HostConfig"], "Mounts": [mount, *_others(kind.body)]}
    labels = {
        f"{LABEL}instance": instance,
        f"{LABEL}role": ROLE,
        f"{LABEL}slot": slot,
        f"{LABEL}class": kind.key,
    }
    env = sorted(f"{name}={value}" for name, value in variables.items())
    return {**kind.body, "Env": env, "Labels": labels, "HostConfig": host}


def slot_name(instance: str, slot: str) -> str:
    """Return the name of a slot's container."""
    return f"trainbox-{instance}-{ROLE}-{slot}".replace("_", "-")


def binds_of(body: Mapping[str, Any]) -> tuple[Bind, ...]:
    """Return what a create body mounts below ``/trainbox``."""
    return tuple(
        Bind(mount["Source"], mount["Target"], bool(mount["ReadOnly"]))
        for mount in body["HostConfig"]["Mounts"]
        if str(mount["Target"]).startswith(f"{INSIDE}/")
    )


def variables_of(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of a create body."""
    return dict(entry.split("=", 1) for entry in body["Env"])


def _others(body: Mapping[str, Any]) -> list[Any]:
    return [
        mount
        for mount in body["HostConfig"]["Mounts"]
        if not str(mount["Target"]).startswith(f"{INSIDE}/")
    ]

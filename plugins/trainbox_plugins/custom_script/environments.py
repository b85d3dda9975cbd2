"""The runtimes a script may ask for: one small base set, locked once per Python."""

from __future__ import annotations

from pathlib import Path

from trainbox_sdk.environments import Environment

RUNTIMES = ("python3.10", "python3.11", "python3.12")
"""Names of the environments, as users write them."""

_FOLDER = Path(__file__).parent / "environment"


def _wanted() -> tuple[str, ...]:
    lines = (_FOLDER / "requirements.in").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def environment_of(runtime: str) -> Environment:
    """Return the environment of one of the :data:`RUNTIMES`."""
    python = runtime.removeprefix("python")
    return Environment(
        name=runtime,
        python=python,
        requirements=_FOLDER / f"{python}.lock",
        # Of no use to the base set; what users ask for most (LightGBM, XGBoost) does not start
        # without it.
        system_packages=("libgomp1",),
        warm_imports=("numpy", "pandas", "pyarrow.parquet", "sklearn.ensemble", "joblib"),
        names=_wanted(),
    )


ENVIRONMENTS = tuple(environment_of(runtime) for runtime in RUNTIMES)

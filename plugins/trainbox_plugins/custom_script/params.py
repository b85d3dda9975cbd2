"""The parameters of a custom script, as the daemon validates and documents them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from trainbox_sdk.assets import filename_problem

KIND = Literal["script", "weights", "requirements", "config", "other"]
MAX_FILES = 100
MAX_VARIABLES = 100
MAX_VALUE_BYTES = 4096
MAX_VARIABLES_BYTES = 32 * 1024

RESERVED = re.compile(
    r"DATASET_PATH|MODEL_OUTPUT_PATH|TRAINBOX_.*"  # the contract
    r"|PATH|HOME|LANG|TZ|PYTHON.*"  # the interpreter
    r"|LD_.*|GCONV_PATH|MALLOC_.*|GLIBC_TUNABLES"  # the loader and the C library
    # Thread counts, which follow the CPU quota and are read before a script starts; telemetry.
    r"|(OMP|KMP|OPENBLAS|GOTO|MKL|NUMEXPR|VECLIB)_.*|ORT_DISABLE_TELEMETRY"
    r"|KUBEFLOW_TRAINER_.*"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def _filename(name: str) -> str:
    """Refuse a name that would not be a file of its own beside the script."""
    if problem := filename_problem(name):
        raise PydanticCustomError("filename", "{problem}", {"problem": problem})
    return name


def _variable(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise PydanticCustomError(
            "variable", "is no name of a variable: letters, digits and _, no digit first"
        )
    if RESERVED.fullmatch(name):
        raise PydanticCustomError(
            "reserved_variable", "is set by trainbox or steers the interpreter: choose another name"
        )
    return name


def _value(text: str) -> str:
    if "\0" in text or not _fits(text, MAX_VALUE_BYTES):
        raise PydanticCustomError(
            "value",
            "must be text of at most {most} bytes without a null character",
            {"most": MAX_VALUE_BYTES},
        )
    return text


def _fits(text: str, most: int) -> bool:
    try:
        return len(text.encode()) <= most
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write
        return False


Filename = Annotated[str, AfterValidator(_filename)]
Variable = Annotated[str, AfterValidator(_variable)]
Value = Annotated[str, AfterValidator(_value)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AssetUse(_Strict):
    """One uploaded file, laid beside the script."""

    asset: str = Field(
        min_length=1, max_length=64, title="Asset", description="Id of the asset: ast_…"
    )
    name: Filename = Field(title="Name", description="What it is called beside the script.")
    kind: KIND = Field(
        title="Kind",
        description="A script can be the entry point; requirements are installed before the run; "
        "the others are only laid there.",
    )


class CustomScriptParams(_Strict):
    """What to run, on which Python, with which files."""

    entry_point: Filename = Field(
        title="Entry point", description="Name of the script among the assets that is run."
    )
    runtime: Literal["python3.10", "python3.11", "python3.12"] = Field(
        default="python3.11", title="Runtime", description="The Python that runs it."
    )
    assets: list[AssetUse] = Field(
        min_length=1,
        max_length=MAX_FILES,
        title="Assets",
        description="Uploaded files, read-only beside the script; their bytes are those at the "
        "time of submission.",
    )
    environment_vars: dict[Variable, Value] = Field(
        default_factory=dict,
        max_length=MAX_VARIABLES,
        title="Environment variables",
        description="For the script. Names that trainbox sets or that steer Python are refused.",
    )
    arguments: list[Value] = Field(
        default_factory=list,
        max_length=100,
        title="Arguments",
        description="The script's sys.argv after its own name.",
    )
    dataset_format: Literal["parquet", "csv", "jsonl"] = Field(
        default="parquet",
        title="Dataset format",
        description="How the data lies at DATASET_PATH. CSV and JSONL are written in the sandbox "
        "before the script starts, and take room and time.",
    )

    @model_validator(mode="after")
    def _files_are_distinct(self) -> Self:
        counts = Counter(use.name for use in self.assets)
        twice = sorted(name for name, count in counts.items() if count > 1)
        if twice:
            raise PydanticCustomError(
                "same_name", "several assets are named {name}", {"name": repr(twice[0])}
            )
        return self

    @model_validator(mode="after")
    def _entry_point_is_a_script(self) -> Self:
        scripts = [use.name for use in self.assets if use.kind == "script"]
        if self.entry_point not in scripts:
            raise PydanticCustomError(
                "entry_point",
                "entry_point {entry} is no script among the assets; scripts: {scripts}",
                {"entry": repr(self.entry_point), "scripts": ", ".join(scripts) or "none"},
            )
        return self

    @model_validator(mode="after")
    def _variables_fit(self) -> Self:
        pairs = self.environment_vars.items()
        if sum(len(name) + len(value.encode()) + 2 for name, value in pairs) > MAX_VARIABLES_BYTES:
            raise PydanticCustomError(
                "variables",
                "environment_vars are larger than {most} bytes",
                {"most": MAX_VARIABLES_BYTES},
            )
        return self

"""Entry of the step ``run``: lay out the script's world, run it, say what came of it."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from trainbox_guest import protocol, report
from trainbox_guest.meter import Meter
from trainbox_guest.metric_lines import watch_stdout
from trainbox_guest.run import GuestError, Run
from trainbox_plugins.custom_script.guest import program, workplace
from trainbox_plugins.custom_script.guest.reporters import ListenOnImport

MODEL = "model"
"""What MODEL_OUTPUT_PATH ends in; it does not exist when the script starts."""


def main(run: Run) -> None:
    """Run the script; it ends as it would by itself: with its exit code, or its traceback.

    Raises:
        SystemExit: the script's own, or 1 after an exception of its.
    """
    if run.inputs is None:
        raise GuestError("no_script", "this step was given no files, so there is no script")
    model = run.output_path / MODEL
    _set_variables(run, model)
    workplace.enter(run.scratch_path, run.inputs, run.spec.inputs)
    meter = Meter(run.emit)
    report.use(meter)
    watch_stdout(meter)
    sys.meta_path.insert(0, ListenOnImport(meter))
    try:
        program.run(run.inputs / run.params["entry_point"], run.params.get("arguments", ()))
    except SystemExit as leaving:
        _finish(run, meter, model, ok=leaving.code in (None, 0))
        raise
    except BaseException as error:  # noqa: BLE001 - whatever ends a script is told as Python does
        _fail(run, meter, error, model)
    _finish(run, meter, model, ok=True)


def _set_variables(run: Run, model: Path) -> None:
    os.environ.update(run.params.get("environment_vars", {}))
    # Ours alone: a script's own children find modules beside them, as Python has it elsewhere.
    os.environ.pop("PYTHONSAFEPATH", None)
    os.environ[protocol.ENV_OUTPUT] = str(model)
    wanted = run.params.get("dataset_format", "parquet")
    if run.dataset is not None and wanted != "parquet":
        from trainbox_plugins.custom_script.guest.conversion import convert

        converted = convert(run.dataset, run.scratch_path / f"dataset.{wanted}", wanted)
        os.environ[protocol.ENV_DATASET] = str(converted)
    time.tzset()


def _finish(run: Run, meter: Meter, model: Path, *, ok: bool) -> None:
    """Report what is left to report; a script that closed or filled everything still ends well."""
    meter.finish()
    if not ok:
        return
    with suppress(OSError, protocol.ProtocolError):
        if not os.path.lexists(model):
            run.emit.message(
                "the script ended well and left no model: write one file, or a directory of "
                "files, to the path in MODEL_OUTPUT_PATH",
                level="warning",
            )
        run.result({"metrics": meter.last})


def _fail(run: Run, meter: Meter, error: BaseException, model: Path) -> NoReturn:
    told = program.explain(error, run.inputs, model)
    _finish(run, meter, model, ok=False)
    with suppress(OSError, protocol.ProtocolError):
        run.emit.failure(told.code, told.message, told.hint)
    program.show(error)
    raise SystemExit(told.exit_code)

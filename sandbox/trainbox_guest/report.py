"""Report metrics and progress from a script: ``from trainbox_guest import report``.

::

    for epoch in range(10):
        loss = train_one_epoch()
        report.metrics(loss=loss, epoch=epoch, total_epochs=10)
        report.progress((epoch + 1) / 10)

Where there is no trainbox, metrics are printed as JSON lines and nothing else happens, so that a
script runs unchanged on a laptop.
"""

from __future__ import annotations

import atexit
import json
import os
from typing import Any, List, Mapping, Optional

from trainbox_guest import protocol
from trainbox_guest.emit import Emitter
from trainbox_guest.meter import Meter

__all__ = ["message", "metric", "metrics", "progress"]

_meters: List[Meter] = []
"""The meter in use, once something was reported."""


def metric(
    name: str,
    value: Any,
    *,
    step: Optional[int] = None,
    epoch: Optional[float] = None,
    total_epochs: Optional[float] = None,
) -> None:
    """Report one number, at a step or an epoch where it belongs to a curve."""
    _report({name: value}, step=step, epoch=epoch, total_epochs=total_epochs)


def metrics(
    values: Optional[Mapping[str, Any]] = None,
    *,
    step: Optional[int] = None,
    epoch: Optional[float] = None,
    total_epochs: Optional[float] = None,
    **named: Any,
) -> None:
    """Report several numbers of one moment: ``metrics(loss=0.1, accuracy=0.9, epoch=3)``.

    Args:
        values: the numbers by name.
        step: where the moment is in the run.
        epoch: likewise; may be a fraction.
        total_epochs: how many epochs there will be; no progress is worked out from it.
        named: further numbers.
    """
    _report({**(values or {}), **named}, step=step, epoch=epoch, total_epochs=total_epochs)


def progress(fraction: float, *, eta_s: Optional[float] = None, message: str = "") -> None:
    """Say how far the run is: ``fraction`` in [0, 1], and seconds left where they are known."""
    meter = current()
    if meter is not None:
        meter.progress(float(fraction), eta_s=eta_s, message=message)


def message(text: str, *, level: str = "info") -> None:
    """Tell whoever follows the run something; ``level`` is debug, info, warning or error."""
    meter = current()
    if meter is not None:
        meter.message(str(text), level=level)


def current() -> Optional[Meter]:
    """Return the meter; a process that a script started makes one of its own."""
    if not _meters and os.environ.get(protocol.ENV_EVENTS):
        try:
            own = Meter(Emitter(os.environ[protocol.ENV_EVENTS]))
        except OSError:
            return None
        atexit.register(own.finish)
        use(own)
    return _meters[0] if _meters else None


def use(meter: Meter) -> None:
    """Report by this meter from now on; the sandbox calls it before a script starts."""
    _meters[:] = [meter]


def _report(values: Mapping[str, Any], **place: Any) -> None:
    meter = current()
    if meter is not None:
        meter.metrics(values, **place)
        return
    known = {name: at for name, at in place.items() if at is not None}
    print(json.dumps({"metric": {name: float(each) for name, each in values.items()}, **known}))

"""What the fake engine tells of printed lines: all that the real one does but time and stream."""

from __future__ import annotations

from trainbox_sdk.job_logs import LogFilter, LogPage
from trainbox_sdk.log_parsing import AttemptLog, choose, parse


def page(printed: bytes, which: LogFilter) -> LogPage:
    """Return the lines of one attempt that a filter lets through."""
    return choose([AttemptLog(1, [parse(printed)])], which)

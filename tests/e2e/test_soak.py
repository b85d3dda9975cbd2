"""Forty queued jobs of every fate on two cores, a kill and a stop of the daemon among them."""

from __future__ import annotations

from pathlib import Path

import pytest
from soak import CPUS, MEMORY, soak, soak_daemon

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

JOBS = 40


def test_forty_jobs_end_as_they_must_and_leave_nothing(tmp_path: Path, docker_engine: None) -> None:
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o011)  # a sandbox's user walks through
    report = soak(soak_daemon(tmp_path), JOBS)
    before, after, deleted = report.before, report.after, report.deleted

    assert report.wrong == []
    assert (report.jobs, report.attempts) == (JOBS, 1), "none is lost, none ran twice"
    assert report.most_cpus <= CPUS
    assert report.most_memory <= MEMORY
    assert report.most_cpus > 1, "side by side"

    for left in (after, deleted):
        assert (left.containers, left.mounts, left.loop_devices) == (0, 0, 0)
        assert (left.sandbox_directories, left.children) == (0, before.children)
        assert left.threads <= before.threads + 16, "pools fill up, to their limits"
        assert left.sockets <= before.sockets + 16
        assert left.descriptors - left.sockets <= before.descriptors - before.sockets + 4
    assert after.plain_logs == 0, "all packed"
    assert report.errors
    for line in report.errors:  # read from packed logs, also of jobs that outlived a daemon
        assert line["message"] == "ValueError: no such column"
        assert (line["stream"], line["attempt"]) == ("stderr", 1)
        assert line["at"] is not None
    assert deleted.scratch_directories == 0
    assert deleted.logs_mib < 1
    assert deleted.blobs_mib <= before.blobs_mib + JOBS * 0.2, "models outlive their jobs"

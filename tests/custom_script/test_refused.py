"""The process backend runs no stranger's script, and says so when one is submitted."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainbox_client import Client, Rejected
from trainbox_sdk.testing.daemon import DaemonProcess


def test_a_script_is_refused_at_once_and_the_refusal_says_what_to_do(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("print('hello')")
    with (
        DaemonProcess(tmp_path / "state", env={"TRAINBOX_BACKEND": "process"}) as daemon,
        Client(daemon.url, daemon.token) as client,
    ):
        with pytest.raises(Rejected) as caught:
            client.run_script(script)
        (error,) = caught.value.errors
        assert tuple(error.loc) == ("backend",)
        assert "does not confine scripts" in error.msg
        assert "allow_untrusted" in error.hint
        assert list(client.jobs.list()) == []

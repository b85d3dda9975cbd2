"""A real daemon with the no-op task, for the benchmarks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from trainbox_sdk.testing.daemon import DaemonProcess

PACKAGE = "trainbox_noop"
HERE = Path(__file__).parent

# What a wheel's installation would leave: the entry point that makes the plugin discoverable.
METADATA = "Metadata-Version: 2.1\nName: trainbox-noop\nVersion: 0\n"
ENTRY_POINTS = "[trainbox]\nnoop = trainbox_noop.plugin:Plugin\n"


def noop_daemon(
    root: Path, *, backends: tuple[str, ...], config: Mapping[str, str] | None = None
) -> DaemonProcess:
    """Return a daemon, not started, whose state lies under ``root``.

    Args:
        root: exists.
        backends: names of their plugins.
        config: of plugins by name, as lines of TOML.
    """
    info = root / "path" / "trainbox_noop-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    names = ["native", "tabular", "onnx_check", *backends, "noop"]
    plugins = root / "plugins.toml"
    listed = []
    for name in names:
        listed.append(f'[[plugin]]\nname = "{name}"\nrequired = true\n')
        if config and name in config:
            listed.append(f"[plugin.config]\n{config[name]}\n")
    plugins.write_text("\n".join(listed))
    path = os.pathsep.join([str(HERE), str(root / "path"), os.environ.get("PYTHONPATH", "")])
    return DaemonProcess(root / "state", plugins_file=plugins, env={"PYTHONPATH": path})

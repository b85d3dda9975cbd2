"""The names under which a step finds its data: links beside one another, made for it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainbox_plugins.backend_kit.command import data_name

if TYPE_CHECKING:
    from trainbox_plugins.process_backend.index import Sandbox
    from trainbox_sdk.backends import SandboxSpec


def link_inputs(spec: SandboxSpec, sandbox: Sandbox) -> None:
    """Fill the sandbox's folder of links."""
    sandbox.inputs.mkdir(parents=True, exist_ok=True)
    for made in (sandbox.home, sandbox.inputs):
        made.chmod(0o755)
    links = {}
    if spec.paths.inputs is not None:
        links[sandbox.inputs / "inputs"] = spec.paths.inputs
    if spec.paths.dataset is not None:
        links[sandbox.inputs / data_name(spec)] = spec.paths.dataset
    for link, path in links.items():
        link.unlink(missing_ok=True)
        link.symlink_to(path)

"""Creates a sandbox's container, and reads an engine's refusal as what it means to a step."""

from __future__ import annotations

from trainbox_plugins.docker_backend.engine_port import Clash, EnginePort, EngineRefused, NotThere
from trainbox_plugins.docker_backend.policy import Confinement, sandbox_policy
from trainbox_sdk.backends import SandboxSpec
from trainbox_sdk.errors import BackendRejected


async def create(engine: EnginePort, spec: SandboxSpec, confinement: Confinement) -> None:
    """Create a container; a name that is taken means that it has been created before.

    Raises:
        BackendRejected: no such image, or the engine refuses it.
        BackendUnavailable: the engine's own.
    """
    try:
        await engine.create(spec.ref.name, sandbox_policy(spec, confinement))
    except Clash:
        return  # the fence: this attempt has its sandbox already
    except NotThere as error:
        raise BackendRejected(
            f"environment image {spec.environment} is not on this engine",
            code="unknown_environment",
            hint="build it again: trainbox images build",
        ) from error
    except EngineRefused as error:
        raise BackendRejected(f"the engine refuses the sandbox: {error.explanation}") from error

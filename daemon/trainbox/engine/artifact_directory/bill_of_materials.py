"""What went into a model, as a CycloneDX 1.6 bill (https://cyclonedx.org/docs/1.6/json/)."""

from __future__ import annotations

import json
import uuid
from typing import Any

from trainbox.engine.artifact_directory.facts import Origin


def bill_of_materials(origin: Origin) -> dict[str, Any]:
    """Return the bill: the model, its data, and every package of its environment.

    The same version gives the same bill: its serial number comes from the model's id, its time is
    the model's.
    """
    # The library takes 0.2 s to import, and most daemons' requests never need it.
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    def hashed(digest: str) -> list[HashType]:
        return [HashType(alg=HashAlgorithm.SHA_256, content=digest.removeprefix("sha256:"))]

    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"urn:trainbox:{origin.model.id}"))
    model = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=origin.model.name,
        version=str(origin.model.version),
        bom_ref=origin.model.id,
        hashes=hashed(origin.model.digest),
        properties=[Property(name="trainbox:task", value=origin.model.task)],
    )
    bom.metadata.timestamp = origin.model.created_at
    bom.metadata.component = model
    bom.metadata.tools.components.add(
        Component(type=ComponentType.APPLICATION, name="trainbox", version=origin.maker)
    )
    parts = [
        Component(
            name=name,
            version=pinned,
            bom_ref=f"pkg:pypi/{name}@{pinned}",
            purl=PackageURL("pypi", None, name, pinned),
        )
        for name, pinned in origin.packages
    ]
    if origin.dataset is not None:
        parts.append(
            Component(
                type=ComponentType.DATA,
                name=origin.dataset.name,
                bom_ref=origin.dataset.id,
                hashes=hashed(origin.dataset.digest),
            )
        )
    bom.components.update(parts)
    bom.register_dependency(model, parts)
    document: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    return document

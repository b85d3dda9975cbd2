"""What the facade delegates to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainbox.blobs import BlobStore
from trainbox.datasets import DatasetFiler, ImportRoots, RowReader, Uploads
from trainbox.engine.access import Access
from trainbox.engine.artifact_directory.directories import Directories
from trainbox.engine.assets import Assets
from trainbox.engine.disposal import Disposal
from trainbox.engine.draining import Drain
from trainbox.engine.events import EventFeed
from trainbox.engine.intake import Intake
from trainbox.engine.predict import Predictor
from trainbox.engine.predict_tables import TableWorkers
from trainbox.engine.promotions import Promotions
from trainbox.engine.readiness import ReadinessProbe
from trainbox.engine.sandboxes import SandboxFiles
from trainbox.engine.scheduler import Scheduler
from trainbox.engine.supervisor import Supervisor
from trainbox.engine.tokens import TokenRoom
from trainbox.engine.trash import Trash
from trainbox.engine.webhooks import Webhooks
from trainbox.ingest import Ingest
from trainbox.registry import Registry
from trainbox.reserve import Reserve
from trainbox.store import Store
from trainbox_sdk.engine import (
    PluginInfo,
)


@dataclass(frozen=True)
class Rooms:
    """What the facade delegates to; built in the composition root."""

    store: Store
    blobs: BlobStore
    ingest: Ingest
    filer: DatasetFiler
    uploads: Uploads
    imports: ImportRoots
    rows: RowReader
    assets: Assets
    trash: Trash
    reserve: Reserve
    registry: Registry
    access: Access
    tokens: TokenRoom
    intake: Intake
    scheduler: Scheduler
    webhooks: Webhooks
    disposal: Disposal
    supervisor: Supervisor
    files: SandboxFiles
    predictor: Predictor
    tables: TableWorkers
    promotions: Promotions
    directories: Directories
    feed: EventFeed
    readiness: ReadinessProbe
    drain: Drain
    plugins: Callable[[], Sequence[PluginInfo]]


class Desk:
    """Base of the areas of the facade."""

    def __init__(self, rooms: Rooms) -> None:
        self._r = rooms

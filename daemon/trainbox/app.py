"""The one composition root: builds every object, passes it down, runs the loops, closes in order.

Start: settings, logs, store and migrations, blobs, plugins, registry frozen, backends opened,
reconcile, loops, listener, READY. Stop: STOPPING, changes answer 503, the scheduler stops claiming,
running sandboxes are detached and re-adopted at the next start, listener, backends, store last.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from trainbox import __version__, logs
from trainbox.blobs import BlobStore, no_room_is_storage_full
from trainbox.datasets import DatasetFiler, ImportRoots, RowReader, Uploads
from trainbox.disks import Disks, DiskSize
from trainbox.engine.access import Access
from trainbox.engine.artifact_directory.directories import Directories
from trainbox.engine.assets import Assets
from trainbox.engine.builds import Builds
from trainbox.engine.disposal import Disposal
from trainbox.engine.draining import Drain
from trainbox.engine.events import EventFeed
from trainbox.engine.facade import EngineFacade, Rooms
from trainbox.engine.health import FreeSpaceFloor, Pulse
from trainbox.engine.heartbeat import Heartbeat
from trainbox.engine.intake import Intake
from trainbox.engine.log_archive import LogArchive
from trainbox.engine.predict import Predictor
from trainbox.engine.predict_tables import TableWorkers
from trainbox.engine.promotions import Promotions
from trainbox.engine.readiness import ReadinessProbe
from trainbox.engine.receivers import Receivers
from trainbox.engine.reconcile import Reconciler
from trainbox.engine.sandboxes import SandboxFiles
from trainbox.engine.scheduler import Scheduler
from trainbox.engine.staging import CodeStage
from trainbox.engine.supervisor import Supervisor
from trainbox.engine.timed_backend import TimedBackend
from trainbox.engine.tokens import TokenRoom, anchor_audit, first_token, keep_anchoring
from trainbox.engine.trash import Trash
from trainbox.engine.webhooks import Webhooks
from trainbox.engine.workshop import Workshop
from trainbox.http.application import build_app, start_draining
from trainbox.http.listener import listening
from trainbox.http_options import http_config, unix_socket
from trainbox.ingest import Ingest, IngestLimits
from trainbox.metrics import Metrics
from trainbox.operation import count_transitions, gauges, make_heartbeat, reload_on_hangup
from trainbox.plugins import Loaded, load_plugins, read_manifest
from trainbox.registry import Registry, build_registry
from trainbox.reserve import Reserve
from trainbox.service_manager import notify, notify_status, take_sockets
from trainbox.settings import Settings
from trainbox.store import Store
from trainbox.webhooks import Deliverer, DelivererConfig, Sender
from trainbox.workbench import open_backends, require_state_dir
from trainbox_sdk.errors import Unavailable
from trainbox_sdk.jobs import JobEvent

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class House:
    """A daemon with every room built and no listener yet; what tests and ``serve`` use."""

    settings: Settings
    store: Store
    registry: Registry
    plugins: Loaded
    engine: EngineFacade
    scheduler: Scheduler
    supervisor: Supervisor
    reconciler: Reconciler
    feed: EventFeed
    pulse: Pulse
    receivers: Receivers
    deliverer: Deliverer
    disposal: Disposal
    archive: LogArchive
    metrics: Metrics
    heartbeat: Heartbeat


@asynccontextmanager
async def open_house(settings: Settings) -> AsyncIterator[House]:
    """Build every room; on leaving, detach sandboxes and close in reverse.

    Raises:
        TrainboxError: whatever stops a start, with what to do.
    """
    require_state_dir(settings.state_dir)
    async with AsyncExitStack() as stack:
        drain, metrics = Drain(), Metrics(__version__)
        store = await Store.open(settings.state_dir, metrics)
        stack.push_async_callback(store.close)
        metrics.look_with(gauges(store, settings.state_dir, drain))
        plugins = load_plugins(read_manifest(settings.plugins_file))
        registry = _timed(build_registry(plugins), metrics)
        plugins.notify_daemon_state("starting")
        await open_backends(stack, registry.backends, store.instance, settings.state_dir)
        house = await _furnish(
            stack, settings, store, registry, plugins, metrics=metrics, drain=drain
        )
        await _first_token(settings, store)
        await house.reconciler.look()
        yield house


def _timed(registry: Registry, metrics: Metrics) -> Registry:
    backends = {name: TimedBackend(each, metrics) for name, each in registry.backends.items()}
    return replace(registry, backends=backends)


async def _furnish(
    stack: AsyncExitStack,
    settings: Settings,
    store: Store,
    registry: Registry,
    plugins: Loaded,
    *,
    metrics: Metrics,
    drain: Drain,
) -> House:
    state_dir = settings.state_dir
    blobs = BlobStore(state_dir / "blobs")
    disks = await _open_disks(stack, settings)
    files = SandboxFiles(state_dir, disks)
    code = state_dir / "code"
    code.mkdir(exist_ok=True)
    pulse = Pulse(registry.backends, disks.amended)
    feed = _connect_feed(stack, store, plugins, metrics)
    heartbeat = make_heartbeat(store, metrics)
    access = Access(store, plugins.authorize)
    workshop = Workshop(
        store=store,
        blobs=blobs,
        backends=registry.backends,
        checks=registry.checks,
        files=files,
        stage=CodeStage(code),
        builds=Builds(registry.environments),
        grace_s=settings.grace_s,
        pulse=pulse,
    )
    supervisor = Supervisor(workshop)
    floor = FreeSpaceFloor(state_dir, settings.free_bytes_floor)
    scheduler = Scheduler(
        store, registry.backends, supervisor, pulse, drain, shortage=floor.shortage
    )
    supervisor.on_slot_free(scheduler.wake)
    stack.push_async_callback(supervisor.close)
    predictor = Predictor(
        max_workers=settings.predict_workers,
        memory_bytes=settings.predict_memory_bytes,
        timeout_s=settings.predict_timeout_s,
        max_rows=settings.max_predict_rows,
        batch_rows=settings.predict_batch_rows,
        batch_delay_s=settings.predict_batch_delay_s,
        recorder=metrics,
    )
    stack.push_async_callback(predictor.close)
    receivers = Receivers(settings.webhook_allowed)
    deliverer = _deliverer(stack, settings, store, receivers, metrics)
    disposal = Disposal(
        store,
        blobs,
        files,
        settings.keep_failed_scratch_s,
        keep_bytes=settings.keep_failed_scratch_bytes,
        headroom_bytes=2 * settings.free_bytes_floor,
    )
    ingest = Ingest(blobs, _ingest_limits(settings), state_dir / "tmp")
    filer = DatasetFiler(store, ingest, blobs)
    uploads = await _open_uploads(stack, settings, store, filer)
    reserve = _reserve(state_dir)
    rooms = Rooms(
        store=store,
        blobs=blobs,
        filer=filer,
        uploads=uploads,
        imports=ImportRoots(settings.allowed_import_roots),
        rows=RowReader(),
        trash=Trash(store, blobs),
        assets=Assets(store, blobs, reserve, floor),
        reserve=reserve,
        ingest=ingest,
        registry=registry,
        access=access,
        tokens=TokenRoom(store, access, settings.token_file),
        intake=Intake(
            store,
            registry,
            access,
            pulse,
            admit=plugins.admit,
            default_backend=settings.backend,
            floor=floor,
            versions={info.name: info.version for info in plugins.infos()},
            drain=drain,
            recorder=metrics,
            relieve=disposal.relieve,
        ),
        scheduler=scheduler,
        webhooks=Webhooks(store, access, receivers, deliverer.wake),
        disposal=disposal,
        supervisor=supervisor,
        files=files,
        predictor=predictor,
        tables=TableWorkers(state_dir / "tmp"),
        promotions=Promotions(store, blobs, predictor),
        directories=Directories(store, blobs, predictor),
        feed=feed,
        readiness=ReadinessProbe(
            store,
            registry,
            pulse,
            state_dir,
            settings.free_bytes_floor,
            heartbeat=heartbeat,
            drain=drain,
        ),
        drain=drain,
        plugins=plugins.infos,
    )
    reconciler = Reconciler(store, registry.backends, supervisor, files, metrics)
    return House(
        settings,
        store,
        registry,
        plugins,
        EngineFacade(rooms),
        scheduler,
        supervisor,
        reconciler,
        feed,
        pulse,
        receivers,
        deliverer,
        disposal,
        LogArchive(files, store, supervisor),
        metrics,
        heartbeat,
    )


async def _open_disks(stack: AsyncExitStack, settings: Settings) -> Disks:
    size = DiskSize(settings.step_disk_bytes, settings.step_disk_files)
    disks = Disks(settings.state_dir / "disks", size)
    with no_room_is_storage_full(settings.state_dir):
        await asyncio.to_thread(disks.open)
    stack.callback(disks.close)
    if disks.trouble:
        log.warning("what steps write is watched, not capped", extra={"why": disks.trouble})
    return disks


def _connect_feed(
    stack: AsyncExitStack, store: Store, plugins: Loaded, metrics: Metrics
) -> EventFeed:
    async def read(after: int, job_id: str | None, limit: int) -> list[JobEvent]:
        return await store.events.after(after, job_id=job_id, limit=limit)

    feed = EventFeed(read, metrics)
    stack.callback(store.subscribe(count_transitions(metrics)))

    def hear(events: Sequence[JobEvent]) -> None:
        feed.publish(events)
        for event in events:
            plugins.notify_job_event(event)

    stack.callback(store.subscribe(hear))
    stack.callback(feed.close)
    return feed


def _deliverer(
    stack: AsyncExitStack,
    settings: Settings,
    store: Store,
    receivers: Receivers,
    metrics: Metrics,
) -> Deliverer:
    config = DelivererConfig(
        retry_s=settings.webhook_retry_s,
        disable_after_s=settings.webhook_disable_after_s,
        keep_s=settings.webhook_keep_s,
    )
    deliverer = Deliverer(store, Sender(receivers), config, metrics)

    def hear(events: Sequence[JobEvent]) -> None:
        if any(event.kind == "state" for event in events):
            deliverer.wake()

    stack.callback(store.subscribe(hear))
    return deliverer


async def _open_uploads(
    stack: AsyncExitStack, settings: Settings, store: Store, filer: DatasetFiler
) -> Uploads:
    uploads = Uploads(
        store,
        filer,
        settings.state_dir / "uploads",
        max_bytes=settings.max_upload_bytes,
        expiry_s=settings.upload_expiry_s,
    )
    await uploads.start()
    stack.push_async_callback(uploads.close)
    return uploads


def _ingest_limits(settings: Settings) -> IngestLimits:
    return IngestLimits(
        upload_bytes=settings.max_upload_bytes,
        rows=settings.max_rows,
        columns=settings.max_columns,
    )


def _reserve(state_dir: Path) -> Reserve:
    reserve = Reserve(state_dir)
    reserve.take()
    return reserve


async def _first_token(settings: Settings, store: Store) -> None:
    """Adopt the service's credential, or write the first token for the local command line."""
    with no_room_is_storage_full(settings.state_dir):
        await first_token(store, settings.token_file, settings.token_credential)


async def run(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, or until a loop or the store breaks.

    Args:
        settings: the outside world.
        ready: told the base URL once requests are answered.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reload_on_hangup(lambda: Settings().log_level)
    handed = [each.socket for each in take_sockets()]
    config, unix = http_config(settings), unix_socket(settings)
    notify_status("looking for work left running")
    async with open_house(settings) as house:
        surfaces = tuple(house.registry.surfaces.values())
        app = build_app(house.engine, surfaces, config, house.metrics)
        async with (
            listening(app, settings.host, settings.port, config, handed, unix=unix) as url,
            _loops(house, stop),
        ):
            house.receivers.own_ports.add(urlsplit(url).port or 0)
            house.plugins.notify_daemon_state("ready")
            # What lives as long as the daemon is not looked at again by every full collection.
            gc.collect()
            gc.freeze()
            notify("READY=1")
            notify_status(f"answers at {url}")
            ready(url)
            await stop.wait()
            notify("STOPPING=1")
            notify_status("stopping; sandboxes run on")
            await anchor_audit(house.store)
            log.info("stopping")
            for sock in handed:
                # Whoever connects from here on waits in the socket for the next daemon.
                loop.remove_reader(sock)
            start_draining(app)
            house.plugins.notify_daemon_state("stopping")
            house.feed.close()
    if house.store.broken:
        raise Unavailable(f"the store broke: {house.store.broken}", code="store_broken")


@asynccontextmanager
async def _loops(house: House, stop: asyncio.Event) -> AsyncIterator[None]:
    """Run the loops; one that ends or raises stops the daemon, whose manager restarts it."""
    tasks = [
        asyncio.create_task(house.scheduler.run(), name="scheduler"),
        asyncio.create_task(house.reconciler.run(house.settings.reconcile_s), name="reconcile"),
        asyncio.create_task(house.deliverer.run(), name="webhooks"),
        asyncio.create_task(house.disposal.run(), name="disposal"),
        asyncio.create_task(house.archive.run(), name="log archive"),
        asyncio.create_task(_until_broken(house.store), name="store guard"),
        asyncio.create_task(house.heartbeat.run(), name="heartbeat"),
        asyncio.create_task(house.pulse.run(), name="pulse"),
        asyncio.create_task(
            keep_anchoring(house.store, house.settings.audit_anchor_s), name="audit anchors"
        ),
    ]
    for task in tasks:
        task.add_done_callback(lambda done: _report(done, stop))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_broken(store: Store) -> None:
    await store.wait_broken()


def _report(task: asyncio.Task[None], stop: asyncio.Event) -> None:
    if task.cancelled():
        return
    log.critical("a loop ended", extra={"loop": task.get_name()}, exc_info=task.exception())
    stop.set()


def serve(settings: Settings, ready: Callable[[str], None] | None = None) -> None:
    """Run the daemon in this process until it is told to stop.

    Raises:
        TrainboxError: it could not start, with what to do.
    """
    logs.configure(settings.log_level)

    def announce(url: str) -> None:
        log.info("ready", extra={"url": url, "state_dir": str(settings.state_dir)})

    asyncio.run(run(settings, ready or announce))

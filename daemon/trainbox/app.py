"""The one composition root: builds every object, passes it down, runs the loops, closes in order.

Start: settings, logs, store and migrations, blobs, plugins, registry frozen, backends opened,
reconcile, loops, listener, READY. Stop: STOPPING, changes answer 503, the scheduler stops claiming,
running sandboxes are detached and re-adopted at the next start, listener, backends, store last.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from trainbox import logs
from trainbox.blobs import BlobStore, no_room_is_storage_full
from trainbox.durable import write_durably
from trainbox.engine.access import Access
from trainbox.engine.builds import Builds
from trainbox.engine.drive import Workshop
from trainbox.engine.events import EventFeed
from trainbox.engine.facade import EngineFacade, Rooms
from trainbox.engine.health import Pulse
from trainbox.engine.intake import Intake
from trainbox.engine.predict import Predictor
from trainbox.engine.readiness import ReadinessProbe
from trainbox.engine.reconcile import Reconciler
from trainbox.engine.sandboxes import SandboxFiles
from trainbox.engine.scheduler import Scheduler
from trainbox.engine.staging import CodeStage
from trainbox.engine.supervisor import Supervisor
from trainbox.http.application import build_app, start_draining
from trainbox.http.config import HttpConfig
from trainbox.http.listener import listening
from trainbox.ingest import Ingest, IngestLimits
from trainbox.plugins import Loaded, load_plugins, read_manifest
from trainbox.registry import Registry, build_registry
from trainbox.service_manager import notify
from trainbox.settings import Settings
from trainbox.store import Store
from trainbox.workbench import open_backends, require_state_dir
from trainbox_sdk.errors import Unavailable
from trainbox_sdk.jobs import JobEvent

log = logging.getLogger(__name__)

FIRST_TOKEN_SCOPES = ("admin", "submit", "read", "predict")


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


@asynccontextmanager
async def open_house(settings: Settings) -> AsyncIterator[House]:
    """Build every room; on leaving, detach sandboxes and close in reverse.

    Raises:
        TrainboxError: whatever stops a start, with what to do.
    """
    require_state_dir(settings.state_dir)
    async with AsyncExitStack() as stack:
        store = await Store.open(settings.state_dir)
        stack.push_async_callback(store.close)
        plugins = load_plugins(read_manifest(settings.plugins_file))
        registry = build_registry(plugins)
        plugins.notify_daemon_state("starting")
        await open_backends(stack, registry.backends, store.instance)
        house = await _furnish(stack, settings, store, registry, plugins)
        await _first_token(settings, store)
        await house.reconciler.look()
        yield house


async def _furnish(
    stack: AsyncExitStack,
    settings: Settings,
    store: Store,
    registry: Registry,
    plugins: Loaded,
) -> House:
    state_dir = settings.state_dir
    blobs = BlobStore(state_dir / "blobs")
    files = SandboxFiles(state_dir)
    code = state_dir / "code"
    code.mkdir(exist_ok=True)
    pulse = Pulse(registry.backends)
    feed = _connect_feed(stack, store, plugins)
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
    )
    supervisor = Supervisor(workshop)
    scheduler = Scheduler(store, registry.backends, supervisor, pulse)
    supervisor.on_slot_free(scheduler.wake)
    stack.push_async_callback(supervisor.close)
    predictor = Predictor(
        max_workers=settings.predict_workers,
        memory_bytes=settings.predict_memory_bytes,
        timeout_s=settings.predict_timeout_s,
        max_rows=settings.max_predict_rows,
    )
    stack.push_async_callback(predictor.close)
    rooms = Rooms(
        store=store,
        blobs=blobs,
        ingest=Ingest(blobs, _ingest_limits(settings), state_dir / "tmp"),
        registry=registry,
        access=access,
        intake=Intake(
            store,
            registry,
            access,
            pulse,
            admit=plugins.admit,
            default_backend=settings.backend,
            state_dir=state_dir,
            free_bytes_floor=settings.free_bytes_floor,
        ),
        scheduler=scheduler,
        supervisor=supervisor,
        files=files,
        predictor=predictor,
        feed=feed,
        readiness=ReadinessProbe(store, registry, pulse, state_dir, settings.free_bytes_floor),
        plugins=plugins.infos,
    )
    reconciler = Reconciler(store, registry.backends, supervisor, files)
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
    )


def _connect_feed(stack: AsyncExitStack, store: Store, plugins: Loaded) -> EventFeed:
    async def read(after: int, job_id: str | None, limit: int) -> list[JobEvent]:
        return await store.events.after(after, job_id=job_id, limit=limit)

    feed = EventFeed(read)

    def hear(events: Sequence[JobEvent]) -> None:
        feed.publish(events)
        for event in events:
            plugins.notify_job_event(event)

    stack.callback(store.subscribe(hear))
    stack.callback(feed.close)
    return feed


def _ingest_limits(settings: Settings) -> IngestLimits:
    return IngestLimits(
        upload_bytes=settings.max_upload_bytes,
        rows=settings.max_rows,
        columns=settings.max_columns,
    )


async def _first_token(settings: Settings, store: Store) -> None:
    """Write the first token for the local CLI; a daemon that has tokens keeps them."""
    if await store.tokens.count() > 0 and settings.token_file.exists():
        return
    _, token = await store.tokens.create("local", FIRST_TOKEN_SCOPES, who="daemon")
    with no_room_is_storage_full(settings.state_dir):
        write_durably(settings.token_file, token + "\n")


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
    config = HttpConfig(allowed_hosts=frozenset(settings.allowed_hosts))
    async with open_house(settings) as house:
        app = build_app(house.engine, tuple(house.registry.surfaces.values()), config)
        async with (
            listening(app, settings.host, settings.port, config) as url,
            _loops(house, stop),
        ):
            house.plugins.notify_daemon_state("ready")
            notify("READY=1")
            ready(url)
            await stop.wait()
            notify("STOPPING=1")
            log.info("stopping")
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
        asyncio.create_task(_until_broken(house.store), name="store guard"),
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

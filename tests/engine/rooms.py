"""The engine's rooms over a scripted host, without HTTP: opened, crashed and opened again."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from trainbox.blobs import BlobStore
from trainbox.clock import now
from trainbox.disks import Disks
from trainbox.engine.access import Access
from trainbox.engine.builds import Builds
from trainbox.engine.events import EventFeed
from trainbox.engine.health import FreeSpaceFloor, Pulse
from trainbox.engine.intake import Intake
from trainbox.engine.reconcile import Reconciler
from trainbox.engine.sandboxes import SandboxFiles
from trainbox.engine.scheduler import Scheduler
from trainbox.engine.staging import CodeStage
from trainbox.engine.supervisor import Supervisor
from trainbox.engine.workshop import Workshop
from trainbox.ids import new_id
from trainbox.registry import Registry
from trainbox.store import Store
from trainbox_sdk.artifacts import Column, DatasetView
from trainbox_sdk.engine import Principal
from trainbox_sdk.environments import Environment
from trainbox_sdk.jobs import JobEvent, JobSpec, JobView, Resources, State
from trainbox_sdk.tasks import ArtifactCheck, Output, Plan, StepPlan, TaskType
from trainbox_sdk.testing.fake_backend import FakeBackend, FakeHost, FakeScript

IN_DAEMON = contextvars.ContextVar("in_daemon", default=False)
"""True in the daemon's own tasks, as opposed to what a test asks for itself."""

ANN = Principal("ann", "ann", frozenset({"submit", "read", "predict"}))
BOB = Principal("bob", "bob", frozenset({"submit", "read", "predict"}))
ROOT = Principal("root", "root", frozenset({"admin"}))

MODEL = Output("model.onnx", kind="model", check="look")
FACTS = {"signature": {"inputs": [], "outputs": []}}
REPORT = {"metrics": {"rmse": 0.5}, "parity": {"passed": True, "rows": 1000}}

TRAINS = FakeScript(
    outputs={"model.onnx": b"onnx"},
    result=REPORT,
    events=(
        b'{"t":"progress","at":1,"fraction":0.5}',
        b'{"t":"metric","at":2,"name":"a","value":1}',
    ),
)
ACCEPTS = FakeScript(result=FACTS)


class AnyParams(BaseModel):
    model_config = ConfigDict(extra="allow")


class Drawn(TaskType):
    """A task whose plan a test draws."""

    Params = AnyParams
    needs_dataset = False
    resources = Resources(cpus=1.0, memory_bytes=1024**3, timeout_s=600.0)

    def __init__(self, name: str, *steps: StepPlan) -> None:
        self.name = name
        self.title = name
        self._steps = steps

    def plan(self, params: BaseModel, dataset: DatasetView | None) -> Plan:
        return Plan(self._steps)


def a_step(name: str = "train", *, after: Sequence[str] = (), outputs: Sequence[Output] = (MODEL,)):
    return StepPlan(
        name,
        "trainbox_guest.run:main",
        ("trainbox_guest.run",),
        "plain",
        after=tuple(after),
        outputs=tuple(outputs),
    )


@dataclass
class World:
    """What outlives a daemon: the state directory, the engine behind the backend, what is installed."""

    state_dir: Path
    code_dir: Path
    host: FakeHost
    requirements: Path
    tasks: dict[str, TaskType] = field(default_factory=dict)
    checks: dict[str, ArtifactCheck] = field(default_factory=dict)
    make_backend: Callable[[FakeHost], FakeBackend] = FakeBackend
    wrap_store: Callable[[Store], Store] = lambda store: store
    make_blobs: Callable[[Path], BlobStore] = BlobStore
    make_disks: Callable[[Path], Disks | None] = lambda state_dir: None
    shortage: Callable[[], str] = str
    grace_s: float = 0.05
    backends: Sequence[str] = ("fake",)
    environments: Sequence[str] = ("plain",)
    free_bytes_floor: int = 0
    admit: Callable[[Principal, JobSpec], str | None] = lambda who, spec: None
    authorize: Callable[[Principal, str, str], bool | None] = lambda who, action, owner: None

    def install(self, task: TaskType) -> None:
        self.tasks[task.name] = task

    def registry(self) -> Registry:
        backends = {}
        for name in self.backends:
            backends[name] = self.make_backend(self.host)
            backends[name].name = name
        return Registry(
            tasks=self.tasks,
            backends=backends,
            environments={
                name: Environment(name, "3.11", self.requirements) for name in self.environments
            },
            checks=self.checks,
        )

    @contextlib.asynccontextmanager
    async def daemon(self, *, loops: bool = True) -> AsyncIterator[Daemon]:
        daemon = await self.start(loops=loops)
        try:
            yield daemon
        finally:
            await daemon.stop()

    async def start(self, *, loops: bool = True) -> Daemon:
        store = await Store.open(self.state_dir)
        registry = self.registry()
        for backend in registry.backends.values():
            await backend.open(store.instance)
        daemon = Daemon(self, self.wrap_store(store), registry)
        await asyncio.create_task(daemon.begin())
        if loops:
            daemon.loop = asyncio.create_task(daemon.run())
        return daemon


class Daemon:
    """The rooms of one daemon's life, built as the composition root builds them."""

    def __init__(self, world: World, store: Store, registry: Registry) -> None:
        self.world = world
        self.store = store
        self.registry = registry
        self.host = world.host
        self.blobs = world.make_blobs(world.state_dir / "blobs")
        self.disks = world.make_disks(world.state_dir)
        self.files = SandboxFiles(world.state_dir, self.disks)
        self.pulse = Pulse(registry.backends)
        self.access = Access(store, world.authorize)
        self.workshop = Workshop(
            store=store,
            blobs=self.blobs,
            backends=registry.backends,
            checks=registry.checks,
            files=self.files,
            stage=CodeStage(world.code_dir),
            builds=Builds(registry.environments),
            grace_s=world.grace_s,
            pulse=self.pulse,
        )
        self.supervisor = Supervisor(self.workshop)
        self.scheduler = Scheduler(
            store,
            registry.backends,
            self.supervisor,
            self.pulse,
            shortage=lambda: world.shortage(),
        )
        self.supervisor.on_slot_free(self.scheduler.wake)
        self.reconciler = Reconciler(store, registry.backends, self.supervisor, self.files)
        self.intake = Intake(
            store,
            registry,
            self.access,
            self.pulse,
            admit=world.admit,
            default_backend="auto",
            floor=FreeSpaceFloor(world.state_dir, world.free_bytes_floor),
        )

        async def read(after: int, job_id: str | None, limit: int) -> list[JobEvent]:
            return await store.events.after(after, job_id=job_id, limit=limit)

        self.feed = EventFeed(read)
        store.subscribe(self.feed.publish)
        self.loop: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        IN_DAEMON.set(True)
        await self.reconciler.look()

    async def run(self) -> None:
        IN_DAEMON.set(True)
        await self.scheduler.run()

    async def submit(self, task: str = "train", who: Principal = ANN, **spec: Any) -> str:
        key = spec.pop("idempotency_key", None)
        submission = await self.intake.submit(who, JobSpec(task, **spec), key)
        self.scheduler.wake()
        return submission.job.id

    async def cancel(self, job_id: str) -> None:
        for step in await self.store.jobs.request_cancel(job_id, who="ann"):
            self.supervisor.cancel(step.id)
        self.scheduler.wake()

    async def retry(self, job_id: str) -> None:
        await self.store.jobs.retry(job_id, who="ann")
        self.scheduler.wake()

    async def job(self, job_id: str) -> JobView:
        job = await self.store.jobs.get(job_id)
        assert job is not None
        return job

    async def until(self, job_id: str, *states: State) -> JobView:
        """Return the job once it is in one of the states; pytest's timeout is the only clock."""
        while True:
            job = await self.job(job_id)
            if job.state in states:
                return job
            await asyncio.sleep(0.005)

    async def ended(self, job_id: str) -> JobView:
        """Return the job once it has ended and nobody drives it any more."""
        job = await self.until(job_id, *[state for state in State if state.terminal])
        await self.idle()
        return job

    async def idle(self) -> None:
        while self.supervisor.attempts():
            await asyncio.sleep(0.005)

    async def events(self, job_id: str) -> list[JobEvent]:
        return await self.store.events.after(0, job_id=job_id, limit=100_000)

    async def states(self, job_id: str) -> list[str]:
        return [e.data["state"] for e in await self.events(job_id) if e.kind == "state"]

    async def put_dataset(
        self,
        owner: str = "ann",
        name: str = "data",
        columns: Sequence[Column] = (),
        rows: int = 100,
    ) -> DatasetView:
        path = self.world.state_dir / "upload"
        path.write_bytes(b"rows of " + name.encode())
        blob = await self.blobs.put_file(path, max_bytes=10**6)
        view = DatasetView(
            id=new_id("ds"),
            name=name,
            digest=blob.digest,
            source_format="csv",
            bytes=blob.bytes,
            rows=rows,
            columns=tuple(columns),
            owner=owner,
            created_at=now(),
        )
        return await self.store.datasets.insert(view, audit="test")

    async def stop(self) -> None:
        """Stop as designed: the loop, the drivers, the store."""
        await self._stop_loop()
        self.feed.close()
        await self.supervisor.close()
        await self.store.close()

    async def _stop_loop(self) -> None:
        if self.loop is not None:
            self.loop.cancel()
            await asyncio.gather(self.loop, return_exceptions=True)


class CountingHost(FakeHost):
    """A host that remembers every sandbox that ever was, also the removed ones."""

    def __init__(self, default: FakeScript | None = None) -> None:
        super().__init__(default)
        self.created: list[str] = []
        self.sandboxes = _Remembering(self.created)


class _Remembering(dict[str, Any]):
    def __init__(self, created: list[str]) -> None:
        super().__init__()
        self._created = created

    def __setitem__(self, name: str, sandbox: Any) -> None:
        if name not in self:
            self._created.append(name)
        super().__setitem__(name, sandbox)

"""Stops a daemon at a named point of its work: before or after any call to store, engine or files."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from rooms import IN_DAEMON, Daemon, World

from trainbox.blobs import BlobStore
from trainbox.store import Store
from trainbox_sdk.testing.fake_backend import FakeBackend

VERBS = ("build_environment", "capacity", "prepare", "start", "wait", "stop", "remove", "observe")


class Points:
    """Every call the daemon makes, by name, and the one at which it is to be stopped."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.reached = asyncio.Event()
        self._stop_at = ""
        self._go = asyncio.Event()
        self._dead = False

    async def at(self, name: str) -> None:
        if not IN_DAEMON.get():
            return
        if self._dead:
            await asyncio.Event().wait()
        self.passed.append(name)
        if name == self._stop_at and not self.reached.is_set():
            self.reached.set()
            await self._go.wait()

    def stop_at(self, name: str) -> None:
        self._stop_at = name

    def go_on(self) -> None:
        self._go.set()

    def die(self) -> None:
        """From here on nothing of this daemon reaches store, engine or files any more."""
        self._dead = True

    def wrap(self, thing: Any, prefix: str, *names: str) -> None:
        for name in names:
            setattr(thing, name, self._pointed(getattr(thing, name), f"{prefix}.{name}"))

    def _pointed(self, call: Any, name: str) -> Any:
        async def pointed(*args: Any, **kwargs: Any) -> Any:
            full = f"{name}{_detail(name, args)}"
            await self.at(f"before {full}")
            answer = await call(*args, **kwargs)
            await self.at(f"after {full}")
            return answer

        return pointed


def _detail(name: str, args: tuple[Any, ...]) -> str:
    if name == "store.transition":
        return f" {args[2]}"
    if name.startswith("engine.") and args and hasattr(args[0], "ref"):
        return f" {args[0].ref.role}"
    if name == "engine.remove":
        return f" {args[0].role}"
    return ""


def watch(world: World, points: Points) -> None:
    """Put the points into every daemon that this world starts from now on."""

    def make_backend(host: Any) -> FakeBackend:
        backend = FakeBackend(host)
        points.wrap(backend, "engine", *VERBS)
        return backend

    def wrap_store(store: Store) -> Store:
        public = [
            name
            for name, _ in inspect.getmembers(type(store.jobs), inspect.iscoroutinefunction)
            if not name.startswith("_")
        ]
        points.wrap(store.jobs, "store", *public)
        return store

    def make_blobs(root: Any) -> BlobStore:
        blobs = BlobStore(root)
        points.wrap(blobs, "files", "put_fd")
        return blobs

    world.make_backend, world.wrap_store, world.make_blobs = make_backend, wrap_store, make_blobs


def unwatch(world: World) -> None:
    """Start the next daemon without points."""
    world.make_backend, world.wrap_store, world.make_blobs = FakeBackend, lambda s: s, BlobStore


async def crash(daemon: Daemon, points: Points) -> None:
    """Die at the point that was reached: no clean-up of the daemon's own does anything any more."""
    points.die()
    me = asyncio.current_task()
    while others := [task for task in asyncio.all_tasks() if task is not me]:
        for task in others:
            if not _gives_a_connection_back(task):
                task.cancel()
        await asyncio.wait(others, timeout=0.01)
    await daemon.store.close()


def _gives_a_connection_back(task: asyncio.Task[Any]) -> bool:
    """A reader's connection dies with a process; here it would stay, with its read under way."""
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and "sqlalchemy" in code.co_filename

"""Environment images on the real engine: offline, pinned, compiled, with no trace of the host."""

from __future__ import annotations

import asyncio
import json
import os
import tarfile
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainbox_plugins.docker_backend import images
from trainbox_plugins.docker_backend.engine_client import DockerEngine
from trainbox_plugins.docker_backend.image_base import ImageSettings, registry_reference
from trainbox_plugins.docker_backend.images import ImageBuilder
from trainbox_plugins.environments.testing import MODULE, tiny_environment, write_wheel
from trainbox_sdk.environments import Environment
from trainbox_sdk.errors import BackendRejected, NotFound

pytestmark = pytest.mark.docker

CANARY = f"canary-{uuid.uuid4().hex}"


def quiet(fraction: float, sentence: str) -> None:
    del fraction, sentence


@pytest.fixture
async def engine() -> AsyncIterator[DockerEngine]:
    engine = DockerEngine()
    yield engine
    await engine.close()


@pytest.fixture
def tiny(tmp_path: Path) -> Environment:
    (tmp_path / "offered").mkdir()
    # A name of its own, so that the digest is this test's alone.
    name = f"test{uuid.uuid4().hex[:8]}"
    return tiny_environment(tmp_path / "offered", name=name)


@pytest.fixture
async def builder(
    engine: DockerEngine, tmp_path: Path, tiny: Environment, docker_base_image: str
) -> AsyncIterator[ImageBuilder]:
    settings = ImageSettings(
        cache_dir=tmp_path / "cache",
        wheelhouse=tiny.requirements.parent,
        registry_base=docker_base_image,
    )
    builder = ImageBuilder(engine, settings)
    yield builder
    for built in await builder.built():
        if built.name == tiny.name:
            await engine.image_remove(f"trainbox/env-{tiny.name}:{tiny.digest[:12]}")
            await engine.image_remove(built.reference)
    left = await engine.list_by_label({images.BUILDING: "1", images.BUILDING_FOR: tiny.digest})
    assert left == []


async def test_image_is_built_once_and_named_by_its_digest(
    builder: ImageBuilder, engine: DockerEngine, tiny: Environment, docker_base_image: str
) -> None:
    told: list[tuple[float, str]] = []
    built = await builder.build(tiny, lambda fraction, sentence: told.append((fraction, sentence)))
    assert built.reference.startswith("sha256:")
    assert (built.name, built.backend, built.digest) == (tiny.name, "docker", tiny.digest)
    assert built.base == docker_base_image
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)
    found = await engine.image_inspect(f"trainbox/env-{tiny.name}:{tiny.digest[:12]}")
    assert found is not None
    assert found["Id"] == built.reference
    labels = found["Config"]["Labels"]
    assert labels[images.ENVIRONMENT] == tiny.name
    assert labels[images.DIGEST] == tiny.digest
    assert len(labels[images.WHEELS]) == 64
    again: list[str] = []
    assert await builder.build(tiny, lambda fraction, sentence: again.append(sentence)) == built
    assert again == [f"{tiny.name} is ready"]
    assert built in await builder.built()
    # A daemon that was restarted, or another one, finds it too.
    assert await ImageBuilder(engine).build(tiny, quiet) == built


async def test_nothing_of_the_host_is_in_the_image(
    builder: ImageBuilder,
    engine: DockerEngine,
    tiny: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nextra-index-url = https://{CANARY}.example/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_TRUSTED_HOST", CANARY)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{CANARY}:1")
    monkeypatch.setenv("SSL_CERT_DIR", f"/{CANARY}")
    built = await builder.build(tiny, quiet)
    inspected = json.dumps(await engine.image_inspect(built.reference))
    assert CANARY not in inspected
    names: list[str] = []
    for name, content in await files_of(engine, built.reference):
        names.append(name)
        assert CANARY.encode() not in content, name
        assert str(tmp_path).encode() not in content, name
    assert f"opt/trainbox/lib/python3.11/site-packages/{MODULE}/__init__.py" in names
    assert not [name for name in names if name.endswith(".whl") or name.endswith("pip.conf")]
    assert not [name for name in names if name.startswith(("mnt/", "tmp/", "root/.cache"))]
    assert not [name for name in names if "site-packages/pip/" in name]


async def test_every_module_is_compiled_and_trusted_unchecked(
    builder: ImageBuilder, engine: DockerEngine, tiny: Environment
) -> None:
    built = await builder.build(tiny, quiet)
    found = await files_of(engine, built.reference)
    names = {name for name, _ in found}
    sources = [
        name
        for name in names
        if name.endswith(".py") and name.startswith(("opt/trainbox/lib/", "usr/lib/python3.11/"))
    ]
    assert len(sources) > 100
    compiled = {name: content[4:8] for name, content in found if name.endswith(".cpython-311.pyc")}
    for source in sources:
        folder, _, file = source.rpartition("/")
        pyc = f"{folder}/__pycache__/{file.removesuffix('.py')}.cpython-311.pyc"
        if "/lib2to3/tests/" in source or "bad" in file:
            continue
        assert compiled.get(pyc) == b"\x01\0\0\0", source


async def test_packages_that_do_not_import_leave_no_image(
    engine: DockerEngine, tmp_path: Path, docker_base_image: str
) -> None:
    (tmp_path / "bad").mkdir()
    name = f"test{uuid.uuid4().hex[:8]}"
    bad = tiny_environment(tmp_path / "bad", name=name, source="raise OSError('no libgomp')\n")
    settings = ImageSettings(tmp_path / "cache", tmp_path / "bad", docker_base_image)
    builder = ImageBuilder(engine, settings)
    with pytest.raises(BackendRejected, match="no libgomp") as caught:
        await builder.build(bad, quiet)
    assert caught.value.code == "environment_broken"
    assert [item for item in await builder.built() if item.name == name] == []
    assert await engine.image_list({images.DIGEST: bad.digest}) == []
    left = await engine.list_by_label({images.BUILDING: "1", images.BUILDING_FOR: bad.digest})
    assert left == []


async def test_base_that_cannot_be_pulled_names_the_other_ways(
    engine: DockerEngine, tmp_path: Path, tiny: Environment
) -> None:
    nowhere = "127.0.0.1:1/nobody/python:3.11"
    settings = ImageSettings(tmp_path / "cache", tiny.requirements.parent, nowhere)
    with pytest.raises(BackendRejected) as caught:
        await ImageBuilder(engine, settings).build(tiny, quiet)
    assert caught.value.code == "no_base"
    assert nowhere in caught.value.message
    assert "docker load" in caught.value.hint


async def test_base_without_python_is_refused(
    engine: DockerEngine, tmp_path: Path, tiny: Environment
) -> None:
    tar = tmp_path / "empty.tar"
    with tarfile.open(tar, "w"):
        pass
    empty = await engine.image_import(tar, changes=["LABEL trainbox.test=1"])
    try:
        settings = ImageSettings(tmp_path / "cache", tiny.requirements.parent, empty)
        with pytest.raises(BackendRejected) as caught:
            await ImageBuilder(engine, settings).build(tiny, quiet)
        assert caught.value.code == "environment_broken"
    finally:
        await engine.image_remove(empty)


async def test_python_of_another_version_in_the_base_is_refused(
    builder: ImageBuilder, tiny: Environment
) -> None:
    with pytest.raises(BackendRejected, match=r"3\.11.*3\.12|3\.12.*3\.11"):
        await builder.build(replace(tiny, python="3.12"), quiet)


# --- any Python, and a user's requirements on top


@pytest.fixture
async def runtime(engine: DockerEngine, tmp_path: Path) -> AsyncIterator[ImageBuilder]:
    """A builder without a registry: its root is the one that the runtimes stand on."""
    builder = ImageBuilder(engine, ImageSettings(tmp_path / "cache", tmp_path / "offered"))
    yield builder
    for built in await builder.built():
        if built.name.startswith(f"runtime-{CANARY[-8:]}"):
            await engine.image_remove(f"trainbox/env-{built.name}:{built.digest[:12]}")
            await engine.image_remove(built.reference)


@pytest.fixture
def on_another_python(tmp_path: Path) -> Environment:
    if "python3.12" in os.environ.get("TRAINBOX_TEST_WITHOUT_RUNTIMES", "").split():
        pytest.skip("TRAINBOX_TEST_WITHOUT_RUNTIMES says that there is no Python 3.12 here")
    (tmp_path / "offered").mkdir()
    name = f"runtime-{CANARY[-8:]}-{uuid.uuid4().hex[:6]}"
    tiny = tiny_environment(tmp_path / "offered", name=name, python="3.12")
    return replace(tiny, system_packages=("libgomp1",))


async def test_a_python_of_this_host_becomes_an_image_and_requirements_a_layer_on_it(
    runtime: ImageBuilder,
    engine: DockerEngine,
    on_another_python: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = await runtime.build(on_another_python, quiet)
    assert "CPython 3.12." in built.base
    assert built.packages == (f"{MODULE.replace('_', '-')}==1.0",)
    assert not built.for_wishes
    said = await said_by(engine, built.reference, "import sys, ssl, sqlite3; print(sys.version)")
    assert said.startswith("3.12.")
    names = {name for name, _ in await files_of(engine, built.reference)}
    prefix = "opt/python/3.12/lib/python3.12"
    assert f"{prefix}/__pycache__/os.cpython-312.pyc" in names
    assert not [name for name in names if name.startswith(f"{prefix}/site-packages/")]
    assert not [name for name in names if name.endswith(".pth")]
    assert "usr/bin/python3" not in names

    # Wishes that add nothing: no image of their own, and nothing to install.
    nothing = tmp_path / "nothing.txt"
    for text in (f"{MODULE}==1.0\r\n", "# a comment\n", "absent; python_version < '3'\n"):
        nothing.write_bytes(text.encode())
        same_wished = replace(on_another_python, wishes=(nothing,))
        assert (await runtime.build(same_wished, quiet)).reference == built.reference, text
        assert await engine.image_list({images.DIGEST: same_wished.digest}) == []

    write_wheel(tmp_path / "offered", MODULE, "2.0", source="ANSWER = 43\n")
    write_wheel(tmp_path / "offered", "trainbox_more", "1.0", MODULE, source="MORE = 1\n")
    stage = tmp_path / "cache" / ".stage-killed"
    (stage / "wheels").mkdir(parents=True)
    wishes = tmp_path / "requirements.txt"
    wishes.write_text(f"trainbox-more\n{MODULE}==2.0\n")
    wished = replace(on_another_python, wishes=(wishes,))
    one, same = await asyncio.gather(runtime.build(wished, quiet), runtime.build(wished, quiet))
    assert one == same
    assert not stage.exists(), "what a killed build left goes with the next"
    assert one.for_wishes
    assert set(one.packages) == {"trainbox-more==1.0", "trainbox-tiny==2.0"}
    ask = f"import trainbox_more, {MODULE} as t; print(trainbox_more.MORE, t.ANSWER, t.__cached__)"
    more, answer, cached = (await said_by(engine, one.reference, ask)).split()
    assert (more, answer) == ("1", "43")
    content = dict(await files_of(engine, one.reference))
    assert content[cached.lstrip("/")][4:8] == b"\x01\0\0\0"
    assert await runtime.verify(on_another_python) == built

    # Clearing up, of this one alone: what a container uses stays, then it goes.
    monkeypatch.setattr(images, "surplus", lambda *_, **__: [one])
    holder = await engine.create(
        f"trainbox-test-{uuid.uuid4().hex[:8]}",
        {"Image": one.reference, "Cmd": ["none"], "Labels": {"trainbox.test": "1"}},
    )
    assert await runtime.prune(keep=0, unused_s=0) == []
    await engine.remove(holder, force=True)
    assert await runtime.prune(keep=0, unused_s=0) == [one]
    assert await engine.image_inspect(one.reference) is None
    assert await engine.image_inspect(built.reference) is not None


async def test_what_an_image_holds_beside_its_lock_is_noticed(
    builder: ImageBuilder, tiny: Environment
) -> None:
    await builder.build(tiny, quiet)
    assert (await builder.verify(tiny)).digest == tiny.digest
    strange = replace(tiny, name="another")
    with pytest.raises(NotFound):
        await builder.verify(strange)


def test_one_registry_image_serves_one_version_or_all() -> None:
    assert registry_reference(None, "3.12") is None
    assert registry_reference("r.example/python:{version}-slim", "3.12") == (
        "r.example/python:3.12-slim"
    )
    assert registry_reference({"3.12": "r.example/a"}, "3.12") == "r.example/a"
    assert registry_reference({"3.12": "r.example/a"}, "3.11") is None


async def test_without_any_python_of_a_version_every_way_to_one_is_named(
    engine: DockerEngine, tmp_path: Path, tiny: Environment
) -> None:
    settings = ImageSettings(tmp_path / "cache", tiny.requirements.parent)
    with pytest.raises(BackendRejected) as caught:
        await ImageBuilder(engine, settings).build(replace(tiny, python="3.99"), quiet)
    assert caught.value.code == "no_base"
    for way in (
        "uv python install 3.99",
        "UV_PYTHON_INSTALL_MIRROR",
        "registry_base",
        "docker load",
    ):
        assert way in caught.value.hint


async def said_by(engine: DockerEngine, image: str, code: str) -> str:
    """Run Python code in an image, offline and as a sandbox's user; return what it printed."""
    body = {
        "Image": image,
        "Cmd": [images.PYTHON, "-I", "-c", code],
        "Labels": {"trainbox.test": "1"},
        "HostConfig": {"NetworkMode": "none", "ReadonlyRootfs": True},
    }
    container = await engine.create(f"trainbox-test-{uuid.uuid4().hex[:8]}", body)
    try:
        await engine.start(container)
        code = await asyncio.to_thread(engine.wait_exit, container)
        stream = engine.kept_output(container, follow=False)
        said = b"".join(frame.data for frame in stream).decode()
        stream.close()
        assert code == 0, said
        return said
    finally:
        await engine.remove(container, force=True)


async def files_of(engine: DockerEngine, image: str) -> list[tuple[str, bytes]]:
    """Return every regular file of an image, by way of a container that never starts."""
    name = f"trainbox-test-{uuid.uuid4().hex[:8]}"
    body: dict[str, Any] = {"Image": image, "Cmd": ["none"], "Labels": {"trainbox.test": "1"}}
    container = await engine.create(name, body)
    try:
        return await asyncio.to_thread(_export, container)
    finally:
        await engine.remove(container, force=True)


def _export(container: str) -> list[tuple[str, bytes]]:
    import docker

    client = docker.APIClient("unix:///var/run/docker.sock", version="auto")
    try:
        path = Path(os.environ.get("TMPDIR", "/tmp")) / f"{container[:12]}.tar"
        with path.open("wb") as file:
            for chunk in client.export(container):
                file.write(chunk)
        with tarfile.open(path) as archive:
            found = []
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    found.append((member.name, content.read()))
        path.unlink()
        return found
    finally:
        client.close()

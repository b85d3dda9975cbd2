"""The distributions as strangers meet them: built, installed into a clean environment, and at work.

Needs a package index (or a warm pip cache) for the locked dependencies; everything of ours comes from
the wheels built here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from trainbox_sdk.testing.daemon import DaemonProcess, RequestFailed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("wheel")]

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
OURS = {"trainbox", "trainbox_client", "trainbox_sdk", "trainbox_plugins", "trainbox_guest"}

LISTED = """
[[plugin]]
name = "native"
required = true

[[plugin]]
name = "{backend}"
required = true

[[plugin]]
name = "onnx_check"
required = true
[plugin.config]
environment = "baseline"

[[plugin]]
name = "baseline"
required = true
[plugin.config]
most_groups = 3

[[plugin]]
name = "broken"
required = {broken_required}
"""

ROWS = 60
CITIES = ("Graz", "Wien", "")
PRICES = {"Graz": 10.0, "Wien": 20.0, "": 90.0}


def succeed(*command: str | Path, **options: Any) -> str:
    """Run a command and return what it said; its whole output if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def clean_environment(**more: str) -> dict[str, str]:
    """The caller's environment without what would leak this checkout into another interpreter."""
    dropped = ("PYTHON", "VIRTUAL_ENV", "TRAINBOX_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, **more}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Our sdist, the wheel made from it, and the two strangers' wheels."""
    out = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", out)
    succeed(*build, ROOT)
    for name in ("trainbox-baseline", "trainbox-broken"):
        succeed(*build, "--wheel", HERE / name)
    (sdist,) = out.glob("trainbox-*.tar.gz")
    wheels = {path.name.split("-")[0]: path for path in out.glob("*.whl")}
    assert set(wheels) == {"trainbox", "trainbox_baseline", "trainbox_broken"}
    return {"sdist": sdist, **wheels}


@pytest.fixture(scope="module")
def clean(built: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the locked dependencies and the three wheels; returns its bin."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    succeed(sys.executable, "-m", "venv", folder)
    pip = (folder / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", "-q")
    environment = clean_environment()
    succeed(
        *pip, "--no-compile", "--require-hashes", "-r", ROOT / "locks/runtime.lock", env=environment
    )
    wheels = [path for name, path in built.items() if name != "sdist"]
    succeed(*pip, "--no-index", "--no-deps", *wheels, env=environment)
    return folder / "bin"


# --- what is in the archives


def wheel_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_our_packages_and_nothing_beside(built: Mapping[str, Path]) -> None:
    tops = {name.partition("/")[0] for name in wheel_names(built["trainbox"])}
    assert tops == OURS | {"trainbox-0.1.0.dist-info", "trainbox-0.1.0.data"}


def test_the_wheel_has_every_file_of_the_packages(built: Mapping[str, Path]) -> None:
    """Data files too: py.typed, locks, recipes, migrations, templates."""
    folders = [ROOT / name for name in ("client", "daemon", "plugins", "sandbox")]
    expected = {
        path.relative_to(folder).as_posix()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = wheel_names(built["trainbox"])
    assert expected - names == set()
    assert {f"{package}/py.typed" for package in OURS} <= names
    assert any(name.startswith("trainbox/store/migrations/versions/0001") for name in names)
    assert "trainbox_plugins/tabular/environment/requirements.lock" in names


def test_the_wheel_carries_what_an_admin_needs(built: Mapping[str, Path]) -> None:
    data = "trainbox-0.1.0.data/data/share/trainbox"
    names = wheel_names(built["trainbox"])
    assert {f"{data}/plugins.toml", f"{data}/systemd/trainbox.service"} <= names


def test_the_wheel_has_no_leftovers(built: Mapping[str, Path]) -> None:
    odd = (".pyc", ".db", ".log", ".onnx", "~", ".orig")
    assert not [name for name in wheel_names(built["trainbox"]) if name.endswith(odd)]
    assert not [name for name in wheel_names(built["trainbox"]) if "__pycache__" in name]


def test_the_wheel_is_for_any_python_from_3_11(built: Mapping[str, Path]) -> None:
    assert built["trainbox"].name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(built["trainbox"]) as archive:
        metadata = archive.read("trainbox-0.1.0.dist-info/METADATA").decode()
        entries = archive.read("trainbox-0.1.0.dist-info/entry_points.txt").decode()
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "trainbox = trainbox.cli:main" in entries
    assert "[trainbox]" in entries
    # Training libraries are the sandbox's business; installing the daemon must not bring them.
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    assert not [line for line in required if "catboost" in line and "extra ==" not in line]


def test_the_sdist_can_be_worked_with(built: Mapping[str, Path]) -> None:
    with tarfile.open(built["sdist"]) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    assert {"pyproject.toml", "Makefile", "README.md", "LICENSE", "plugins.toml"} <= names
    assert "tests/third_party/trainbox-baseline/pyproject.toml" in names
    assert "locks/runtime.lock" in names
    assert not [name for name in names if name.startswith((".git/", ".venv", ".trainbox"))]


def test_a_strangers_wheel_has_its_own_package_alone(built: Mapping[str, Path]) -> None:
    names = wheel_names(built["trainbox_baseline"])
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"trainbox_baseline", "trainbox_baseline-0.3.0.dist-info"}
    assert "trainbox_baseline/requirements.lock" in names


# --- the clean environment


def test_the_installation_is_consistent(clean: Path) -> None:
    assert "No broken requirements" in succeed(clean / "python", "-m", "pip", "check")


def test_no_source_folder_is_importable(clean: Path, tmp_path: Path) -> None:
    probe = (
        "import importlib.util as u; "
        "print([n for n in ('daemon','plugins','sandbox','tests','benchmarks') if u.find_spec(n)])"
    )
    said = succeed(clean / "python", "-c", probe, cwd=tmp_path, env=clean_environment())
    assert said.strip() == "[]"


def test_every_bundled_plugin_loads_with_runtime_dependencies_alone(
    clean: Path, tmp_path: Path
) -> None:
    probe = (
        "import json; from trainbox.plugins import *; from trainbox.registry import build_registry; "
        "from trainbox.settings import default_plugins_file as path; "
        "loaded = load_plugins(read_manifest(path())); registry = build_registry(loaded); "
        "print(json.dumps([str(path()), [[i.name, i.status, i.error] for i in loaded.infos()], "
        "sorted(registry.tasks)]))"
    )
    said = succeed(clean / "python", "-c", probe, cwd=tmp_path, env=clean_environment())
    path, infos, tasks = json.loads(said.splitlines()[-1])
    assert path == str(clean.parent / "share/trainbox/plugins.toml")
    assert [info for info in infos if info[1] == "quarantined"] == []
    statuses = {name: status for name, status, _ in infos}
    assert statuses.pop("baseline") == statuses.pop("broken") == "not listed"
    assert set(statuses.values()) == {"loaded"}
    assert {"regression", "binclass", "multiclass"} <= set(tasks)


# --- at work


@pytest.fixture(
    scope="module", params=["process", pytest.param("docker", marks=pytest.mark.docker)]
)
def daemon(
    request: pytest.FixtureRequest, clean: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DaemonProcess]:
    """``trainbox serve`` from the clean environment, with both strangers listed."""
    folder = tmp_path_factory.mktemp(f"serve-{request.param}")
    plugins_file = folder / "plugins.toml"
    plugins_file.write_text(LISTED.format(backend=request.param, broken_required="false"))
    with installed_daemon(clean, folder, plugins_file) as running:
        yield running


def installed_daemon(clean: Path, folder: Path, plugins_file: Path) -> DaemonProcess:
    cache = os.environ.get("TRAINBOX_CACHE_DIR", str(folder / "cache"))
    return DaemonProcess(
        folder / "state",
        plugins_file=plugins_file,
        env={"TRAINBOX_CACHE_DIR": cache, "PYTHONPATH": "", "PYTHONSAFEPATH": "1"},
        command=(str(clean / "trainbox"), "serve"),
    )


@pytest.fixture(scope="module")
def dataset(daemon: DaemonProcess) -> Any:
    lines = ["city,rooms,price"]
    for number in range(ROWS):
        city = CITIES[number % 3]
        lines.append(f"{city},{number % 5},{PRICES[city] + number % 2}")
    return daemon.upload("\n".join(lines).encode(), name="flats")


def test_the_broken_plugin_is_quarantined_and_the_daemon_serves(daemon: DaemonProcess) -> None:
    answer = daemon.call("GET", "/v1/plugins")
    listed = {one["name"]: one for one in answer.get("items", answer.get("plugins", []))}
    broken, baseline = listed["broken"], listed["baseline"]
    assert (broken["status"], broken["distribution"]) == ("quarantined", "trainbox-broken")
    assert "ImportError: libbroken.so.1: cannot open shared object file" in broken["error"]
    assert (baseline["status"], baseline["version"]) == ("loaded", "0.3.0")
    assert set(baseline["provides"]) == {"task:baseline", "environment:baseline"}
    assert listed["tabular"]["status"] == "not listed"


def test_the_strangers_task_is_published_with_its_schema(daemon: DaemonProcess) -> None:
    task = daemon.call("GET", "/v1/tasks/baseline")
    assert task["plugin"] == "baseline"
    assert task["params_schema"]["properties"]["statistic"]["enum"] == ["mean", "median"]


def test_the_strangers_task_trains_and_predicts(
    daemon: DaemonProcess, dataset: Any, tmp_path: Path
) -> None:
    params = {"target": "price", "statistic": "median", "by": "city"}
    job_id = daemon.submit("baseline", dataset_id=dataset["id"], params=params, name="flats-base")
    job = daemon.wait(job_id, timeout_s=600)
    log = daemon.request("GET", f"/v1/jobs/{job_id}/logs")[2].decode()
    assert job["state"] == "succeeded", f"{job['reason']}\n{log}"
    assert set(job["metrics"]) >= {"rmse", "mae"}

    model = daemon.call("GET", f"/v1/models/{job['model_id']}")
    assert model["task"] == "baseline"
    assert model["parity"]["passed"] is True
    assert {one["name"] for one in model["signature"]["inputs"]} == {"city", "rooms"}

    asked: list[dict[str, Any]] = [
        {"city": "Graz", "rooms": 1},
        {"city": "Wien", "rooms": None},
        {"city": "Paris", "rooms": 2},
        {"city": None, "rooms": 2},
    ]
    answer = daemon.call("POST", "/v1/models/flats-base/predict", {"rows": asked})["rows"]
    predicted = [row["prediction"] for row in answer]
    assert predicted == [10.5, 20.5, 20.5, 20.5]

    path = tmp_path / "model.onnx"
    path.write_bytes(daemon.request("GET", f"/v1/models/{job['model_id']}/onnx")[2])
    session = onnxruntime.InferenceSession(path)
    cities = np.array([[row["city"] or ""] for row in asked], dtype=object)
    rooms = np.array([[np.nan if row["rooms"] is None else row["rooms"]] for row in asked])
    (bare,) = session.run(None, {"city": cities, "rooms": rooms.astype(np.float32)})
    assert bare.ravel().tolist() == predicted


def test_the_strangers_task_refuses_bad_input_before_anything_is_queued(
    daemon: DaemonProcess, dataset: Any
) -> None:
    for params, loc in (
        ({"target": "prise"}, ["params", "target"]),
        ({"target": "price", "by": "rooms"}, ["params", "by"]),
        ({"target": "price", "statistic": "mode"}, ["params", "statistic"]),
        ({"target": "price", "trials": 3}, ["params", "trials"]),
    ):
        with pytest.raises(RequestFailed) as refused:
            daemon.submit("baseline", dataset_id=dataset["id"], params=params)
        assert 400 <= refused.value.status < 500
        assert [error["loc"] for error in refused.value.body["errors"]] == [loc]


def test_a_required_broken_plugin_stops_the_start_with_one_sentence(
    clean: Path, tmp_path: Path
) -> None:
    plugins_file = tmp_path / "plugins.toml"
    plugins_file.write_text(LISTED.format(backend="process", broken_required="true"))
    with pytest.raises(RuntimeError) as stopped:
        installed_daemon(clean, tmp_path, plugins_file).start()
    said = str(stopped.value)
    assert 'plugin "broken" (trainbox-broken 0.0.1) is required and cannot be loaded' in said
    assert "ImportError: libbroken.so.1" in said


def test_a_misspelt_key_stops_the_start_with_its_full_path(clean: Path, tmp_path: Path) -> None:
    plugins_file = tmp_path / "plugins.toml"
    text = LISTED.format(backend="process", broken_required="false")
    plugins_file.write_text(text.replace("most_groups", "most_group"))
    with pytest.raises(RuntimeError) as stopped:
        installed_daemon(clean, tmp_path, plugins_file).start()
    expected = 'plugins.toml: plugin "baseline" config.most_group: unknown key; did you mean'
    assert expected in str(stopped.value)

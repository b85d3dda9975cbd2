"""From wishes to a lock: what is asked of an index, what is preferred, and what is refused."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from trainbox_plugins.environments.index_settings import parse_settings, resolver_environment
from trainbox_plugins.environments.lock import read_lock, sha256_of
from trainbox_plugins.environments.resolve import Resolver
from trainbox_plugins.environments.testing import write_wheel
from trainbox_sdk.environments import Environment
from trainbox_sdk.errors import BackendRejected

GLIBC = 36


def quiet(fraction: float, sentence: str) -> None:
    del fraction, sentence


@pytest.fixture(autouse=True)
def _no_settings_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) or "proxy" in name.lower():
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A directory of wheels: an old and a new base, and what users ask for."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for version in ("1.0", "2.0", "3.0"):
        write_wheel(folder, "ground", version)
    write_wheel(folder, "extra", "1.0", "ground>=1", 'winonly; sys_platform == "win32"')
    write_wheel(folder, "extra", "2.0", "ground>=1", 'ancient; python_version < "3.11"')
    write_wheel(folder, "ancient", "1.0")
    write_wheel(folder, "elsewhere", "1.0", tag="cp311-cp311-win_amd64")
    write_wheel(folder, "picky", "1.0", "ground<2")
    return folder


@pytest.fixture
def base(tmp_path: Path, shelf: Path) -> Environment:
    """An environment whose lock pins neither the oldest nor the newest of its one package."""
    lock = tmp_path / "base.lock"
    digest = sha256_of(shelf / "ground-2.0-py3-none-any.whl")
    lock.write_text(f"ground==2.0 --hash=sha256:{digest}\n")
    return Environment("base", "3.11", lock, names=("ground",))


def wanting(base: Environment, *texts: str) -> Environment:
    paths = []
    for number, text in enumerate(texts):
        paths.append(base.requirements.parent / f"requirements{number or ''}.txt")
        paths[-1].write_text(text)
    return replace(base, wishes=tuple(paths))


def pins(resolver: Resolver, environment: Environment) -> dict[str, str]:
    lock = resolver.lock(environment, quiet, glibc_minor=GLIBC)
    return {pin.name: pin.version for pin in read_lock(lock)}


@pytest.fixture
def resolver(tmp_path: Path, shelf: Path) -> Resolver:
    return Resolver(tmp_path / "locks", shelf)


def test_without_wishes_the_lock_is_the_environments_own(resolver, base) -> None:
    for environment in (base, wanting(base, "# nothing\n")):
        assert resolver.lock(environment, quiet, glibc_minor=GLIBC) == base.requirements


def test_pins_of_the_base_are_preferred_and_every_file_has_its_hash(resolver, base, shelf) -> None:
    lock = resolver.lock(wanting(base, "extra\n"), quiet, glibc_minor=GLIBC)
    found = {pin.name: pin for pin in read_lock(lock)}
    assert {name: pin.version for name, pin in found.items()} == {"ground": "2.0", "extra": "2.0"}
    for pin in found.values():
        path = shelf / f"{pin.name}-{pin.version}-py3-none-any.whl"
        assert pin.hashes == {sha256_of(path)}
    assert str(shelf) not in lock.read_text()


@pytest.mark.parametrize(
    ("text", "version"), [("ground==1.0\n", "1.0"), ("ground>2\n", "3.0"), ("picky\n", "1.0")]
)
def test_a_users_version_wins_over_the_base(resolver, base, text, version) -> None:
    assert pins(resolver, wanting(base, text))["ground"] == version


def test_markers_are_those_of_the_sandboxs_python(resolver, base) -> None:
    assert "ancient" not in pins(resolver, wanting(base, "extra\n"))
    assert "ancient" in pins(resolver, wanting(replace(base, python="3.10"), "extra\n"))


def test_several_files_are_met_together(resolver, base) -> None:
    with pytest.raises(BackendRejected) as caught:
        resolver.lock(wanting(base, "ground==1.0\n", "ground==3.0\n"), quiet, glibc_minor=GLIBC)
    assert caught.value.code == "requirements_unresolvable"
    assert "ground==1.0" in caught.value.message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nowhere\n", "nowhere"),
        ("extra>=9\n", "extra"),
        ("elsewhere\n", "elsewhere"),
    ],
)
def test_what_cannot_be_met_is_told_by_name(resolver, base, text, told) -> None:
    with pytest.raises(BackendRejected) as caught:
        resolver.lock(wanting(base, text), quiet, glibc_minor=GLIBC)
    assert caught.value.code == "requirements_unresolvable"
    assert told in caught.value.message
    assert caught.value.hint


def test_a_package_that_ships_as_source_is_refused_and_nothing_of_it_runs(
    resolver, base, shelf, tmp_path
) -> None:
    import tarfile

    (tmp_path / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with tarfile.open(shelf / "onlysource-1.0.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "setup.py", "onlysource-1.0/setup.py")
    with pytest.raises(BackendRejected) as caught:
        resolver.lock(wanting(base, "onlysource\n"), quiet, glibc_minor=GLIBC)
    assert caught.value.code == "requirements_unresolvable"
    assert "onlysource" in caught.value.message
    assert not (tmp_path / "ran").exists()


def test_refused_lines_are_told_before_anything_is_asked(base, tmp_path) -> None:
    resolver = Resolver(tmp_path / "locks", tmp_path / "no-such-shelf")
    with pytest.raises(BackendRejected) as caught:
        resolver.lock(wanting(base, "ground\n-r other.txt\n"), quiet, glibc_minor=GLIBC)
    assert caught.value.code == "requirements_refused"
    assert "requirements.txt line 2" in caught.value.message
    wishes = wanting(base, "x")
    wishes.wishes[0].write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BackendRejected, match="UTF-8"):
        resolver.lock(wishes, quiet, glibc_minor=GLIBC)


def test_hashes_of_a_user_leave_only_those_files(resolver, base, shelf) -> None:
    digest = sha256_of(shelf / "extra-1.0-py3-none-any.whl")
    lock = resolver.lock(
        wanting(base, f"extra==1.0 --hash=sha256:{digest}\n"), quiet, glibc_minor=GLIBC
    )
    assert {pin.name: pin.hashes for pin in read_lock(lock)}["extra"] == {digest}
    with pytest.raises(BackendRejected, match="hash that line 1 allows"):
        resolver.lock(
            wanting(base, f"extra==2.0 --hash=sha256:{digest}\n"), quiet, glibc_minor=GLIBC
        )


def test_equal_wishes_are_resolved_once(resolver, base, shelf, tmp_path) -> None:
    told: list[str] = []
    first = resolver.lock(wanting(base, "extra\n"), lambda f, s: told.append(s), glibc_minor=GLIBC)
    assert told == ["resolving 1 requirements", "2 packages are locked"]
    write_wheel(shelf, "extra", "9.0")
    assert resolver.lock(wanting(base, "extra\n"), quiet, glibc_minor=GLIBC) == first
    assert pins(resolver, wanting(base, "extra # now\n"))["extra"] == "9.0"
    left = [path.name for path in (tmp_path / "locks").iterdir() if path.is_dir()]
    assert not [name for name in left if name.startswith(".resolve-")]


# --- whose settings


class Index:
    """An index on loopback; notes which paths were asked for, and with which password."""

    def __init__(self, wheels: Path) -> None:
        asked = self.asked = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments) -> None:
                super().__init__(*arguments, directory=str(wheels))

            def do_GET(self) -> None:
                asked.append((self.path, self.headers.get("Authorization")))
                if not self.path.startswith("/simple/"):
                    super().do_GET()
                    return
                name = self.path.split("/")[2]
                links = [f'<a href="/{p.name}">{p.name}</a>' for p in wheels.glob(f"{name}-*.whl")]
                page = "".join(links).encode()
                self.send_response(200 if links else 404)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *arguments) -> None:
                del arguments

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://someone:secret@127.0.0.1:{self._server.server_address[1]}/simple"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def index(shelf: Path) -> Iterator[Index]:
    index = Index(shelf)
    yield index
    index.close()


def test_pips_own_settings_say_where_to_ask(base, index, tmp_path, monkeypatch) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nindex-url = {index.url}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    # What only the resolver would read does not count.
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:1/simple")
    found = Resolver(tmp_path / "locks").lock(wanting(base, "extra\n"), quiet, glibc_minor=GLIBC)
    assert {pin.name for pin in read_lock(found)} == {"ground", "extra"}
    assert {path for path, _ in index.asked} >= {"/simple/extra/", "/simple/ground/"}
    assert any(password for _, password in index.asked)
    for path in (tmp_path / "locks").rglob("*.lock"):
        assert "127.0.0.1" not in path.read_text()


def test_an_index_that_is_away_is_named_by_what_to_do_and_not_by_its_address(
    base, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://someone:secret@127.0.0.1:1/simple")
    monkeypatch.setattr("trainbox_plugins.environments.index_settings.RETRIES", "0")
    with pytest.raises(BackendRejected) as caught:
        Resolver(tmp_path / "locks").lock(wanting(base, "extra\n"), quiet, glibc_minor=GLIBC)
    assert caught.value.code == "package_index_unreachable"
    for secret in ("secret", "someone"):
        assert secret not in caught.value.message
    assert "PIP_INDEX_URL" in caught.value.hint


def test_settings_are_merged_as_pip_merges_them() -> None:
    listed = (
        ":env:.index-url='https://env.example'\n"
        "download.timeout='9'\n"
        "global.extra-index-url='\\nfile:///a\\nfile:///b'\n"
        "global.index-url='https://global.example'\n"
        "install.index-url='https://install.example'\n"
    )
    assert parse_settings(listed) == {
        "index-url": "https://env.example",
        "timeout": "9",
        "extra-index-url": "\nfile:///a\nfile:///b",
    }


def test_every_setting_has_its_word(tmp_path, monkeypatch) -> None:
    settings = {
        "PIP_INDEX_URL": "https://one.example/simple",
        "PIP_EXTRA_INDEX_URL": "file:///a file:///b",
        "PIP_FIND_LINKS": "/wheels /more",
        "PIP_CERT": "/ca.pem",
        "PIP_TRUSTED_HOST": "one.example",
        "PIP_PROXY": "http://proxy.example:3128",
        "PIP_DEFAULT_TIMEOUT": "7",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    told = resolver_environment(tmp_path, None, {"HOME": "/h", "SECRET": "x", "UV_INDEX": "x"})
    expected = {
        "UV_DEFAULT_INDEX": "https://one.example/simple",
        "UV_INDEX": "file:///a file:///b",
        "UV_FIND_LINKS": "/wheels,/more",
        "SSL_CERT_FILE": "/ca.pem",
        "UV_INSECURE_HOST": "one.example",
        "HTTP_PROXY": "http://proxy.example:3128",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "ALL_PROXY": "http://proxy.example:3128",
        "UV_HTTP_TIMEOUT": "7",
    }
    assert expected == {name: told[name] for name in expected}
    assert "SECRET" not in told
    bundle = resolver_environment(tmp_path, None, {"REQUESTS_CA_BUNDLE": "/company.pem"})
    assert bundle["SSL_CERT_FILE"] == "/company.pem"


def test_a_wheelhouse_replaces_every_index(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://one.example/simple")
    told = resolver_environment(tmp_path, Path("/wheels"), {})
    assert "one.example" not in json.dumps(told)
    assert told["UV_FIND_LINKS"] == "/wheels"

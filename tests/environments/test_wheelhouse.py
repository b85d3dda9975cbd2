"""Wheels by hash: from an index that only this host trusts, from a directory, and from neither."""

from __future__ import annotations

import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainbox_plugins.environments.lock import read_lock
from trainbox_plugins.environments.pip import explain
from trainbox_plugins.environments.testing import MODULE, tiny_environment
from trainbox_plugins.environments.wheelhouse import Wheelhouse, platform_tags
from trainbox_sdk.environments import Environment
from trainbox_sdk.errors import BackendRejected


def quiet(fraction: float, sentence: str) -> None:
    del fraction, sentence


@pytest.fixture(autouse=True)
def _no_settings_of_this_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests speak to loopback alone: the host's own index must not answer in their place."""
    for name in list(os.environ):
        if name.startswith("PIP_") or name.endswith("_CA_BUNDLE") or "proxy" in name.lower():
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip-cache"))
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def tiny(tmp_path: Path) -> Environment:
    (tmp_path / "offered").mkdir()
    return tiny_environment(tmp_path / "offered")


class Index:
    """A package index on loopback, over TLS that a private CA vouches for."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.ca = folder / "ca.pem"
        key = folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
            + ["-subj", "/CN=Private Inspection CA", "-addext", "subjectAltName=IP:127.0.0.1"]
            + ["-keyout", str(key), "-out", str(self.ca)],
            check=True,
            capture_output=True,
        )
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(wheels))

            def do_GET(self) -> None:
                asked.append(self.path)
                if not self.path.startswith("/simple/"):
                    super().do_GET()
                    return
                names = [path.name for path in wheels.glob("*.whl")]
                page = "".join(f'<a href="/{name}">{name}</a>' for name in names).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *arguments: Any) -> None:
                del arguments

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://someone:secret@127.0.0.1:{self._server.server_address[1]}/simple/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def index(tmp_path: Path, tiny: Environment) -> Iterator[Index]:
    folder = tmp_path / "index"
    folder.mkdir()
    index = Index(folder, tiny.requirements.parent)
    yield index
    index.close()


def test_index_behind_a_private_ca_is_used_with_the_hosts_own_settings(
    tmp_path: Path, tiny: Environment, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.setenv("PIP_CERT", str(index.ca))
    told: list[tuple[float, str]] = []
    house = Wheelhouse(tmp_path / "wheels")
    wheels = house.fetch(tiny, lambda fraction, sentence: told.append((fraction, sentence)))
    assert list(wheels.files) == [f"{MODULE}-1.0-py3-none-any.whl"]
    assert wheels.bytes > 0
    assert told[-1][0] == 1.0
    assert any(sentence.startswith("downloading trainbox") for _, sentence in told), told
    # Cached: the second time nobody is asked.
    before = len(index.asked)
    assert house.fetch(tiny, quiet).digest == wheels.digest
    assert len(index.asked) == before
    kept = b"".join(path.read_bytes() for path in wheels.directory.iterdir())
    assert b"127.0.0.1" not in kept
    assert b"secret" not in kept


def test_index_with_a_foreign_certificate_is_refused_and_the_fix_named(
    tmp_path: Path, tiny: Environment, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.setattr("trainbox_plugins.environments.wheelhouse.RETRIES", 1)
    with pytest.raises(BackendRejected) as caught:
        Wheelhouse(tmp_path / "wheels").fetch(tiny, quiet)
    assert caught.value.code == "package_index_untrusted"
    assert "PIP_CERT" in caught.value.hint
    assert "secret" not in caught.value.message


def test_unreachable_index_says_what_where_and_how(
    tmp_path: Path, tiny: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("PIP_INDEX_URL", f"http://someone:secret@127.0.0.1:{port}/simple/")
    monkeypatch.setattr("trainbox_plugins.environments.wheelhouse.RETRIES", 1)
    with pytest.raises(BackendRejected) as caught:
        Wheelhouse(tmp_path / "wheels").fetch(tiny, quiet)
    assert caught.value.code == "package_index_unreachable"
    assert "tiny" in caught.value.message
    assert "TRAINBOX_WHEELHOUSE" in caught.value.hint
    assert "secret" not in caught.value.message
    assert list((tmp_path / "wheels").glob("[!.]*")) == []


def test_directory_of_wheels_needs_no_index(tmp_path: Path, tiny: Environment) -> None:
    wheels = Wheelhouse(tmp_path / "wheels", tiny.requirements.parent).fetch(tiny, quiet)
    assert len(wheels.files) == 1


def test_directory_without_the_wheel_says_so(tmp_path: Path, tiny: Environment) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BackendRejected) as caught:
        Wheelhouse(tmp_path / "wheels", tmp_path / "empty").fetch(tiny, quiet)
    assert caught.value.code == "wheel_missing"


def test_wheel_that_is_not_the_locked_one_is_refused(tmp_path: Path, tiny: Environment) -> None:
    other = tmp_path / "other"
    other.mkdir()
    tiny_environment(other, source="ANSWER = 'forged'\n")
    with pytest.raises(BackendRejected) as caught:
        Wheelhouse(tmp_path / "wheels", other).fetch(tiny, quiet)
    assert caught.value.code in ("wheel_hash_mismatch", "wheel_missing")
    assert list((tmp_path / "wheels").glob("[!.]*")) == []


@pytest.mark.parametrize("damage", ["flip", "delete", "plant"])
def test_cache_that_changed_behind_our_back_is_noticed_and_fetched_anew(
    tmp_path: Path, tiny: Environment, damage: str
) -> None:
    house = Wheelhouse(tmp_path / "wheels", tiny.requirements.parent)
    wheels = house.fetch(tiny, quiet)
    wheel = wheels.directory / next(iter(wheels.files))
    if damage == "flip":
        raw = bytearray(wheel.read_bytes())
        raw[100] ^= 1
        wheel.write_bytes(raw)
    elif damage == "delete":
        wheel.unlink()
    else:
        (wheels.directory / "evil-1.0-py3-none-any.whl").write_bytes(b"evil")
    with pytest.raises(BackendRejected) as caught:
        house.fetch(tiny, quiet)
    assert caught.value.code == "wheel_hash_mismatch"
    assert house.fetch(tiny, quiet).digest == wheels.digest


def test_builders_at_the_same_time_download_once(tmp_path: Path, tiny: Environment) -> None:
    house = Wheelhouse(tmp_path / "wheels", tiny.requirements.parent)
    told: list[str] = []
    found: list[str] = []

    def fetch() -> None:
        wheels = house.fetch(tiny, lambda fraction, sentence: told.append(sentence))
        found.append(wheels.digest)

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len([line for line in told if line.startswith("downloading")]) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "six\n",
        "six==1.0\n",
        "six>=1.0 --hash=sha256:" + "0" * 64,
        "six==1.0 --hash=md5:" + "0" * 32,
        "-r other.txt\n",
        "https://example.invalid/six.whl\n",
    ],
)
def test_file_that_is_no_lock_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(text)
    with pytest.raises(BackendRejected):
        read_lock(tmp_path / "lock")


def test_lock_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendRejected, match="cannot be read"):
        read_lock(tmp_path / "lock")


def test_lock_with_extras_markers_and_many_hashes_is_read(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(
        "A.b_c[x,y]==1.2.post1 ; python_version >= '3.9' \\\n"
        f"    --hash=sha256:{'a' * 64} \\\n    --hash=sha256:{'b' * 64}\n    # via d\n"
    )
    (pin,) = read_lock(tmp_path / "lock")
    assert (pin.name, pin.version, len(pin.hashes)) == ("A.b_c", "1.2.post1", 2)


def test_platform_tags_are_newest_first_and_end_with_the_plain_one() -> None:
    tags = platform_tags(36, "x86_64")
    assert tags[0] == "manylinux_2_36_x86_64"
    assert tags.index("manylinux_2_17_x86_64") < tags.index("manylinux2014_x86_64")
    assert tags[-1] == "linux_x86_64"
    assert "manylinux_2_37_x86_64" not in tags


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "wheel_hash_mismatch"),
        ("ERROR: [Errno 28] No space left on device", "storage_full"),
        ("ERROR: ProxyError('Cannot connect to proxy.')", "package_index_unreachable"),
        ("ERROR: something new", "pip_failed"),
    ],
)
def test_pips_words_become_a_code(said: str, code: str) -> None:
    error = explain("doing", [said, "see https://u:p@host/simple"])
    assert error.code == code
    assert "u:p@" not in error.message


def test_wheels_note_names_every_file(tmp_path: Path, tiny: Environment) -> None:
    wheels = Wheelhouse(tmp_path / "wheels", tiny.requirements.parent).fetch(tiny, quiet)
    assert json.loads((wheels.directory / "wheels.json").read_text()) == sorted(wheels.files)

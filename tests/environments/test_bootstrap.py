"""The Debian base without Debian: what is read from the host, what is left out, what is refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from trainbox_plugins.docker_backend import bootstrap
from trainbox_sdk.errors import BackendRejected


def apt(folder: Path, **files: str) -> Path:
    (folder / "sources.list.d").mkdir()
    for name, text in files.items():
        (folder / name.replace("__", "/").replace("_dot_", ".")).write_text(text)
    return folder


def test_mirror_of_one_line_sources(tmp_path: Path) -> None:
    text = """
# deb http://commented.example/debian bookworm main
deb-src http://sources.example/debian bookworm main
deb http://security.example/debian-security bookworm-security main
deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://mirror.example/debian bookworm main
"""
    folder = apt(tmp_path, sources_dot_list=text)
    assert bootstrap.mirror_of("bookworm", folder) == "https://mirror.example/debian"
    assert bootstrap.mirror_of("trixie", folder) is None


def test_mirror_of_deb822_sources(tmp_path: Path) -> None:
    text = """Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm

Types: deb deb-src
# a comment
URIs: https://mirror.example/debian https://second.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://deb.example/debian-security
Suites: bookworm-security
"""
    folder = apt(tmp_path, **{"sources_dot_list_dot_d__debian_dot_sources": text})
    assert bootstrap.mirror_of("bookworm", folder) == "https://mirror.example/debian"
    assert bootstrap.mirror_of("bookworm-security", folder) == "http://deb.example/debian-security"


def test_host_without_apt_has_no_mirror(tmp_path: Path) -> None:
    assert bootstrap.mirror_of("bookworm", tmp_path / "none") is None


def test_root_loses_setuid_caches_and_every_trace_of_the_host(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("usr/bin", "usr/share/doc/x", "var/cache/apt", "etc/apt", "usr/lib", "dev"):
        (root / name).mkdir(parents=True)
    for name in ("usr/bin/su", "usr/bin/write", "usr/bin/ls"):
        (root / name).write_text("program")
    (root / "usr/bin/su").chmod(0o4755)
    (root / "usr/bin/write").chmod(0o2755)
    (root / "usr/bin/ls").chmod(0o755)
    (root / "usr/bin/link").symlink_to("/usr/bin/su")
    for name in ("etc/hostname", "etc/resolv.conf", "etc/apt/sources.list"):
        (root / name).write_text("https://mirror.of.this.host")
    (root / "usr/share/doc/x/README").write_text("words")
    (root / "var/cache/apt/big.deb").write_text("deb")
    (root / "dev/null").write_text("")
    bootstrap._trim(root)
    tar = bootstrap._pack(root, tmp_path / "root.tar")
    told = subprocess.run(["tar", "-tvf", tar], capture_output=True, text=True, check=True).stdout
    names = {line.split()[5]: line.split()[0] for line in told.splitlines()}
    assert names["./usr/bin/su"] == names["./usr/bin/write"] == names["./usr/bin/ls"]
    assert "./usr/bin/link" in names
    for gone in ("etc/hostname", "etc/resolv.conf", "etc/apt/sources.list", "dev/null"):
        assert f"./{gone}" not in names
    assert not [name for name in names if "README" in name or name.endswith(".deb")]
    assert (root / "usr/share/doc").is_dir()


@pytest.mark.parametrize(("python", "suite"), [("3.11", "bookworm"), ("3.13", "trixie")])
def test_python_decides_the_release(python: str, suite: str) -> None:
    base = bootstrap.base_for(python, ("libgomp1",))
    assert base.suite == suite
    assert "libgomp1" in base.packages


def test_python_without_a_release_names_the_way_out() -> None:
    with pytest.raises(BackendRejected) as caught:
        bootstrap.base_for("3.12", ())
    assert "registry_base" in caught.value.hint


def test_digest_follows_content() -> None:
    one = bootstrap.Base("bookworm", ("python3", "libgomp1"))
    assert one.digest == bootstrap.Base("bookworm", ("libgomp1", "python3")).digest
    assert one.digest != bootstrap.Base("bookworm", ("python3",)).digest
    assert one.digest != bootstrap.Base("trixie", ("python3", "libgomp1")).digest


def test_host_that_cannot_bootstrap_names_every_other_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(BackendRejected) as caught:
        bootstrap.make_root_tar(bootstrap.Base("bookworm", ()), tmp_path, lambda f, s: None)
    assert "not root" in caught.value.message
    for way in ("as root", "registry_base", "docker load"):
        assert way in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_debootstrap_that_fails_says_its_last_words_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    fake = tools / "debootstrap"
    fake.write_text("#!/bin/sh\necho 'I: Retrieving InRelease'\necho 'E: no mirror'\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    cache = tmp_path / "cache"
    with pytest.raises(BackendRejected, match="no mirror"):
        bootstrap.make_root_tar(bootstrap.Base("bookworm", ()), cache, lambda f, s: None)
    assert [path.name for path in cache.iterdir()] == ["debs"]

"""Settings: the environment over a file over the defaults, and nothing out of range."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from trainbox.settings import Settings, default_plugins_file, default_state_dir


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path: Path) -> None:
    for name in ("TRAINBOX_CONFIG", "STATE_DIRECTORY", "TRAINBOX_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))


def test_the_defaults_serve_loopback_alone() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.backend) == ("127.0.0.1", 8422, "auto")
    assert settings.allowed_hosts == []


def test_the_environment_wins_over_the_file(monkeypatch, tmp_path: Path) -> None:
    file = tmp_path / "trainbox.toml"
    file.write_text('port = 1111\ngrace_s = 3.5\nbackend = "docker"\n')
    monkeypatch.setenv("TRAINBOX_CONFIG", str(file))
    monkeypatch.setenv("TRAINBOX_PORT", "2222")
    settings = Settings()
    assert (settings.port, settings.grace_s, settings.backend) == (2222, 3.5, "docker")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("foo,bar", ["foo", "bar"]),
        (" foo , bar,", ["foo", "bar"]),
        ("foo", ["foo"]),
        ("", []),
        ('["foo", "bar"]', ["foo", "bar"]),
    ],
)
def test_host_names_come_with_commas_or_as_json(monkeypatch, given: str, names: list[str]) -> None:
    monkeypatch.setenv("TRAINBOX_ALLOWED_HOSTS", given)
    assert Settings().allowed_hosts == names


def test_a_file_that_is_named_and_absent_stops_the_start(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRAINBOX_CONFIG", str(tmp_path / "nowhere.toml"))
    with pytest.raises(SettingsError, match="nowhere.toml"):
        Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "-1"),
        ("port", "65536"),
        ("port", "http"),
        ("grace_s", "0"),
        ("reconcile_s", "-5"),
        ("max_upload_bytes", "0"),
        ("predict_workers", "0"),
        ("free_bytes_floor", "-1"),
        ("log_level", "loud"),
    ],
)
def test_what_is_out_of_range_is_refused(monkeypatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"TRAINBOX_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_the_log_level_may_be_written_small(monkeypatch) -> None:
    monkeypatch.setenv("TRAINBOX_LOG_LEVEL", "debug")
    assert Settings().log_level == "DEBUG"


def test_state_lives_where_the_service_manager_says(monkeypatch, tmp_path: Path) -> None:
    assert default_state_dir() == tmp_path / "xdg" / "trainbox"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/trainbox:/var/lib/other")
    assert default_state_dir() == Path("/var/lib/trainbox")
    monkeypatch.setenv("TRAINBOX_STATE_DIR", str(tmp_path))
    assert Settings().state_dir == tmp_path


def test_the_token_lies_with_the_state(tmp_path: Path) -> None:
    assert Settings(state_dir=tmp_path).token_file == tmp_path / "token"


def test_the_plugins_that_come_with_it_are_listed_in_a_file_that_is_there() -> None:
    assert default_plugins_file().is_file()

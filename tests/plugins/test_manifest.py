"""What ``plugins.toml`` may say, and what is answered when it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainbox.plugins import Manifest, installed_plugins, read_manifest
from trainbox_sdk.errors import PluginError


def read(tmp_path: Path, text: str) -> Manifest:
    path = tmp_path / "plugins.toml"
    path.write_text(text, encoding="utf-8")
    return read_manifest(path)


def refusal(tmp_path: Path, text: str) -> PluginError:
    with pytest.raises(PluginError) as caught:
        read(tmp_path, text)
    assert caught.value.code == "plugins_file_invalid"
    assert str(tmp_path / "plugins.toml") in caught.value.hint
    return caught.value


def test_reads_names_flags_and_config_in_file_order(tmp_path: Path) -> None:
    manifest = read(
        tmp_path,
        """
        [[plugin]]
        name = "b"
        required = true
        [plugin.config]
        port = 1
        deep = { x = [1, 2] }
        [[plugin]]
        name = "a"
        """,
    )
    assert [one.name for one in manifest.plugins] == ["b", "a"]
    assert [one.required for one in manifest.plugins] == [True, False]
    assert manifest.plugins[0].config == {"port": 1, "deep": {"x": [1, 2]}}
    assert manifest.plugins[1].config == {}
    assert manifest.source == tmp_path / "plugins.toml"


def test_empty_file_lists_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "").plugins == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[plugins]]\nname='a'", 'plugins.toml: plugins: unknown key; did you mean "plugin"?'),
        ("source = 'x'", "plugins.toml: source: unknown key"),
        (
            "[[plugin]]\nname='a'\nrequird=true",
            'plugins.toml: plugin "a" requird: unknown key; did you mean "required"?',
        ),
        (
            "[[plugin]]\nname='a'\nport=1",
            'plugins.toml: plugin "a" port: unknown key; known are config, name, required',
        ),
        ("[[plugin]]\nrequired=true", "plugins.toml: plugin number 1 name: Field required"),
        (
            "[[plugin]]\nname='a'\n[[plugin]]\nname=5",
            "plugins.toml: plugin number 2 name: Input should be a valid string",
        ),
        (
            "[[plugin]]\nname='a'\nrequired='yes'",
            'plugins.toml: plugin "a" required: Input should be a valid boolean',
        ),
        ("[[plugin]]\nname='a'\nconfig=3", 'plugins.toml: plugin "a" config: '),
        ("[[plugin]]\nname='../x'", 'plugins.toml: plugin "../x" name: String should match'),
        ("[[plugin]]\nname=''", 'plugins.toml: plugin "" name: String should match'),
        ("plugin = 3", "plugins.toml: plugin: "),
        ("plugin = [3]", "plugins.toml: plugin number 1"),
        ("[[plugin", "plugins.toml: is not TOML: "),
        (
            "[[plugin]]\nname='a'\n[[plugin]]\nname='b'\n[[plugin]]\nname='a'",
            'plugins.toml: plugin "a" is listed 2 times',
        ),
    ],
)
def test_refuses_with_the_full_path(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).message.startswith(message)


def test_reports_every_problem_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, "[[plugin]]\nname='a'\nx=1\n[[plugin]]\nname='b'\ny=1").message
    assert 'plugin "a" x' in message
    assert 'plugin "b" y' in message


def test_refuses_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "plugins.toml"
    path.write_bytes(b"\xff\xfe[")
    with pytest.raises(PluginError, match=r"plugins\.toml: is not UTF-8"):
        read_manifest(path)


def test_refuses_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"absent\.toml: cannot be read: No such file"):
        read_manifest(tmp_path / "absent.toml")
    with pytest.raises(PluginError, match="cannot be read: Is a directory"):
        read_manifest(tmp_path)


def test_a_manifest_cannot_be_changed_after_reading(tmp_path: Path) -> None:
    manifest = read(tmp_path, "[[plugin]]\nname='a'")
    with pytest.raises(ValueError, match="frozen"):
        manifest.plugins[0].name = "b"  # type: ignore[misc]


def test_the_manifest_that_ships_is_valid_and_lists_every_bundled_plugin() -> None:
    manifest = read_manifest(Path(__file__).parents[2] / "plugins.toml")
    bundled = {one.name for one in installed_plugins() if one.distribution == "trainbox"}
    assert {one.name for one in manifest.plugins} == bundled

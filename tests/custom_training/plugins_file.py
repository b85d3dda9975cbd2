"""The plugins.toml that ships, with the dialect turned on."""

from __future__ import annotations

from pathlib import Path

from . import tokens

ROOT = Path(__file__).resolve().parents[2]


def plugins_file(folder: Path) -> Path:
    text = (ROOT / "plugins.toml").read_text()
    start = text.index("# [plugin.config]")
    end = text.index("[[plugin]]", start)
    config = f"""[plugin.config]
algorithm = "HS256"
key_file = "{tokens.write_secret(folder)}"
issuer = "{tokens.ISSUER}"
audience = "{tokens.AUDIENCE}"

"""
    path = folder / "plugins.toml"
    path.write_text(text[:start] + config + text[end:])
    return path

"""The outside world, read once: environment variables over a TOML file over defaults.

Only ``app`` and ``cli`` import this; every other room gets plain values.
"""

from __future__ import annotations

import json
import os
import sysconfig
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

GIB = 1024**3
MIB = 1024**2


LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda text: text.upper() if isinstance(text, str) else text),
]


def _names(given: object) -> object:
    """Split ``a,b``; a JSON list, as pydantic-settings would take it, is taken too."""
    if not isinstance(given, str):
        return given
    if given.lstrip().startswith("["):
        try:
            return json.loads(given)
        except ValueError as error:
            raise ValueError(f"neither a JSON list nor names with commas: {error}") from None
    return [name for part in given.split(",") if (name := part.strip())]


HostNames = Annotated[list[str], NoDecode, BeforeValidator(_names)]
RECEIVER = r"(https?|\*)://([A-Za-z0-9.*?_-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}|\*))?/?"
"""A pattern of URLs: scheme, host and port, with * in the last two."""
Receivers = Annotated[
    list[Annotated[str, Field(pattern=f"^{RECEIVER}$")]], NoDecode, BeforeValidator(_names)
]
Delays = Annotated[list[Annotated[float, Field(ge=0)]], NoDecode, BeforeValidator(_names)]


def standard_delays() -> list[float]:
    """Return the schedule that Standard Webhooks recommends: ten tries over about three days."""
    return [5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0]


def default_state_dir() -> Path:
    """Return where state lives: systemd's STATE_DIRECTORY, else the XDG state home."""
    given = os.environ.get("STATE_DIRECTORY")
    if given:
        return Path(given.split(":")[0])
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "trainbox"


def default_plugins_file() -> Path:
    """Return the plugins.toml that ships with this installation."""
    installed = Path(sysconfig.get_path("data")) / "share" / "trainbox" / "plugins.toml"
    checkout = Path(__file__).resolve().parents[2] / "plugins.toml"
    return checkout if checkout.exists() else installed


class Settings(BaseSettings):
    """Every setting of the daemon; ``TRAINBOX_<NAME>`` overrides the file."""

    model_config = SettingsConfigDict(
        env_prefix="TRAINBOX_", env_nested_delimiter="__", extra="ignore", validate_default=True
    )

    state_dir: Path = Field(
        default_factory=default_state_dir,
        description="Database, files, sandboxes, the local token.",
    )
    plugins_file: Path = Field(
        default_factory=default_plugins_file, description="Which plugins load, and their config."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8422, description="TCP port; 0 picks one.")
    allowed_hosts: HostNames = Field(
        default_factory=list, description="Further names accepted in the Host header."
    )
    backend: str = Field("auto", description="Backend for jobs that name none, or 'auto'.")
    max_upload_bytes: Annotated[int, Field(gt=0)] = Field(4 * GIB, description="Largest upload.")
    max_rows: Annotated[int, Field(gt=0)] = Field(50_000_000, description="Rows in a dataset.")
    max_columns: Annotated[int, Field(gt=0)] = Field(4096, description="Columns in a dataset.")
    max_predict_rows: Annotated[int, Field(gt=0)] = Field(
        10_000, description="Rows in one prediction request."
    )
    predict_workers: Annotated[int, Field(gt=0)] = Field(
        2, description="Worker processes for predictions; a model under load gets several."
    )
    predict_batch_rows: Annotated[int, Field(gt=0)] = Field(
        1024, description="Rows up to which waiting requests for one model share a run."
    )
    predict_batch_delay_s: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="Seconds a prediction waits for others to share its run."
    )
    predict_memory_bytes: Annotated[int, Field(gt=0)] = Field(
        2 * GIB, description="Memory of one prediction worker."
    )
    predict_timeout_s: Annotated[float, Field(gt=0)] = Field(30.0, description="One prediction.")
    grace_s: Annotated[float, Field(gt=0)] = Field(
        10.0, description="Seconds between SIGTERM and SIGKILL of a step."
    )
    reconcile_s: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Seconds between looks for orphaned sandboxes."
    )
    free_bytes_floor: Annotated[int, Field(ge=0)] = Field(
        512 * MIB, description="Below this much free space no job is accepted."
    )
    keep_failed_scratch_s: Annotated[float, Field(ge=0)] = Field(
        604_800.0, description="Seconds for which a failed job can resume; then its scratch goes."
    )
    webhook_allowed: Receivers = Field(
        default_factory=list, description="The only receivers of webhooks; empty for any."
    )
    webhook_retry_s: Delays = Field(
        default_factory=standard_delays, description="Seconds before each further try of a webhook."
    )
    webhook_disable_after_s: Annotated[float, Field(gt=0)] = Field(
        432_000.0, description="Seconds of nothing but failures after which a webhook is disabled."
    )
    webhook_keep_s: Annotated[float, Field(gt=0)] = Field(
        2_592_000.0, description="Seconds for which the log of deliveries is kept."
    )
    log_level: LogLevel = Field("INFO", description="Level of the daemon's own log.")
    access_log: bool = Field(True, description="Whether each request leaves a line in the log.")
    metrics_public: bool = Field(
        False, description="Whether /metrics answers other machines without a token."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the TOML file named by TRAINBOX_CONFIG under the environment."""
        del dotenv_settings, file_secret_settings
        given = os.environ.get("TRAINBOX_CONFIG")
        path = Path(given) if given else Path("/etc/trainbox/trainbox.toml")
        if given and not path.is_file():
            raise SettingsError(f"TRAINBOX_CONFIG names {path}, which is not a file")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path)

    @property
    def token_file(self) -> Path:
        """Where the first token is written for the local CLI, mode 0600."""
        return self.state_dir / "token"

    @property
    def token_credential(self) -> Path | None:
        """Secret that the service manager hands in with ``LoadCredential=token:…``."""
        given = os.environ.get("CREDENTIALS_DIRECTORY")
        return Path(given) / "token" if given else None

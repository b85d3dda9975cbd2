"""The outside world, read once: environment variables over a TOML file over defaults.

Only ``app`` and ``cli`` import this; every other room gets plain values.
"""

from __future__ import annotations

import ipaddress
import json
import os
import sysconfig
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
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


def _absolute(folders: list[Path]) -> list[Path]:
    for folder in folders:
        if not folder.is_absolute() or folder == Path("/"):
            raise ValueError(f"{folder} is not an absolute path below /")
    return folders


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


def _proxies(given: list[str]) -> list[str]:
    """Refuse what is neither an address, nor a network, nor ``unix``."""
    for each in given:
        if each != "unix":
            ipaddress.ip_network(each, strict=False)
    return given


RateText = Annotated[str, Field(pattern=r"^([1-9]\d{0,11}/(second|minute|hour|day))?$")]
"""``600/minute``: so many at once, refilled evenly over the period; empty for no limit."""
UnixTrust = Annotated[
    list[Annotated[str, Field(pattern=r"^\d{1,10}=[!-~]{1,128}$")]],
    NoDecode,
    BeforeValidator(_names),
]
"""``1000=ann`` or ``0=local:admin``: uid, subject, and scopes joined by ``+``."""
TrustedProxies = Annotated[list[str], NoDecode, BeforeValidator(_names), AfterValidator(_proxies)]


Folders = Annotated[list[Path], NoDecode, BeforeValidator(_names), AfterValidator(_absolute)]


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
    host: str = Field("127.0.0.1", description="Address to listen on; empty for no TCP.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8422, description="TCP port; 0 picks one.")
    allowed_hosts: HostNames = Field(
        default_factory=list, description="Further names accepted in the Host header."
    )
    unix_socket: str = Field(
        "", description="Path of a Unix socket to listen on beside TCP, mode 0660; empty for none."
    )
    unix_socket_group: str = Field("", description="Group that may connect to the Unix socket.")
    unix_socket_trust: UnixTrust = Field(
        default_factory=list,
        description="Users of the Unix socket who need no token: `uid=subject[:scope+scope]`.",
    )
    public_url: Annotated[str, Field(pattern=r"^(https?://[^/\s]+)?$")] = Field(
        "", description="How browsers reach the daemon behind a proxy, such as https://train.lan."
    )
    trusted_proxies: TrustedProxies = Field(
        default_factory=list,
        description="Addresses, networks or `unix` whose X-Forwarded-* headers are believed.",
    )
    rate_limit_reads: RateText = Field(
        "60000/minute", description="Reads of one token; empty for no limit."
    )
    rate_limit_changes: RateText = Field(
        "60000/minute", description="Changes by one token; empty for no limit."
    )
    rate_limit_uploads: RateText = Field(
        "6000/minute", description="Streamed uploads of one token; empty for no limit."
    )
    rate_limit_predict: RateText = Field(
        "600000/minute", description="Predictions for one token; empty for no limit."
    )
    rate_limit_auth_failures: RateText = Field(
        "300/minute", description="Wrong tokens from one address; empty for no limit."
    )
    max_in_flight: Annotated[int, Field(gt=0)] = Field(
        512, description="Requests being answered at a time; more get 503."
    )
    max_connections: Annotated[int, Field(gt=0)] = Field(
        1024, description="Open connections in all."
    )
    max_connections_per_peer: Annotated[int, Field(gt=0)] = Field(
        512, description="Open connections of one address or Unix user."
    )
    max_body_memory_bytes: Annotated[int, Field(gt=0)] = Field(
        GIB, description="Request bodies held in memory, all together; more get 503."
    )
    header_timeout_s: Annotated[float, Field(gt=0)] = Field(
        15.0, description="Seconds for a request's whole header from its first byte."
    )
    body_timeout_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Seconds for a body that is not streamed."
    )
    min_body_bytes_per_s: Annotated[int, Field(ge=0)] = Field(
        1024, description="Least rate of any body over 30 s."
    )
    idle_timeout_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Seconds a connection may stay open between requests."
    )
    write_stall_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Seconds a reader may take nothing of an answer."
    )
    audit_anchor_s: Annotated[float, Field(gt=0)] = Field(
        600.0, description="Seconds between notes of the audit log's head."
    )
    backend: str = Field("auto", description="Backend for jobs that name none, or 'auto'.")
    max_upload_bytes: Annotated[int, Field(gt=0)] = Field(4 * GIB, description="Largest upload.")
    upload_expiry_s: Annotated[float, Field(gt=0)] = Field(
        86_400.0, description="Seconds without a byte after which a resumable upload is forgotten."
    )
    allowed_import_roots: Folders = Field(
        default_factory=list,
        description="Folders of this machine whose files may be imported as datasets.",
    )
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
    step_disk_bytes: Annotated[int, Field(ge=16 * MIB)] = Field(
        4 * GIB, description="What one step may write in all."
    )
    step_disk_files: Annotated[int, Field(ge=1024)] = Field(
        65_536, description="Files and directories one step may write, where it has its own disk."
    )
    keep_failed_scratch_s: Annotated[float, Field(ge=0)] = Field(
        604_800.0, description="Seconds for which a failed job can resume; then its scratch goes."
    )
    keep_failed_scratch_bytes: Annotated[int, Field(ge=0)] = Field(
        10 * GIB, description="What all that scratch may take; the oldest goes first."
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

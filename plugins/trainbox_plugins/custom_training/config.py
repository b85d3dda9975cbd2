"""What an admin sets for this surface in plugins.toml: whose tokens it takes, and its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, DirectoryPath, Field, model_validator

Algorithm = Literal["HS256", "RS256", "EdDSA"]
Claim = Annotated[str, Field(min_length=1, max_length=200)]
MIB = 1024**2


class Config(BaseModel):
    """Keys are named by file, never written here: plugins.toml is readable to all."""

    model_config = ConfigDict(extra="forbid")

    key_file: Path | None = Field(
        None,
        description="File with the key that tokens are checked with: a secret of 32 bytes or more "
        "for HS256, a public key in PEM for RS256 and EdDSA.",
    )
    algorithm: Algorithm | None = Field(
        None, description="What the key of key_file is for; no other algorithm is accepted."
    )
    jwks_file: Path | None = Field(
        None,
        description="In place of key_file: a JSON Web Key Set (RFC 7517); each key serves the one "
        "algorithm of its kind.",
    )
    issuer: Claim | None = Field(None, description="What iss must be; not asked for when unset.")
    audience: Claim | None = Field(
        None, description="What aud must name; when unset, tokens with an aud are refused."
    )
    leeway_s: Annotated[float, Field(ge=0, le=300)] = Field(
        30.0, description="Seconds that clocks may differ."
    )
    organisation_claim: Claim = Field(
        "org_id", description="Claim that names the organisation: the owner of all it makes."
    )
    user_claim: Claim = Field("sub", description="Claim that names the person, for the audit log.")
    permissions_claim: Claim = Field(
        "permissions", description="Claim with permissions: a list, or words with spaces between."
    )
    default_permissions: list[str] = Field(
        [], description="Permissions of a token that lacks the claim."
    )
    max_asset_bytes: Annotated[int, Field(gt=0)] = Field(
        500 * MIB, description="Largest asset in bytes."
    )
    max_assets: Annotated[int, Field(gt=0, le=100)] = Field(
        100, description="Most assets of one model."
    )
    spool_dir: DirectoryPath | None = Field(
        None,
        description="Where a form's file waits that comes before the fields that say what it is; "
        "None for the system's temporary directory.",
    )
    upload_idle_s: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Seconds an upload may stand still before it is given up."
    )
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+$",
        description="Origin that download links begin with; None for the one of the request.",
    )

    @property
    def has_key(self) -> bool:
        """Whether tokens can be checked; without a key the surface is off."""
        return self.key_file is not None or self.jwks_file is not None

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.key_file is not None and self.jwks_file is not None:
            raise ValueError("give key_file with algorithm, or jwks_file, not both")
        if (self.key_file is None) != (self.algorithm is None):
            raise ValueError("algorithm goes with key_file; keys of a jwks_file say their own")
        return self

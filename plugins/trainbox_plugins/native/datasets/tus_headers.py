"""What the headers of a resumable upload say."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import PurePosixPath

from aiohttp import web
from pydantic import ValidationError

from trainbox_plugins.native.datasets import wire
from trainbox_plugins.native.datasets.formats import MEDIA_TYPES, format_of, unknown_format
from trainbox_plugins.native.wire import INT64
from trainbox_sdk.errors import FieldError, ValidationFailed
from trainbox_sdk.uploads import NewDataset

MAX_METADATA = 8000


def number(request: web.Request, name: str) -> int:
    """Return a header's number of bytes.

    Raises:
        ValidationFailed: absent, or no number up to 64 bits.
    """
    given = request.headers.get(name, "")
    if given.isascii() and given.isdigit() and len(given) <= len(str(INT64)):
        found = int(given)
        if found <= INT64:
            return found
    problem = FieldError(("header", name), "must be a number of bytes", "send it in digits")
    raise ValidationFailed(f"The header {name} must be a number of bytes.", errors=[problem])


def _metadata(header: str) -> Mapping[str, str]:
    """Return ``Upload-Metadata`` as tus has it: pairs of a key and base64, with commas."""
    if len(header) > MAX_METADATA:
        raise _bad_metadata(f"is over {MAX_METADATA} characters")
    found: dict[str, str] = {}
    for pair in filter(None, (each.strip() for each in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            raise _bad_metadata(f"{key[:40]!r} is not base64 of UTF-8") from None
    return found


def spec_of(header: str) -> NewDataset:
    """Return what ``Upload-Metadata`` says of the data.

    Raises:
        ValidationFailed: not as tus has it, or without a word on the format.
    """
    said = _metadata(header)
    filename = PurePosixPath(said.get("filename", "").replace("\\", "/")).name
    format_ = said.get("format") or MEDIA_TYPES.get(said.get("filetype", "").lower())
    known = format_ or format_of(filename)
    if not known:
        raise unknown_format(("header", "Upload-Metadata"), "Upload-Metadata")
    asked = {name: said[name] for name in ("description", "types", "labels") if said.get(name)}
    try:
        options = wire.UploadQuery.model_validate(asked)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _bad_metadata(f"{first['loc'][0]!r}: {first['msg'].lower()}") from None
    return NewDataset(
        name=said.get("name") or filename or "dataset",
        format=known,
        filename=filename,
        description=options.description,
        types=options.types or {},
        labels=options.labels or {},
    )


def _bad_metadata(why: str) -> ValidationFailed:
    problem = FieldError(("header", "Upload-Metadata"), why)
    return ValidationFailed(f"Upload-Metadata {why}.", errors=[problem])

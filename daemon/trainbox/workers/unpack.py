"""Compressed and UTF-16 text made plain UTF-8 on disk, within a cap; magic bytes decide."""

from __future__ import annotations

import codecs
import importlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from trainbox.workers.ingest_request import UPLOAD, IngestRequest
from trainbox.workers.refusal import Refused

BLOCK = 1024**2
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
UNPACKED = "unpacked"
TRANSCODED = "transcoded"

MAX_RATIO = 200
"""Expanded to packed bytes; text of a real table is seldom beyond 20."""
FREE_BYTES = 64 * 1024**2
"""Expanded bytes for which the ratio is not asked."""

_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def plain_text(request: IngestRequest) -> Path:
    """Return the upload as a file of (what should be) UTF-8; what it was before is removed.

    Raises:
        Refused: damaged, a bomb, or not decodable.
    """
    return _utf8(_expanded(Path(UPLOAD), request))


def _expanded(path: Path, request: IngestRequest) -> Path:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic.startswith(GZIP):
        pieces = _gunzip(path)
    elif magic == ZSTD:
        pieces = _unzstd(path)
    else:
        return path
    packed = path.stat().st_size
    expanded = 0
    target = Path(UNPACKED)
    with target.open("wb") as out:
        for piece in pieces:
            expanded += len(piece)
            _refuse_bomb(expanded, packed, request)
            out.write(piece)
    path.unlink()
    return target


def _refuse_bomb(expanded: int, packed: int, request: IngestRequest) -> None:
    if expanded > request.max_unpacked_bytes:
        raise Refused(
            f"unpacked it is larger than {request.max_unpacked_bytes:,} bytes",
            kind="too_large",
            code="unpacks_too_large",
            hint="send Parquet, or fewer rows",
        )
    if expanded > FREE_BYTES and expanded > MAX_RATIO * packed:
        raise Refused(
            f"it unpacks to more than {MAX_RATIO} times its size, as a decompression bomb does",
            kind="too_large",
            code="unpacks_too_large",
            hint="send it uncompressed, or as Parquet",
        )


def _gunzip(path: Path) -> Iterator[bytes]:
    """Iterate the expanded bytes of all members of a gzip file (RFC 1952), in small pieces."""
    with path.open("rb") as file:
        data = file.read(BLOCK)
        while data:
            member = zlib.decompressobj(_GZIP_WINDOW)
            try:
                while data and not member.eof:
                    yield member.decompress(data, BLOCK)
                    data = member.unconsumed_tail or member.unused_data or file.read(BLOCK)
            except zlib.error as error:
                raise _damaged("gzip", str(error)) from error
            if not member.eof:
                raise _damaged("gzip", "it ends too early")


def _unzstd(path: Path) -> Iterator[bytes]:
    zstd = _zstd()
    if zstd is None:
        raise Refused(
            "this is zstd-compressed, which this daemon cannot read",
            code="wrong_format",
            hint="decompress it first: unzstd file.csv.zst",
        )
    with path.open("rb") as file:
        data = file.read(BLOCK)
        while data:
            frame = zstd.ZstdDecompressor()
            try:
                while not frame.eof:
                    yield frame.decompress(data, max_length=BLOCK)
                    data = file.read(BLOCK) if frame.needs_input else b""
                    if not data and frame.needs_input:
                        raise _damaged("zstd", "it ends too early")
            except zstd.ZstdError as error:
                raise _damaged("zstd", str(error)) from error
            data = frame.unused_data or file.read(BLOCK)


def _zstd() -> ModuleType | None:
    """Return the standard library's module (PEP 784, Python 3.14) or its backport."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def _damaged(what: str, why: str) -> Refused:
    hint = "pack it again and upload that; a file cut off in transit looks like this"
    return Refused(f"the {what} file is damaged: {why}", code="damaged_compression", hint=hint)


def _utf8(path: Path) -> Path:
    with path.open("rb") as file:
        encoding = _UTF16.get(file.read(2))
        if encoding is None:
            return path
        decoder = codecs.getincrementaldecoder(encoding)("strict")
        target = Path(TRANSCODED)
        lines = 1
        with target.open("w", encoding="utf-8", newline="") as out:
            while True:
                block = file.read(BLOCK)
                try:
                    text = decoder.decode(block, final=not block)
                except UnicodeDecodeError as error:
                    read = error.object[: error.start].decode(encoding, "replace")
                    raise Refused(
                        f"not UTF-16: {error.reason}",
                        code="bad_utf16",
                        hint="convert the file to UTF-8; it may be cut off",
                        line=lines + read.count("\n"),
                    ) from error
                lines += text.count("\n")
                out.write(text)
                if not block:
                    break
    path.unlink()
    return target

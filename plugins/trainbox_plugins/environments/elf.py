"""What a shared object or program asks of the system it is loaded on (ELF64, little-endian).

Layout: System V ABI, "Program Header" and "Dynamic Section".
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_STRTAB = 0, 1, 5
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<qQ")
_GLIBC = re.compile(rb"\0GLIBC_2\.(\d+)(?:\.\d+)?(?=\0)")


@dataclass(frozen=True)
class Needs:
    """What must be there.

    Attributes:
        libraries: sonames, such as ``libssl.so.3``.
        glibc_minor: of the newest glibc 2.x symbol version it uses; 0 for none.
    """

    libraries: tuple[str, ...]
    glibc_minor: int


def needed_by(path: Path) -> Needs:
    """Return what a file needs; nothing where it is no ELF64 file."""
    raw = path.read_bytes()
    if raw[:6] != b"\x7fELF\x02\x01":
        return Needs((), 0)
    offset, size, count = *struct.unpack_from("<Q", raw, 32), *struct.unpack_from("<HH", raw, 54)
    headers = [_PROGRAM_HEADER.unpack_from(raw, offset + size * i) for i in range(count)]
    loads = [(vaddr, start, length) for kind, _, start, vaddr, _, length, *_ in _of(headers)]
    minors = [int(match[1]) for match in _GLIBC.finditer(raw)]
    return Needs(_libraries(raw, headers, loads), max(minors, default=0))


def _of(headers: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    return [header for header in headers if header[0] == _PT_LOAD]


def _libraries(
    raw: bytes, headers: list[tuple[int, ...]], loads: list[tuple[int, int, int]]
) -> tuple[str, ...]:
    dynamic = next((header for header in headers if header[0] == _PT_DYNAMIC), None)
    if dynamic is None:
        return ()
    entries = []
    for at in range(dynamic[2], dynamic[2] + dynamic[5], _DYNAMIC.size):
        tag, value = _DYNAMIC.unpack_from(raw, at)
        if tag == _DT_NULL:
            break
        entries.append((tag, value))
    table = next((value for tag, value in entries if tag == _DT_STRTAB), 0)
    strings = next(
        (
            start + table - vaddr
            for vaddr, start, length in loads
            if vaddr <= table < vaddr + length
        ),
        0,
    )
    names = [strings + value for tag, value in entries if tag == _DT_NEEDED]
    return tuple(raw[at : raw.index(b"\0", at)].decode() for at in names)

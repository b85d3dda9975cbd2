"""What daemon and predict worker say to each other about values: raw buffers behind a small header.

Every frame is four bytes, its length as a big-endian number, then a body. Numbers in a body are
little-endian, and tensors are the bytes the processor holds: trainbox runs on little-endian
machines. A run carries several requests; its answer carries their outcomes in groups of neighbours
that share one, so that requests that were run as one batch come back as one piece.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

Buffer = bytes | memoryview

DONE, BAD_INPUT, FAILED, OUT_OF_MEMORY = range(4)
"""Outcomes of a group."""

MAX_BYTES = 2**31

TABLE = "table"
"""Name of the file that a table worker reads, in its folder."""
LENGTH = 4

ONNX_TYPES: Mapping[str, tuple[str, str]] = {
    "tensor(float)": ("FP32", "f"),
    "tensor(double)": ("FP64", "d"),
    "tensor(float16)": ("FP16", "e"),
    "tensor(int64)": ("INT64", "q"),
    "tensor(int32)": ("INT32", "i"),
    "tensor(int16)": ("INT16", "h"),
    "tensor(int8)": ("INT8", "b"),
    "tensor(uint64)": ("UINT64", "Q"),
    "tensor(uint32)": ("UINT32", "I"),
    "tensor(uint16)": ("UINT16", "H"),
    "tensor(uint8)": ("UINT8", "B"),
    "tensor(bool)": ("BOOL", "?"),
    "tensor(string)": ("BYTES", ""),
}
"""ONNX element type to the Open Inference Protocol's and to :mod:`struct`'s."""
CODES: Mapping[str, str] = dict(ONNX_TYPES.values())
"""Datatype to :mod:`struct`'s code; empty for ``BYTES``."""
WIDTHS: Mapping[str, int] = {
    datatype: struct.calcsize(f"<{code}") for datatype, code in CODES.items()
}
"""Datatype to bytes per element; 0 for ``BYTES``, whose elements differ."""
_NAMES = tuple(CODES)


class BadFrame(Exception):
    """The other side did not send what this module writes."""


@dataclass(frozen=True, slots=True)
class Item:
    """One request: a buffer per input, in the model's order.

    Attributes:
        packed: texts come as all lengths and then all bytes (:func:`pack_texts`), rather than
            each behind its length.
    """

    rows: int
    buffers: Sequence[Buffer]
    packed: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a group.

    Attributes:
        shape: with all rows of the group in front, if it is ``per_row``.
        offsets: of a per-row text tensor, where each row begins, and the end.
    """

    datatype: str
    shape: tuple[int, ...]
    data: Buffer
    per_row: bool
    offsets: Sequence[int] = ()

    def rows(self, first: int, count: int) -> Output:
        """Return the part of some rows; all of it where it is not per row."""
        if not self.per_row or (first == 0 and count == self.shape[0]):
            return self
        shape = (count, *self.shape[1:])
        if self.offsets:
            start, end = self.offsets[first], self.offsets[first + count]
            return Output(self.datatype, shape, memoryview(self.data)[start:end], per_row=True)
        width = len(self.data) // self.shape[0]
        piece = memoryview(self.data)[first * width : (first + count) * width]
        return Output(self.datatype, shape, piece, per_row=True)


@dataclass(frozen=True, slots=True)
class Group:
    """What became of ``count`` neighbouring requests: outputs in the model's order, or why not."""

    count: int
    status: int
    outputs: Sequence[Output] = ()
    text: str = ""


def pack_texts(texts: Sequence[bytes]) -> bytes:
    """Return texts as all lengths and then all bytes."""
    return struct.pack(f"<{len(texts)}I", *map(len, texts)) + b"".join(texts)


def unpack_texts(buffer: Buffer, count: int) -> list[str]:
    """Return what :func:`pack_texts` packed.

    Raises:
        ValueError: other lengths, or not UTF-8.
    """
    head = 4 * count
    ends = list(accumulate(struct.unpack_from(f"<{count}I", buffer), initial=0))
    if ends[-1] != len(buffer) - head:
        raise ValueError("the lengths of its texts do not add up to its size")
    blob = bytes(memoryview(buffer)[head:])
    if blob.isascii():  # characters are bytes: one decoding for all
        whole = blob.decode("ascii")
        return [whole[a:b] for a, b in pairwise(ends)]
    return [blob[a:b].decode() for a, b in pairwise(ends)]


def read_texts(buffer: Buffer, count: int) -> list[str]:
    """Return texts that stand each behind its length: the binary layout of ``BYTES``.

    Raises:
        ValueError: it ends early or late, or holds something else than UTF-8.
    """
    data, unpack, place = bytes(buffer), struct.Struct("<I").unpack_from, 0
    size, texts = len(data), list[str]()
    for number in range(count):
        if size - place < LENGTH:
            raise ValueError(f"its bytes end before element {number} of {count}")
        end = place + LENGTH + unpack(data, place)[0]
        if end > size:
            raise ValueError(f"element {number} says it is longer than what is left of the bytes")
        try:
            texts.append(data[place + LENGTH : end].decode())
        except UnicodeDecodeError:
            raise ValueError(f"element {number} is not UTF-8 text") from None
        place = end
    if place != size:
        raise ValueError(f"{size - place} bytes are left after element {count - 1}")
    return texts


def write_texts(texts: Sequence[bytes]) -> bytes:
    """Return texts each behind its length."""
    length = struct.Struct("<I").pack
    return b"".join([part for text in texts for part in (length(len(text)), text)])


def read_each(buffer: Buffer, rows: Sequence[int], sizes: Sequence[int]) -> list[str]:
    """Return the texts of several requests that lie one behind the other.

    Args:
        buffer: all of them, each text behind its length.
        rows: of each request.
        sizes: bytes of each request; no text may reach into the next one's.

    Raises:
        ValueError: as :func:`read_texts`.
    """
    data, place, texts = bytes(buffer), 0, list[str]()
    for count, size in zip(rows, sizes, strict=True):
        begin, end = place + LENGTH, place + size
        if count == 1 and int.from_bytes(data[place:begin], "little") == end - begin:
            texts.append(data[begin:end].decode())
        else:
            texts += read_texts(data[place:end], count)
        place = end
    return texts


@dataclass(frozen=True, slots=True)
class Run:
    """The requests of a run as they came: all buffers of an input in one piece.

    Attributes:
        rows: of each request.
        packed: of each request.
        sizes: bytes of each request, by input.
        columns: a buffer per input, request behind request.
    """

    rows: Sequence[int]
    packed: Sequence[int]
    sizes: Sequence[Sequence[int]]
    columns: Sequence[Buffer]

    def items(self) -> list[Item]:
        """Return the requests one by one."""
        ends = [list(accumulate(sizes, initial=0)) for sizes in self.sizes]
        return [
            Item(
                rows,
                [column[e[at] : e[at + 1]] for column, e in zip(self.columns, ends, strict=True)],
                packed=bool(packed),
            )
            for at, (rows, packed) in enumerate(zip(self.rows, self.packed, strict=True))
        ]


def run_frame(items: Sequence[Item]) -> list[Buffer]:
    """Return the frame of a run, in pieces: input by input, so that the worker need not sort.

    Raises:
        BadFrame: larger than :data:`MAX_BYTES`.
    """
    width = len(items[0].buffers)
    numbers = [len(items), width]
    for item in items:
        numbers += (item.rows, int(item.packed), *map(len, item.buffers))
    head = struct.pack(f"<{len(numbers)}I", *numbers)
    columns = zip(*(item.buffers for item in items), strict=True)
    return framed([head, *(buffer for column in columns for buffer in column)])


def read_run(body: memoryview) -> Run:
    """Return the requests of a run."""
    count, width = struct.unpack_from("<2I", body)
    step = 2 + width
    numbers = struct.unpack_from(f"<{count * step}I", body, 8)
    sizes = [numbers[2 + at :: step] for at in range(width)]
    ends = list(accumulate(map(sum, sizes), initial=8 + 4 * len(numbers)))
    columns = [body[begin:end] for begin, end in pairwise(ends)]
    return Run(numbers[::step], numbers[1::step], sizes, columns)


def answer_frame(groups: Sequence[Group]) -> list[Buffer]:
    """Return the frame of an answer, in pieces."""
    parts: list[Buffer] = [struct.pack("<I", len(groups))]
    for group in groups:
        text = group.text.encode()
        head = (group.count, group.status, len(text), len(group.outputs))
        parts += (struct.pack("<4I", *head), text)
        for output in group.outputs:
            offsets = output.offsets
            size, rank = len(output.data), len(output.shape)
            head = (_NAMES.index(output.datatype), int(output.per_row), rank, len(offsets))
            numbers = (*output.shape, *offsets, size)
            parts += (struct.pack(f"<4I{len(numbers)}Q", *head, *numbers), output.data)
    return framed(parts)


def read_answer(body: bytes) -> list[Group]:
    """Return the groups of an answer.

    Raises:
        BadFrame: what a worker in order does not write.
    """
    try:
        return _groups(body)
    except (struct.error, IndexError, UnicodeDecodeError, OverflowError) as error:
        raise BadFrame(f"the answer cannot be read: {error}") from error


def _groups(body: bytes) -> list[Group]:
    view = memoryview(body)
    (count,) = struct.unpack_from("<I", view)
    place, groups = 4, []
    for _ in range(count):
        requests, status, length, outputs = struct.unpack_from("<4I", view, place)
        place += 16
        text = str(view[place : place + length], "utf-8")
        place += length
        found = []
        for _ in range(outputs):
            output, place = _output(view, place)
            found.append(output)
        groups.append(Group(requests, status, found, text))
    if place != len(view):
        raise BadFrame("the answer is not as long as it says")
    return groups


def _output(view: memoryview, place: int) -> tuple[Output, int]:
    kind, per_row, rank, marks = struct.unpack_from("<4I", view, place)
    place += 16
    numbers = struct.unpack_from(f"<{rank + marks + 1}Q", view, place)
    place += 8 * len(numbers)
    shape, offsets, size = numbers[:rank], numbers[rank:-1], numbers[-1]
    data = view[place : place + size]
    if len(data) != size:
        raise BadFrame("the answer ends early")
    if per_row and (not shape or (offsets and len(offsets) != shape[0] + 1)):
        raise BadFrame("an output per row without rows")
    return Output(_NAMES[kind], shape, data, bool(per_row), offsets), place + size


def framed(parts: Sequence[Buffer]) -> list[Buffer]:
    """Put the length in front.

    Raises:
        BadFrame: larger than :data:`MAX_BYTES`.
    """
    size = sum(map(len, parts))
    if size > MAX_BYTES:
        raise BadFrame(f"a frame of {size} bytes is over {MAX_BYTES}")
    return [size.to_bytes(LENGTH, "big"), *parts]

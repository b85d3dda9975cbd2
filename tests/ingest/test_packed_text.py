"""Compressed and UTF-16 uploads: read like plain ones, and bombs refused early."""

import codecs
import gzip
from dataclasses import replace

import pytest
from backports import zstd
from trainbox.ingest import Ingest
from trainbox_sdk.errors import TooLarge, ValidationFailed

TEXT = 'a,b\n1,"x\ny"\n2,é\n'
ROWS = [(1, "x\ny"), (2, "é")]

PACKED = {
    "gzip": gzip.compress(TEXT.encode()),
    "two gzip members": gzip.compress(TEXT[:7].encode()) + gzip.compress(TEXT[7:].encode()),
    "zstd": zstd.compress(TEXT.encode()),
    "two zstd frames": zstd.compress(TEXT[:7].encode()) + zstd.compress(TEXT[7:].encode()),
    "utf-16 little": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "utf-16 big": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "utf-16 in gzip": gzip.compress(codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le")),
    "utf-8 with mark": codecs.BOM_UTF8 + TEXT.encode(),
}


@pytest.mark.parametrize("how", PACKED)
async def test_packed_text_is_read_like_plain(upload, rows, how):
    assert rows(await upload(PACKED[how])) == ROWS


async def test_packed_json_lines(upload, rows):
    assert rows(await upload(gzip.compress(b'{"a": 1}\n{"a": 2}\n'), "jsonl")) == [(1,), (2,)]


async def test_faults_in_packed_text_keep_their_lines(upload):
    with pytest.raises(ValidationFailed) as caught:
        await upload(gzip.compress(b"a,b\n1,2\n3\n"))
    assert [(fault.row, fault.line) for fault in caught.value.faults] == [(2, 3)]


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
@pytest.mark.parametrize("cut", [5, 20, -1, -9])
async def test_cut_off(upload, pack, cut):
    with pytest.raises(ValidationFailed) as caught:
        await upload(pack(b"a,b\n" + b"1,2\n" * 1000)[:cut])
    assert caught.value.code == "damaged_compression"


@pytest.mark.hostile
@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
async def test_bomb_is_refused_long_before_it_is_unpacked(upload, tmp, pack):
    bomb = pack(b"a,b\n" + b"1,2\n" * 50_000_000)
    assert len(bomb) < 1024**2
    with pytest.raises(TooLarge) as caught:
        await upload(bomb)
    assert caught.value.code == "unpacks_too_large"
    assert "bomb" in caught.value.message
    assert not list(tmp.iterdir())


async def test_cap_on_the_expanded_bytes(blobs, small, stream, tmp):
    ingest = Ingest(blobs, replace(small, unpacked_bytes=100_000), tmp)
    with pytest.raises(TooLarge) as caught:
        await ingest.ingest(stream(gzip.compress(b"a\n" + b"1\n" * 50_000)), format="csv")
    assert caught.value.code == "unpacks_too_large"

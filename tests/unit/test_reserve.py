"""Room kept back: a disk without a byte free still takes what frees it."""

import shutil

import pytest

from trainbox.reserve import PLENTY, Reserve
from trainbox_sdk.errors import StorageFull

MIB = 1024**2


class Disk:
    def __init__(self, free):
        self.free = free

    def __call__(self, _path):
        return shutil._ntuple_diskusage(0, 0, self.free)


async def test_given_up_for_an_act_that_finds_no_room_and_taken_again(tmp_path):
    reserve = Reserve(tmp_path, MIB)
    reserve.take()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= MIB
    seen = []

    async def purge():
        seen.append((tmp_path / "reserve").exists())
        if seen[-1]:
            raise StorageFull("no room")
        return "freed"

    assert await reserve.freeing(purge) == "freed"
    assert seen == [True, False]
    assert (tmp_path / "reserve").exists(), "taken again, now that there is room"


async def test_without_a_reserve_the_refusal_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", Disk(MIB))
    reserve = Reserve(tmp_path, MIB)
    calls = []

    async def purge():
        calls.append(1)
        raise StorageFull("no room")

    with pytest.raises(StorageFull):
        await reserve.freeing(purge)
    assert calls == [1]


def test_not_taken_where_it_would_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", Disk(PLENTY * MIB - 1))
    Reserve(tmp_path, MIB).take()
    assert list(tmp_path.iterdir()) == []

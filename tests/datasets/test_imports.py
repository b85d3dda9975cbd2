"""Files of the server: only regular ones, only under a root, over no link at all."""

import os

import pytest

from trainbox.datasets import ImportRoots
from trainbox_sdk.errors import Forbidden, ValidationFailed


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    for path in (root / "a.csv", root / "sub" / "b.csv", tmp_path / "outside" / "secret"):
        path.write_bytes(path.name.encode())
    (root / "link").symlink_to(tmp_path / "outside" / "secret")
    (root / "inside").symlink_to(root / "a.csv")
    (root / "linked").symlink_to(tmp_path / "outside")
    (root / "swapped").symlink_to(root / "sub")
    os.mkfifo(root / "fifo")
    return root


async def read(roots, path):
    async with roots.open(str(path)) as body:
        return b"".join([block async for block in body])


async def test_files_below_the_root_are_read(tree):
    roots = ImportRoots([tree.parent / "none", tree])
    assert await read(roots, tree / "a.csv") == b"a.csv"
    assert await read(roots, f"{tree}//sub/./b.csv") == b"b.csv"


async def test_a_root_that_is_a_link_is_the_admins_business(tree, tmp_path):
    (tmp_path / "alias").symlink_to(tree)
    assert await read(ImportRoots([tmp_path / "alias"]), tmp_path / "alias" / "a.csv") == b"a.csv"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("link", "link"),
        ("inside", "link"),
        ("linked/secret", "link"),
        ("swapped/b.csv", "link"),
        ("a.csv/x", "link"),
        ("fifo", "regular"),
        ("sub", "regular"),
        ("none.csv", "No such file"),
        ("../outside/secret", r"\.\."),
        ("sub/../a.csv", r"\.\."),
        (".", "not under"),
        ("/etc/passwd", "not under"),
        ("a.csv\0", "absolute"),
    ],
)
async def test_everything_else_is_refused(tree, given, why):
    path = given if given.startswith("/") else f"{tree}/{given}"
    with pytest.raises(ValidationFailed, match=why) as refused:
        await read(ImportRoots([tree]), path)
    assert refused.value.errors[0].loc == ("path",)


@pytest.mark.parametrize("given", ["a.csv", "", "~/a.csv"])
async def test_a_relative_path_is_refused(tree, given, monkeypatch):
    monkeypatch.chdir(tree)
    with pytest.raises(ValidationFailed, match="absolute"):
        await read(ImportRoots([tree]), given)


async def test_a_name_that_only_begins_like_a_root_is_outside(tree):
    (tree.parent / "root2").mkdir()
    (tree.parent / "root2" / "a.csv").write_bytes(b"x")
    with pytest.raises(ValidationFailed, match="not under"):
        await read(ImportRoots([tree]), tree.parent / "root2" / "a.csv")


async def test_without_roots_nothing_is_imported(tree):
    with pytest.raises(Forbidden, match="no files"):
        await read(ImportRoots([]), tree / "a.csv")


async def test_no_descriptor_is_left_open(tree):
    roots = ImportRoots([tree])
    before = len(os.listdir("/proc/self/fd"))
    for given in ("a.csv", "link", "fifo", "none", "linked/secret"):
        try:
            await read(roots, tree / given)
        except ValidationFailed:
            continue
    assert len(os.listdir("/proc/self/fd")) == before

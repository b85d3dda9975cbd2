"""Assets: what every engine promises of uploaded files."""

import pytest
from engines import ANN, ANNS_CLERK, BOB, ROOT, TASK, stream

from trainbox_sdk.assets import NewAsset
from trainbox_sdk.calls.tokens import AuditFilter
from trainbox_sdk.documents import Act
from trainbox_sdk.errors import NotFound, TooLarge, ValidationFailed

SHA_OF_ABC = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


async def put(engine, who=ANN, data=(b"ab", b"c"), **said):
    new = NewAsset(**{"filename": "train.py", "kind": "script", **said})
    return await engine.create_asset(who, new, stream(*data))


async def acts(engine, **which):
    page = await engine.audit(ROOT, AuditFilter(limit=100, **which))
    lines = [(line.who, line.act, line.object) for line in reversed(page.items)]
    return [line for line in lines if line[1] != "token.create"]  # of the daemon's first start


async def test_a_file_is_kept_as_it_came(engine):
    made = await put(engine, group="m1", description="of ann")
    assert made.id.startswith("ast_")
    assert (made.digest, made.bytes, made.owner) == (SHA_OF_ABC, 3, "ann")
    assert (made.filename, made.kind, made.group) == ("train.py", "script", "m1")
    assert await engine.asset(ANN, made.id) == made
    file = await engine.asset_file(ANN, made.id)
    assert file.path.read_bytes() == b"abc"
    assert (file.view.name, file.view.bytes, file.view.digest) == ("train.py", 3, SHA_OF_ABC)


async def test_it_is_its_owners_alone(engine):
    made = await put(engine)
    for call in (engine.asset, engine.asset_file, engine.delete_asset):
        for who, asset_id in ((BOB, made.id), (ANN, "ast_none"), (ANN, "\ud800"), (ANN, "")):
            with pytest.raises(NotFound) as refused:
                await call(who, asset_id)
            assert refused.value.code == "asset_not_found"
    assert (await engine.assets(BOB)).items == ()
    assert (await engine.assets(ANN)).items == (made,)


async def test_listings_are_newest_first_by_group_and_kind_in_pages(engine):
    made = [
        await put(engine, group=group, kind=kind, filename=f"{group}-{kind}")
        for group in ("m1", "m2")
        for kind in ("script", "weights")
    ]
    assert (await engine.assets(ANN)).items == tuple(reversed(made))
    assert (await engine.assets(ANN, group="m1")).items == (made[1], made[0])
    assert (await engine.assets(ANN, kind="weights")).items == (made[3], made[1])
    assert (await engine.assets(ANN, group="m2", kind="script")).items == (made[2],)
    first = await engine.assets(ANN, limit=3)
    rest = await engine.assets(ANN, limit=3, after=first.next)
    assert (first.items + rest.items, rest.next) == (tuple(reversed(made)), None)


async def test_a_deleted_one_is_gone_and_twice_is_not_found(engine):
    made = await put(engine)
    await engine.delete_asset(ANN, made.id)
    for call in (engine.asset, engine.asset_file, engine.delete_asset):
        with pytest.raises(NotFound):
            await call(ANN, made.id)
    assert (await engine.assets(ANN)).items == ()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "/etc/passwd",
        "a\nb",
        "a\0b",
        "x" * 256,
        "é" * 128,
        "\ud800",
    ],
    ids=ascii,
)
async def test_a_name_that_no_file_can_have_is_refused_before_a_byte_is_read(engine, name):
    async def never():
        pytest.fail("the body was read")
        yield b""

    with pytest.raises(ValidationFailed) as refused:
        await engine.create_asset(ANN, NewAsset(name, "script"), never())
    assert [error.loc for error in refused.value.errors] == [("filename",)]
    assert (await engine.assets(ANN)).items == ()


@pytest.mark.parametrize(
    "name", ["a b.py", "ümläut.txt", "x" * 255, "-rf", "データ.bin"], ids=ascii
)
async def test_any_other_name_is_fine(engine, name):
    assert (await put(engine, filename=name)).filename == name


async def test_too_large_empty_and_broken_off_uploads_leave_nothing(engine):
    async def breaks_off():
        yield b"a" * 100
        raise ConnectionResetError

    new = NewAsset("w.bin", "weights", max_bytes=1000)
    with pytest.raises(TooLarge):
        await engine.create_asset(ANN, new, stream(b"a" * 600, b"a" * 600))
    with pytest.raises(ValidationFailed):
        await engine.create_asset(ANN, new, stream())
    with pytest.raises(ConnectionResetError):
        await engine.create_asset(ANN, new, breaks_off())
    assert (await engine.assets(ANN)).items == ()
    assert await acts(engine, act="asset.") == []
    kept = await engine.create_asset(ANN, new, stream(b"a" * 1000))
    assert kept.bytes == 1000


async def test_the_audit_log_tells_of_it_and_what_the_surface_adds(engine):
    made = await engine.create_asset(
        ANNS_CLERK, NewAsset("a.py", "script"), stream(b"x"), acts=[Act("model.asset_uploaded", "")]
    )
    await engine.delete_asset(ANN, made.id, acts=[Act("model.asset_deleted", "m1", "why")])
    assert made.owner == "ann"
    assert await acts(engine) == [
        ("clerk@ann.example", "asset.create", made.id),
        ("clerk@ann.example", "model.asset_uploaded", made.id),
        ("ann", "asset.delete", made.id),
        ("ann", "model.asset_deleted", "m1"),
    ]


async def test_tasks_of_this_kit_are_taken(engine):
    assert TASK in {task.name for task in engine.tasks()}

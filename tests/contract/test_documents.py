"""Documents, alone and with a job: what every engine promises surfaces."""

import asyncio

import pytest
from engines import ANN, ANNS_CLERK, BOB, ROOT, TASK

from trainbox_sdk.calls.jobs import JobFilter
from trainbox_sdk.calls.tokens import AuditFilter
from trainbox_sdk.documents import Act, Along, DocumentFilter, DocumentKey, DocumentWrite
from trainbox_sdk.errors import Conflict, ValidationFailed
from trainbox_sdk.jobs import JobSpec, State

DRAFT = DocumentKey("demo", "model", "m1")
SPEC = JobSpec(TASK)
MODELS = DocumentFilter("demo", "model")


def write(key=DRAFT, body=None, **more):
    return DocumentWrite(key, more.pop("owner", "ann"), {"a": 1} if body is None else body, **more)


def gone(key=DRAFT, **more):
    return DocumentWrite(key, "ann", None, **more)


def model(number):
    return DocumentKey("demo", "model", f"m{number}")


async def acts(engine):
    page = await engine.audit(ROOT, AuditFilter(limit=500))
    lines = [(line.who, line.act, line.object, line.note) for line in reversed(page.items)]
    return [line for line in lines if line[1] != "token.create"]  # of the daemon's first start


class TestAlone:
    async def test_it_is_read_as_it_was_written(self, engine):
        body = {"text": "é\n\U0001f600", "list": [1, 2.5, None, True], "deep": {"a": {"b": []}}}
        (made,) = await engine.write_documents(
            ANN, [write(body=body, group="g", name="churn", expect=0)]
        )
        assert (made.key, made.owner, made.group, made.name) == (DRAFT, "ann", "g", "churn")
        assert (made.revision, made.body) == (1, body)
        assert made.created_at == made.updated_at
        assert await engine.document(DRAFT) == made
        assert await engine.document(DocumentKey("other", "model", "m1")) is None
        assert await engine.document(DocumentKey("demo", "run", "m1")) is None

    async def test_revisions_count_the_writes_and_creation_stays(self, engine):
        (first,) = await engine.write_documents(ANN, [write()])
        (second,) = await engine.write_documents(ANN, [write(body={"b": 2}, expect=1)])
        assert (second.revision, second.body) == (2, {"b": 2})
        assert second.created_at == first.created_at
        assert second.updated_at >= first.updated_at

    @pytest.mark.parametrize(("there", "expect"), [(0, 1), (0, 2), (1, 0), (1, 2), (2, 1)])
    async def test_another_revision_than_expected_is_a_conflict(self, engine, there, expect):
        for _ in range(there):
            await engine.write_documents(ANN, [write()])
        before = await engine.document(DRAFT)
        for wish in (write(body={"no": 0}, expect=expect), gone(expect=expect)):
            with pytest.raises(Conflict) as refused:
                await engine.write_documents(ANN, [wish])
            assert refused.value.code == "document_changed"
        assert await engine.document(DRAFT) == before

    async def test_a_deleted_one_begins_anew(self, engine):
        await engine.write_documents(ANN, [write(), write()])
        assert await engine.write_documents(ANN, [gone(expect=2)]) == []
        assert await engine.document(DRAFT) is None
        assert await engine.write_documents(ANN, [gone()]) == []
        (again,) = await engine.write_documents(ANN, [write(expect=0)])
        assert again.revision == 1

    async def test_a_name_is_unique_among_an_owners_documents_of_a_kind(self, engine):
        await engine.write_documents(ANN, [write(name="churn")])
        with pytest.raises(Conflict) as refused:
            await engine.write_documents(ANN, [write(model(2), name="churn")])
        assert refused.value.code == "document_name_taken"
        await engine.write_documents(BOB, [write(model(3), name="churn", owner="bob")])
        await engine.write_documents(ANN, [write(DocumentKey("demo", "run", "r"), name="churn")])
        await engine.write_documents(ANN, [write(model(4)), write(model(5))])  # no name is no name
        await engine.write_documents(ANN, [write(name="churn", body={"again": 1})])
        await engine.write_documents(ANN, [gone(), write(model(2), name="churn")])
        assert (await engine.document(model(2))).name == "churn"

    async def test_all_happen_or_none(self, engine):
        with pytest.raises(Conflict):
            await engine.write_documents(
                ANN, [write(model(1)), write(model(2), expect=7)], acts=[Act("demo.x", "m1")]
            )
        assert (await engine.documents(MODELS)).items == ()
        assert await acts(engine) == []

    @pytest.mark.parametrize(
        "body",
        [{"a": "x" * 262_144}, {"a": float("nan")}, {"a": {1, 2}}, {"a": "\ud800"}, {"a": b"x"}],
        ids=["too large", "nan", "set", "surrogate", "bytes"],
    )
    async def test_what_cannot_be_kept_is_refused(self, engine, body):
        with pytest.raises(ValidationFailed):
            await engine.write_documents(ANN, [write(body=body)])
        assert await engine.document(DRAFT) is None

    async def test_half_a_letter_names_nothing(self, engine):
        half = "\ud800"
        for wish in (
            write(DocumentKey("demo", "model", half)),
            write(name=half),
            write(group=half),
            write(owner=half),
        ):
            with pytest.raises(ValidationFailed):
                await engine.write_documents(ANN, [wish])
        assert await engine.document(DocumentKey("demo", "model", half)) is None
        assert (await engine.documents(DocumentFilter("demo", "model", name=half))).items == ()

    async def test_the_largest_body_that_fits_is_kept(self, engine):
        body = {"a": "x" * (256 * 1024 - len('{"a":""}'))}
        await engine.write_documents(ANN, [write(body=body)])
        assert (await engine.document(DRAFT)).body == body

    async def test_what_was_written_shares_nothing_with_what_was_given(self, engine):
        body = {"list": [1]}
        await engine.write_documents(ANN, [write(body=body)])
        body["list"].append(2)
        assert (await engine.document(DRAFT)).body == {"list": [1]}

    async def test_the_audit_log_names_who_acts(self, engine):
        await engine.write_documents(
            ANNS_CLERK, [write()], acts=[Act("demo.created", "m1", '{"x": 1}'), Act("demo.y", "z")]
        )
        assert await acts(engine) == [
            ("clerk@ann.example", "demo.created", "m1", '{"x": 1}'),
            ("clerk@ann.example", "demo.y", "z", ""),
        ]

    async def test_listings_filter_order_and_page(self, engine):
        writes = [
            write(model(n), group=f"g{n % 2}", owner=("ann", "bob")[n % 3 == 0], name=f"name {n}")
            for n in range(1, 8)
        ]
        await engine.write_documents(ANN, writes)
        await engine.write_documents(ANN, [write(model(2), name="name 2", group="g0")])  # no move

        async def ids(**which):
            page = await engine.documents(DocumentFilter("demo", "model", **which))
            return [int(document.key.id[1:]) for document in page.items]

        assert await ids() == [7, 6, 5, 4, 3, 2, 1]
        assert await ids(descending=False) == [1, 2, 3, 4, 5, 6, 7]
        assert await ids(group="g1") == [7, 5, 3, 1]
        assert await ids(owner="bob") == [6, 3]
        assert await ids(owner="bob", group="g1") == [3]
        assert await ids(name="name 4") == [4]
        assert await ids(name="name 9") == []
        assert (await engine.documents(DocumentFilter("other", "model"))).items == ()
        for descending in (True, False):
            seen, after = [], None
            while True:
                which = DocumentFilter("demo", "model", descending=descending, limit=3, after=after)
                page = await engine.documents(which)
                seen += [int(document.key.id[1:]) for document in page.items]
                after = page.next
                if after is None:
                    break
            assert seen == await ids(descending=descending)


class TestWithAJob:
    async def test_everything_is_written_with_the_job(self, engine):
        along = Along(
            exclusive="m1",
            acts=(Act("demo.training_started", "m1"), Act("demo.run_made", "")),
            writes=(write(body={"state": "training"}, expect=0),),
        )
        job = (await engine.submit(ANNS_CLERK, SPEC, along=along)).job
        assert job.owner == "ann"
        assert (await engine.document(DRAFT)).body == {"state": "training"}
        assert [line[:3] for line in await acts(engine)] == [
            ("clerk@ann.example", "job.submit", job.id),
            ("clerk@ann.example", "demo.training_started", "m1"),
            ("clerk@ann.example", "demo.run_made", job.id),
        ]

    async def test_or_nothing_is(self, engine):
        await engine.write_documents(ANN, [write(name="taken")])
        before = await acts(engine)
        for along, code in (
            (Along(writes=(write(expect=7),)), "document_changed"),
            (Along(writes=(write(model(2)), write(model(3), name="taken"))), "document_name_taken"),
        ):
            with pytest.raises(Conflict) as refused:
                await engine.submit(ANN, SPEC, along=along)
            assert refused.value.code == code
        assert (await engine.jobs(ANN, JobFilter())).items == ()
        assert await engine.document(model(2)) is None
        assert await acts(engine) == before

    async def test_a_live_job_keeps_its_key_and_an_ended_one_gives_it_back(self, engine):
        along = Along(exclusive="m1", acts=(Act("demo.started", "m1"),))
        first = (await engine.submit(ANN, SPEC, along=along)).job
        with pytest.raises(Conflict) as refused:
            await engine.submit(ANN, SPEC, along=along)
        assert refused.value.code == "job_exclusive"
        assert first.id in refused.value.message
        await engine.submit(ANN, SPEC, along=Along(exclusive="m2"))
        await engine.submit(ANN, SPEC)
        await engine.submit(BOB, SPEC, along=along)
        await engine.cancel(ANN, first.id)
        second = (await engine.submit(ANN, SPEC, along=along)).job
        with pytest.raises(Conflict) as refused:
            await engine.retry(ANN, first.id)
        assert refused.value.code == "job_exclusive"
        assert (await engine.job(ANN, first.id)).state is State.CANCELLED
        await engine.cancel(ANN, second.id)
        assert (await engine.retry(ANN, first.id)).state is State.QUEUED

    async def test_of_fifty_at_once_one_wins_and_one_line_is_written(self, engine):
        along = Along(exclusive="m1", acts=(Act("demo.started", "m1"),))
        answers = await asyncio.gather(
            *(engine.submit(ANN, SPEC, along=along) for _ in range(50)), return_exceptions=True
        )
        refused = [answer for answer in answers if isinstance(answer, Conflict)]
        (won,) = (answer for answer in answers if not isinstance(answer, Conflict))
        assert {(each.code, won.job.id in each.message) for each in refused} == {
            ("job_exclusive", True)
        }
        assert [line[1:3] for line in await acts(engine)] == [
            ("job.submit", won.job.id),
            ("demo.started", "m1"),
        ]
        assert len((await engine.jobs(ANN, JobFilter())).items) == 1

    async def test_a_replay_writes_nothing_again(self, engine):
        along = Along(exclusive="m1", acts=(Act("demo.started", "m1"),), writes=(write(expect=0),))
        first = await engine.submit(ANN, SPEC, idempotency_key="k", along=along)
        before = await acts(engine), await engine.document(DRAFT)
        again = await engine.submit(ANN, SPEC, idempotency_key="k", along=along)
        assert (again.job.id, again.replayed) == (first.job.id, True)
        assert (await acts(engine), await engine.document(DRAFT)) == before

    async def test_lines_for_the_end_come_with_the_end_and_with_each(self, engine):
        along = Along(
            at_end={
                "cancelled": Act("demo.training_cancelled", "m1", "as wished"),
                "failed": Act("demo.training_failed", ""),
            }
        )
        job = (await engine.submit(ANN, SPEC, along=along)).job

        async def told():
            return [line for line in await acts(engine) if line[1].startswith("demo.")]

        assert await told() == []
        line = ("daemon", "demo.training_cancelled", "m1", "as wished")
        await engine.cancel(ANN, job.id)
        assert await told() == [line]
        await engine.retry(ANN, job.id)
        assert await told() == [line]
        await engine.cancel(ANN, job.id)
        assert await told() == [line, line]

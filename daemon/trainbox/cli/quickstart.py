"""``trainbox quickstart``: the whole way once, through the same HTTP that everyone uses."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import importlib.resources
import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from trainbox.cli.child import end_children, own_daemon, told_to_end_is_interrupted, undisturbed
from trainbox.cli.exits import CliError, Exit
from trainbox.cli.follow import deadline, display, leave_with
from trainbox.cli.images import progress, run_async
from trainbox.cli.models import download
from trainbox.cli.render import human_bytes, human_seconds, print_json, talk
from trainbox.cli.session import Session, Verb, load_settings, pass_session, read_token
from trainbox.cli.upload import whole
from trainbox.cli.urls import segment

DATA = "customers.csv"
TARGET = "churned"
TASK = "binclass"
NEEDED = ("tabular",)
"""Environments of the job and of the check of its model; others take minutes, and wait."""
NAME = "churn"
CANCEL_S = 90.0
"""Longest wait for a cancelled job to end; its sandbox has a grace to leave by itself."""


class Story:
    """What happened, how long each part took, and the same calls for curl."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: list[str] = []

    @contextlib.contextmanager
    def part(self, name: str, sentence: str) -> Iterator[None]:
        """Time one part; the sentence says what begins."""
        talk(f"» {sentence}")
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 2)

    def call(self, *words: str) -> None:
        """Remember a call as a curl command."""
        quoted = (word if word.startswith('"$') else shlex.quote(word) for word in words)
        self.calls.append(
            " ".join(['curl -sS -H "Authorization: Bearer $TRAINBOX_TOKEN"', *quoted])
        )


@click.command(cls=Verb)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".trainbox"),
    show_default=True,
    help="Where the daemon keeps everything; may be thrown away afterwards.",
)
@click.option("--trials", type=click.IntRange(1, 200), default=20, show_default=True)
@click.option("--backend", help="Run on this backend; else on the first healthy one.")
@pass_session
def command(session: Session, state_dir: Path, trials: int, backend: str | None) -> None:
    """Train a first model and predict with it, end to end, on this machine alone.

    Starts a daemon of its own on a free loopback port, builds the training environment if it is
    missing, uploads made-up customers, trains, downloads the ONNX, predicts two rows, and stops.
    """
    with told_to_end_is_interrupted():
        _quickstart(session, state_dir.absolute(), trials, backend)


def _quickstart(session: Session, state_dir: Path, trials: int, backend: str | None) -> None:
    story = Story()
    asked_for = backend is not None
    # A build goes on in threads that wait for pip and the like: those would be waited for.
    stop = told_to_end_is_interrupted(first=end_children)
    with story.part("environment", "Making the training environment ready"), stop:
        backend = _environment(state_dir, backend)
    talk(f"  backend: {backend}")
    with contextlib.ExitStack() as stack:
        with story.part("start", "Starting a daemon"):
            announced = stack.enter_context(own_daemon(state_dir))
        talk(f"  at {announced['url']}, state in {state_dir}")
        token = read_token(Path(announced["token_file"]))
        own = dataclasses.replace(session, url=announced["url"], token=token, json=False)
        _say_why(own, backend, asked_for=asked_for)
        result = _journey(own, story, state_dir, trials, backend)
    facts = {"backend": backend, "url": announced["url"], "state_dir": str(state_dir), **result}
    _report(session, story, facts)


def _environment(state_dir: Path, backend: str | None) -> str:
    """Build what is missing; returns the backend it is built on."""
    from trainbox import workbench

    settings = load_settings(state_dir=state_dir)
    wanted = backend or (None if settings.backend == "auto" else settings.backend)
    with progress() as report:
        built = run_async(workbench.build_environments(settings, NEEDED, wanted, report))
    if not built:
        raise CliError(
            "No plugin brings an environment to train in.",
            Exit.REJECTED,
            where=[str(settings.plugins_file)],
            next_step="List 'tabular' there; 'trainbox plugins ls' shows what was loaded.",
        )
    return built[0].backend


def _say_why(own: Session, backend: str, *, asked_for: bool) -> None:
    """Say why the backends before this one were passed over, and what this one confines."""
    with contextlib.suppress(CliError):  # not ready for another reason: the job will say it
        checks = {check["name"]: check["detail"] for check in own.client.get("/readyz")["checks"]}
        before, here, said = f"; {checks.get('backend', '')}".partition(f"; {backend}: ")
        if here and before and not asked_for:
            talk(f"  passed over: {before.removeprefix('; ')}")
        if here:
            talk(f"  {backend}: {said}")


def _journey(
    own: Session, story: Story, state_dir: Path, trials: int, backend: str
) -> dict[str, Any]:
    """Upload, train, download, predict."""
    source = importlib.resources.files("trainbox") / "data" / DATA
    data = source.read_bytes()
    text = "Content-Type: text/csv"
    with story.part("upload", f"Uploading {DATA} ({human_bytes(len(data))})"):
        dataset, _ = whole(own, {"name": DATA, "format": "csv"}, iter([data]), len(data))
    story.call("--data-binary", f"@{source}", "-H", text, _url("/v1/datasets"))
    body = {
        "task": TASK,
        "name": NAME,
        "dataset_id": dataset["id"],
        "params": {"target": TARGET, "trials": trials, "ignore": ["customer_id"]},
        "backend": backend,
    }
    with story.part("train", f"Training: {trials} trials on {dataset['rows']} rows"):
        job = _train(own, body)
    story.call("--json", json.dumps(body), _url("/v1/jobs"))
    story.call("-N", _url(f"/v1/jobs/{job['id']}/events"))
    _leave_with(own, job, state_dir)
    model = own.client.get(f"/v1/models/{segment(job['model_id'])}")
    onnx = state_dir / f"{NAME}.onnx"
    with story.part("download", "Downloading the ONNX"):
        download(own, model, onnx)
    story.call("-o", onnx.name, _url(f"/v1/models/{NAME}/onnx"))
    rows = _two_rows(data.decode(), model)
    with story.part("predict", "Predicting two rows"):
        answer = own.client.post(f"/v1/models/{NAME}/predict", {"rows": rows})
    story.call(
        "--json", json.dumps({"rows": rows}, ensure_ascii=False), _url(f"/v1/models/{NAME}/predict")
    )
    return {
        "dataset_id": dataset["id"],
        "job_id": job["id"],
        "model": {
            key: model[key] for key in ("id", "name", "version", "metrics", "digest", "bytes")
        },
        "onnx": str(onnx),
        "rows": rows,
        "predictions": answer["rows"],
    }


def _train(own: Session, body: dict[str, Any]) -> dict[str, Any]:
    job: dict[str, Any] = own.client.post("/v1/jobs", body)
    path = f"/v1/jobs/{segment(job['id'])}"
    try:
        with display(own) as show:
            for event in own.client.events(job["id"]):
                show(event)
    except KeyboardInterrupt:
        talk("\nCancelling.")
        _cancel(own, job["id"])
        raise click.exceptions.Exit(Exit.INTERRUPTED) from None
    ended: dict[str, Any] = own.client.get(path)
    return ended


def _leave_with(own: Session, job: dict[str, Any], state_dir: Path) -> None:
    """Leave where the job did not succeed; our daemon stops now, so say how to come back to it."""
    try:
        leave_with(own, job)
    except CliError as error:
        state = shlex.quote(str(state_dir))
        error.next_step = (
            f"Start the daemon again, 'trainbox serve --state-dir {state}', and ask it: "
            f"'TRAINBOX_STATE_DIR={state} trainbox jobs logs {job['id']}'"
        )
        raise


def _cancel(own: Session, job_id: str) -> None:
    """Cancel, and stay until the sandbox is gone: the daemon leaves running ones alone."""
    with undisturbed(), contextlib.suppress(CliError), deadline(CANCEL_S, job_id):
        own.client.post(f"/v1/jobs/{segment(job_id)}/cancel")
        for _ in own.client.events(job_id):
            pass


def _two_rows(text: str, model: dict[str, Any]) -> list[dict[str, Any]]:
    from trainbox.cli.rows import typed_row

    inputs = model["signature"]["inputs"]
    lines = csv.DictReader(text.splitlines())
    return [typed_row(next(lines), inputs) for _ in range(2)]


def _url(path: str) -> str:
    return f'"$TRAINBOX_URL{path}"'


def _report(session: Session, story: Story, facts: dict[str, Any]) -> None:
    if session.json:
        print_json({**facts, "seconds": story.seconds, "curl": story.calls})
        return
    click.echo(f"backend    {facts['backend']}")
    metrics = facts["model"]["metrics"]
    click.echo("metrics    " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    click.echo(f"model      {facts['onnx']} ({human_bytes(facts['model']['bytes'])})")
    for row, answer in zip(facts["rows"], facts["predictions"], strict=True):
        click.echo(f"row        {json.dumps(row, ensure_ascii=False)}")
        click.echo(f"predicted  {json.dumps(answer, ensure_ascii=False)}")
    click.echo("seconds    " + ", ".join(f"{name} {s:.1f}" for name, s in story.seconds.items()))
    click.echo(f"\nDone in {human_seconds(sum(story.seconds.values()))}. The same with curl:\n")
    state = shlex.quote(facts["state_dir"])
    click.echo(f"trainbox serve --state-dir {state} &")
    click.echo(f'export TRAINBOX_URL=http://127.0.0.1:8422 TRAINBOX_TOKEN="$(cat {state}/token)"')
    for call in story.calls:
        click.echo(call)

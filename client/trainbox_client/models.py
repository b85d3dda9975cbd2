"""Models: find, promote, download, predict."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import quote

from trainbox_client import frames
from trainbox_client.documents import Document, Page, quoted
from trainbox_client.errors import TrainboxError
from trainbox_client.transport import Request, Steps, Transport, awaiting, blocking

CHUNK = 8 * 1024 * 1024
PREDICT_S = 300.0

D = TypeVar("D", "Model", "AsyncModel")


class BaseModel(Document):
    """One version of a named model."""

    shown: ClassVar[tuple[str, ...]] = (
        "id",
        "name",
        "version",
        "task",
        "metrics",
        "aliases",
        "bytes",
        "digest",
        "job_id",
    )

    def __init__(self, transport: Transport, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        self.transport = transport

    def _predict(self, data: Any, *, ignore_extra: bool = False) -> Steps[Any]:
        """Predict rows.

        Args:
            data: a data frame, or a sequence of rows, each a mapping of column names.
            ignore_extra: leave columns out that the model does not know, such as the target.

        Returns:
            For a frame a frame of the same library: ``prediction`` and a ``probability_…`` column
            per class. For rows a list of dictionaries.

        Raises:
            Rejected: a column is missing, extra or of the wrong type; says row and column.
        """
        return (yield from predict(self.id, data, ignore_extra=ignore_extra))

    def _download(self, path: str | os.PathLike[str]) -> Steps[Path]:
        """Write the ONNX file to ``path``, or into it if it is a directory, and check its digest.

        Raises:
            TrainboxError: what arrived is not what the daemon has, or it cannot be written.
        """
        return (yield from download(self, Path(path)))

    def _download_directory(self, path: str | os.PathLike[str]) -> Steps[Path]:
        """Write the whole artifact directory into ``path``: what MLflow loads, the card, the SBOM.

        Raises:
            TrainboxError: a file arrived with another digest, or cannot be written.
        """
        return (yield from download_directory(self, Path(path)))


class Model(BaseModel):
    """A model whose methods block."""

    predict = blocking(BaseModel._predict)
    download = blocking(BaseModel._download)
    download_directory = blocking(BaseModel._download_directory)


class AsyncModel(BaseModel):
    """A model whose methods are awaited."""

    predict = awaiting(BaseModel._predict)
    download = awaiting(BaseModel._download)
    download_directory = awaiting(BaseModel._download_directory)


class ModelArea(Generic[D]):
    """``client.models``; ``model`` is an id, ``name``, ``name:version`` or ``name@alias``."""

    _model_type: type[D]

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def _get(self, model: str) -> Steps[D]:
        """Return one model.

        Raises:
            NotFound: no such model, or not yours.
        """
        response = yield Request("GET", f"/v1/models/{quoted(model)}")
        return self._model_type(self.transport, response.json())

    def _list(self, /, *, limit: int = 50, after: str | None = None, **filters: Any) -> Steps[Page]:
        """Return one page of models, newest first."""
        params = {"limit": limit, "after": after, **filters}
        response = yield Request("GET", "/v1/models", params=params)
        document = response.json()
        page = Page(self._model_type(self.transport, item) for item in document["items"])
        page.next = document["next"]
        return page

    def _predict(self, model: str, data: Any, *, ignore_extra: bool = False) -> Steps[Any]:
        """Predict with a model by name; see ``Model.predict``."""
        return (yield from predict(model, data, ignore_extra=ignore_extra))

    def _promote(
        self, name: str, version: int, *, alias: str = "champion", reason: str = ""
    ) -> Steps[D]:
        """Point an alias at a version, for a reason that is kept; returns that version."""
        body = {"version": version, "alias": alias, "reason": reason}
        moved = yield Request("POST", f"/v1/models/{quoted(name)}/promote", json=body)
        return (yield from self._get(moved.json()["model_id"]))

    def _rollback(self, name: str, *, alias: str = "champion", reason: str = "") -> Steps[D]:
        """Point an alias back at the version before; returns that version."""
        body = {"alias": alias, "reason": reason}
        moved = yield Request("POST", f"/v1/models/{quoted(name)}/rollback", json=body)
        return (yield from self._get(moved.json()["model_id"]))

    def _delete(self, model: str) -> Steps[None]:
        """Put a model into the trash."""
        yield Request("DELETE", f"/v1/models/{quoted(model)}")


class Models(ModelArea[Model]):
    """Models, blocking."""

    _model_type = Model
    get = blocking(ModelArea[Model]._get)
    list = blocking(ModelArea[Model]._list)
    predict = blocking(ModelArea[Model]._predict)
    promote = blocking(ModelArea[Model]._promote)
    rollback = blocking(ModelArea[Model]._rollback)
    delete = blocking(ModelArea[Model]._delete)


class AsyncModels(ModelArea[AsyncModel]):
    """Models, awaited."""

    _model_type = AsyncModel
    get = awaiting(ModelArea[AsyncModel]._get)
    list = awaiting(ModelArea[AsyncModel]._list)
    predict = awaiting(ModelArea[AsyncModel]._predict)
    promote = awaiting(ModelArea[AsyncModel]._promote)
    rollback = awaiting(ModelArea[AsyncModel]._rollback)
    delete = awaiting(ModelArea[AsyncModel]._delete)


def predict(model: str, data: Any, *, ignore_extra: bool) -> Steps[Any]:
    """Send rows to a model and bring the answer into the form the rows had."""
    framed = frames.is_frame(data)
    rows = frames.to_rows(data) if framed else _rows(data)
    response = yield Request(
        "POST",
        f"/v1/models/{quoted(model)}/predict",
        params={"ignore_extra": "true"} if ignore_extra else {},
        json={"rows": rows},
        again=True,
        read_s=PREDICT_S,
    )
    answer: Sequence[Mapping[str, Any]] = response.json()["rows"]
    return frames.like(data, answer) if framed else answer


def _rows(data: Any) -> list[dict[str, Any]]:
    if isinstance(data, Mapping):
        data = [data]
    if not isinstance(data, Sequence) or isinstance(data, (str, bytes)):
        raise TrainboxError(
            f"cannot predict on {type(data).__name__}: give a data frame, a row as a mapping, or "
            "a list of rows"
        )
    strange = next((row for row in data if not isinstance(row, Mapping)), None)
    if strange is not None:
        raise TrainboxError(f"a row is a mapping of column names, not {type(strange).__name__}")
    return [{str(name): frames.scalar(value) for name, value in row.items()} for row in data]


def download(model: BaseModel, path: Path) -> Steps[Path]:
    """Fetch a model's ONNX file."""
    target = path / f"{model.name}-v{model.version}.onnx" if path.is_dir() else path
    place = f"/v1/models/{quoted(model.id)}/onnx"
    return (yield from fetch(place, target, model.bytes, model.digest))


def download_directory(model: BaseModel, path: Path) -> Steps[Path]:
    """Fetch every file of a model's directory."""
    place = f"/v1/models/{quoted(model.id)}/files"
    response = yield Request("GET", place)
    for file in response.json()["files"]:
        target = _within(path, file["path"])
        yield from fetch(f"{place}/{quote(file['path'])}", target, file["bytes"], file["digest"])
    return path


def fetch(place: str, target: Path, size: int, digest: str) -> Steps[Path]:
    """Fetch a file piece by piece; it has its name only once it is whole and has its digest.

    Raises:
        TrainboxError: what arrived is not what the daemon has, or it cannot be written.
    """
    part = target.with_name(target.name + ".part")
    seen = hashlib.sha256()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            position = 0
            while position < size:
                response = yield Request(
                    "GET",
                    place,
                    headers={"Range": f"bytes={position}-{position + CHUNK - 1}", "Accept": "*/*"},
                )
                file.write(response.content)
                seen.update(response.content)
                position += len(response.content)
        if f"sha256:{seen.hexdigest()}" != digest:
            raise TrainboxError(f"what arrived for {target} has another digest than {digest}")
        part.replace(target)
    except OSError as error:
        raise TrainboxError(f"cannot write {target}: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return target


def _within(folder: Path, name: str) -> Path:
    """Return where a file of the directory goes; never out of it, whatever the daemon says."""
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
        raise TrainboxError(f"the daemon names a file {name!r}, which would lie elsewhere")
    return folder.joinpath(*parts)

"""Why a prediction is not answered, in words and codes."""

from __future__ import annotations

from trainbox_sdk.errors import Unavailable, ValidationFailed


def busy(message: str) -> Unavailable:
    """Return the refusal of a request there is no turn for."""
    return Unavailable(message, code="predict_busy", hint="send the request again later")


def closing() -> Unavailable:
    """Return the refusal of a request to a daemon that is stopping."""
    return Unavailable("predictions are stopping", code="predict_closed")


def unusable(message: str) -> Unavailable:
    """Return the refusal of a model that no worker can serve."""
    return Unavailable(
        f"the model cannot be served: {message}",
        code="model_unusable",
        hint="export it again; the checks of a new version say what is wrong",
    )


def worker_failed(message: str) -> Unavailable:
    """Return the refusal of the request whose worker died."""
    return Unavailable(
        f"the predict worker failed: {message}",
        code="predict_worker_failed",
        hint="send the request again; the next one gets a fresh worker",
    )


def out_of_memory(limit: int) -> Unavailable:
    """Return the refusal of the request that needs more memory than a worker may have."""
    return Unavailable(
        f"the prediction needs more than {limit:,} bytes of memory",
        code="predict_out_of_memory",
        hint="send fewer rows at a time",
    )


def too_slow(limit_s: float) -> Unavailable:
    """Return the refusal of the request that runs longer than it may."""
    return Unavailable(
        f"the prediction took longer than {limit_s:g} s",
        code="predict_timeout",
        hint="send fewer rows at a time",
    )


def paused(failures: int, left_s: float, last: str) -> Unavailable:
    """Return the refusal of a request to a model whose workers keep dying."""
    return Unavailable(
        f"the last {failures} workers of this model failed ({last}); "
        f"the next one starts in {left_s:.1f} s at the earliest",
        code="predict_paused",
        hint="look at what is sent, and at the model; then send the request again",
    )


def bad_input(message: str) -> ValidationFailed:
    """Return the refusal of tensors that are not what the model takes."""
    return ValidationFailed(message, code="bad_tensors")


def run_failed(message: str) -> ValidationFailed:
    """Return the refusal of values on which the model itself raises."""
    return ValidationFailed(f"the model fails on these rows: {message}", code="model_run_failed")

"""Understands Kubeflow's ``trainerStatus``: a loopback listener that turns its POSTs into events.

Hugging Face transformers reports progress, remaining time and metrics to
``KUBEFLOW_TRAINER_SERVER_URL`` whenever that variable is set, whatever ``report_to`` says. The
listener starts when the script imports transformers, so that other scripts have no thread and no
socket; a script that starts such a program itself calls :func:`listen` first.
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Mapping, Optional, Tuple

from trainbox_guest.meter import Meter

ENV_URL = "KUBEFLOW_TRAINER_SERVER_URL"
ENV_TOKEN = "KUBEFLOW_TRAINER_SERVER_TOKEN"  # noqa: S105 - the name of a variable
LONGEST_BODY = 64 * 1024
WAIT_S = 5.0


def listen(meter: Optional[Meter] = None) -> str:
    """Listen on a free loopback port and set the two variables; returns the URL.

    A second call does nothing more. Where there is no trainbox, nothing listens and the URL is
    empty, so that scripts may call it anywhere.

    Args:
        meter: reports what comes; the script's own by default.
    """
    if ENV_URL in os.environ:
        return os.environ[ENV_URL]
    if meter is None:
        from trainbox_guest import report

        meter = report.current()
    if meter is None:
        return ""
    try:
        url, token = _serve(meter)
    except OSError:
        return ""  # a sandbox without loopback: its programs report nothing, and run
    os.environ[ENV_URL] = url
    os.environ[ENV_TOKEN] = token
    return url


def report_status(meter: Meter, status: Mapping[str, Any]) -> None:
    """Report one ``trainerStatus``; what it lacks or gets wrong is left out.

    The members are those of Kubeflow KEP-2779: ``progressPercentage`` (0 to 100),
    ``estimatedRemainingSeconds`` and ``metrics`` (a list of name and value, both texts).
    """
    values = _metrics(status.get("metrics"))
    step = values.pop("current_step", None)
    epoch = values.pop("current_epoch", None)
    values.pop("total_steps", None)
    values = {name: value for name, value in values.items() if name != "epoch"}
    meter.metrics(values, step=None if step is None else int(step), epoch=epoch)
    percent = _number(status.get("progressPercentage"))
    if percent is not None:
        left_s = _number(status.get("estimatedRemainingSeconds"))
        meter.progress(min(max(percent / 100.0, 0.0), 1.0), eta_s=left_s)


def _metrics(listed: Any) -> Dict[str, float]:
    if not isinstance(listed, list):
        return {}
    named = [
        each for each in listed if isinstance(each, dict) and isinstance(each.get("name"), str)
    ]
    numbers = {each["name"]: _number(each.get("value")) for each in named}
    return {name: number for name, number in numbers.items() if number is not None}


def _number(value: Any) -> Optional[float]:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def _serve(meter: Meter) -> Tuple[str, str]:
    """Start the listener; returns its URL and the path of its token's file."""
    import hmac
    import http.server
    import secrets
    import socketserver
    import tempfile
    import threading

    token = secrets.token_hex(16)

    class Status(http.server.BaseHTTPRequestHandler):
        timeout = WAIT_S  # a client that sends nothing holds the listener no longer

        def do_POST(self) -> None:
            """Take one status."""
            self.send_response_only(self._status())
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the script's own output its own."""

        def _status(self) -> int:
            told = self.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(told, f"Bearer {token}".encode()):
                return 401
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > LONGEST_BODY:
                return 413
            try:
                said = json.loads(self.rfile.read(int(length)))["trainerStatus"]
                report_status(meter, said)
            except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
                return 422
            return 200

    # Not HTTPServer: that asks a name server who this host is, and waits for one that is not there.
    server = socketserver.TCPServer(("127.0.0.1", 0), Status)
    with tempfile.NamedTemporaryFile(
        "w", prefix="trainer-token-", delete=False, encoding="ascii"
    ) as file:
        file.write(token)
    threading.Thread(target=server.serve_forever, name="trainer-status", daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/trainer-status", file.name

import asyncio
import json
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from trainbox.cli.root import cli
from trainbox.http import HttpConfig, build_app, listening
from trainbox_plugins.native.config import Config
from trainbox_plugins.native.routes import NativeSurface
from trainbox_sdk.testing.fake_engine import TOKEN, FakeEngine

CSV = "age,city,target\n31,Köln,yes\n,Łódź,no\n52,,yes\n"


class Daemon:
    """A fake engine behind the real HTTP layer, on a loop in a thread."""

    def __init__(self):
        self.engine = FakeEngine()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.port = 0
        self.up()

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def up(self):
        async def start():
            config = HttpConfig(linger_s=0.2, stop_grace_s=0.2)
            app = build_app(self.engine, [NativeSurface(Config())], config)
            self._context = listening(app, "127.0.0.1", self.port, config)
            return await self._context.__aenter__()

        self.url = self.do(start())
        self.port = int(self.url.rsplit(":", 1)[1])

    def down(self):
        self.do(self._context.__aexit__(None, None, None))

    def end(self):
        self.down()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        self.engine.close()


@pytest.fixture
def daemon():
    running = Daemon()
    yield running
    running.end()


@pytest.fixture
def environ(daemon, tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRAINBOX_")}
    return kept | {
        "TRAINBOX_URL": daemon.url,
        "TRAINBOX_TOKEN": TOKEN,
        "TRAINBOX_STATE_DIR": str(tmp_path / "state"),
        "HTTP_PROXY": "http://127.0.0.1:9",
        "COLUMNS": "200",
    }


@pytest.fixture
def run(environ):
    """Run a command in this process; returns its exit code, stdout, stderr and parsed JSON."""

    def call(*args, code=0, stdin=None, env=None):
        runner = CliRunner()
        result = runner.invoke(cli, [str(a) for a in args], input=stdin, env=environ | (env or {}))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return SimpleNamespace(
            out=result.stdout, err=result.stderr, json=lambda: json.loads(result.stdout)
        )

    return call


@pytest.fixture
def spawn(environ):
    """Start a command as a real process."""
    started = []

    def call(*args, env=None):
        process = subprocess.Popen(
            [sys.executable, "-m", "trainbox", *map(str, args)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ | (env or {}),
        )
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "kunden.csv"
    path.write_text(CSV, encoding="utf-8")
    return path


@pytest.fixture
def job(run, table):
    def make(*args):
        return run(
            "jobs", "submit", "binclass", "--data", table, "--target", "target", *args
        ).out.strip()

    return make

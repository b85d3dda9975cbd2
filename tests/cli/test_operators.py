"""Tokens, webhooks and an operator's verbs."""

import json
import os
import stat

import click
import pytest

from trainbox.cli import admin, operate
from trainbox.doctor.host import shipped_units
from trainbox.engine.health import Pulse
from trainbox.engine.readiness import ReadinessProbe
from trainbox.registry import Registry
from trainbox_sdk.backends import Health
from trainbox_sdk.calls.daemon import DrainState, PluginInfo
from trainbox_sdk.testing import fake_daemon
from trainbox_sdk.testing.daemon import DaemonProcess


def test_a_token_from_its_making_to_its_end(run):
    made = run("tokens", "create", "ci", "--scope", "submit", "--scope", "read", "--expires", "90d")
    secret = made.out.strip()
    assert "shown this once" in made.err
    found = run("tokens", "whoami", "--token", secret, "--json").json()
    assert (found["name"], found["scopes"]) == ("ci", ["read", "submit"])
    identity = found["id"]
    assert "state" in run("tokens", "show", identity).out
    listed = run("tokens", "ls").out.splitlines()
    assert listed[1].split("\t")[:5] == [identity, "ci", "ci", "read,submit", "active"]
    run("jobs", "ls", "--token", secret)
    assert "admin" in run("tokens", "ls", "--token", secret, code=6).err
    newer = run("tokens", "rotate", identity, "--yes", "--json").json()["token"]
    run("jobs", "ls", "--token", secret, code=6)
    run("jobs", "ls", "--token", newer)
    assert "would end" in run("tokens", "revoke", identity, "--dry-run").out
    assert "has ended" in run("tokens", "revoke", identity, "--yes").err
    run("jobs", "ls", "--token", newer, code=6)
    assert "revoked" in run("tokens", "show", identity).out
    assert "ended" in run("tokens", "rotate", identity, "--yes", code=9).err


def test_nothing_ends_where_nobody_can_be_asked(run):
    identity = run("tokens", "create", "ci", "--scope", "read", "--json").json()["id"]
    hook = run("webhooks", "add", "https://example.org/h", "--json").json()["id"]
    for args in (
        ("tokens", "revoke", identity),
        ("tokens", "rotate", identity),
        ("webhooks", "rm", hook),
        ("webhooks", "rm", hook, "--json"),
        ("--no-input", "webhooks", "rm", hook),
    ):
        refused = run(*args, code=2)
        assert "--yes" in refused.err
        assert refused.out == ""
    assert run("tokens", "rotate", identity, "--grace", "1h", "--json").json()["previous_until_at"]
    assert run("webhooks", "ls", "-o", "id").out.split() == [hook]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("create", "x"), 2, "--scope"),
        (("create", "x", "--scope", "root"), 2, "root"),
        (("create", "x", "--scope", "read", "--expires", "soon"), 2, "90d"),
        (("create", "x", "--scope", "read", "--expires", "0"), 8, "expires_in_s"),
        (("show", "tok_none"), 5, "tok_none"),
    ],
)
def test_wrong_tokens(run, args, code, said):
    assert said in run("tokens", *args, code=code).err


def test_a_webhook_from_its_making_to_its_end(run):
    made = run("webhooks", "add", "https://example.org/h", "--event", "job.failed")
    assert made.out.startswith("whsec_")
    hook = run("webhooks", "ls", "-o", "id").out.strip()
    assert hook in made.err
    assert "job.failed" in run("webhooks", "show", hook).out
    changed = run("webhooks", "set", hook, "--all-events", "--pause", "--json").json()
    assert (changed["events"], changed["state"]) == ([], "paused")
    assert "not active" in run("webhooks", "test", hook, code=9).err
    run("webhooks", "set", hook, "--active", "--to", "https://example.org/i")
    sent = run("webhooks", "test", hook).out.strip()
    run("webhooks", "redeliver", hook, sent)
    rows = [line.split("\t") for line in run("webhooks", "deliveries", hook).out.splitlines()[1:]]
    assert [row[1:4] for row in rows] == [["webhook.test", "delivered", "1"]] * 2
    assert run("webhooks", "rotate-secret", hook).out.startswith("whsec_")
    assert "would be deleted" in run("webhooks", "rm", hook, "--dry-run").out
    run("webhooks", "rm", hook, "--yes")
    assert run("webhooks", "ls", "--json").json() == []


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("add", "ftp://example.org"), 8, "url"),
        (("add", "https://example.org/", "--event", "job.dance"), 8, "job.dance"),
        (("show", "whk_none"), 5, "whk_none"),
        (("set", "whk_none"), 2, "what to change"),
        (("set", "whk_none", "--event", "job.failed", "--all-events"), 2, "either"),
        (("redeliver", "whk_none", "dlv_none"), 5, "whk_none"),
    ],
)
def test_wrong_webhooks(run, args, code, said):
    assert said in run("webhooks", *args, code=code).err


def test_the_audit_log_and_its_proof(run, daemon, monkeypatch):
    identity = run("tokens", "create", "ci", "--scope", "read", "--json").json()["id"]
    run("tokens", "revoke", identity, "--yes")
    acts = run("admin", "audit", "--object", identity, "--json").json()
    assert {act["act"] for act in acts} == {"token.create", "token.revoke"}
    assert len(run("admin", "audit", "--limit", 1).out.splitlines()) == 2
    assert "rows" in run("admin", "audit", "--verify").out
    verify = daemon.engine.verify_audit

    async def broken(who):
        verdict = await verify(who)
        object.__setattr__(verdict, "ok", False)
        object.__setattr__(verdict, "faults", ("row 2 is another",))
        return verdict

    monkeypatch.setattr(daemon.engine, "verify_audit", broken)
    assert "row 2 is another" in run("admin", "audit", "--verify", code=1).err
    assert "since" in run("admin", "audit", "--since", "yesterday", code=8).err


def test_drain_waits_until_nothing_runs(run, monkeypatch):
    monkeypatch.setattr(operate, "LOOK_S", 0.01)
    left = iter([3, 3, 3, 2, 1, 0, 0])
    monkeypatch.setattr(fake_daemon, "DrainState", lambda on, **_: DrainState(on, next(left), 0))
    assert run("admin", "drain", "--json").json()["running"] == 3
    assert "3 still run" in run("admin", "drain", "--wait", "--timeout", "0s", code=124).err
    drained = run("admin", "drain", "--wait")
    assert "it can be stopped" in drained.err
    assert list(left) == [0]
    monkeypatch.undo()
    assert run("admin", "undrain", "--json").json()["draining"] is False


def test_the_openapi_document_needs_no_daemon(run, monkeypatch):
    printed = run("admin", "openapi", env={"TRAINBOX_URL": "http://127.0.0.1:1"}).json()
    assert printed["openapi"].startswith("3.1")
    assert {"/v1/jobs", "/v2/health/live", "/openapi.json"} <= set(printed["paths"])


def test_units_are_copied_and_not_replaced_unasked(run, tmp_path):
    args = ("admin", "install-units", "--root", tmp_path, "--drop-in", "docker")
    assert "would copy" in run(*args, "--dry-run").out
    assert list(tmp_path.iterdir()) == []
    done = run(*args)
    assert "systemctl enable --now" in done.err
    unit = tmp_path / "etc/systemd/system/trainbox.service"
    assert unit.read_bytes() == (shipped_units() / "trainbox.service").read_bytes()
    assert stat.S_IMODE(unit.stat().st_mode) == 0o644
    assert (tmp_path / "etc/systemd/system/trainbox.service.d/docker.conf").is_file()
    assert (tmp_path / "usr/lib/sysusers.d/trainbox.conf").is_file()
    again = json.loads(run(*args, "--json").out)
    assert not any(file["changed"] for file in again["files"])
    unit.write_text("mine")
    assert "--yes" in run(*args, code=2).err
    assert unit.read_text() == "mine"
    run(*args, "--yes")
    assert unit.read_text() != "mine"


def test_units_that_cannot_be_copied(run, tmp_path):
    refused = run("admin", "install-units", "--root", tmp_path, "--drop-in", "wings", code=2)
    assert "docker" in refused.err
    (tmp_path / "etc").write_text("")
    assert "--root" in run("admin", "install-units", "--root", tmp_path, code=2).err


def test_plugins_say_how_they_do(run):
    rows = [line.split("\t") for line in run("plugins", "ls").out.splitlines()]
    assert rows[0][:3] == ["NAME", "STATUS", "HEALTH"]
    assert rows[1][:3] == ["fake", "loaded", "ok"]
    assert rows[2][:3] == ["broken", "quarantined", "-"]
    assert "ImportError" in rows[2][-1]
    assert run("plugins", "ls", "-o", "id").out.split() == ["fake", "broken"]


class Backend:
    def __init__(self, ok, detail):
        self.health = Health(ok, detail)

    async def probe(self):
        return self.health

    async def capacity(self):
        raise NotImplementedError


async def test_a_plugin_is_as_well_as_the_backends_it_gives(tmp_path):
    backends = {"docker": Backend(False, "no engine answers"), "process": Backend(True, "ready")}
    probe = ReadinessProbe(
        None, Registry({}, {}, backends), Pulse(backends), tmp_path, 0, heartbeat=None, drain=None
    )

    def plugin(name, status="loaded", error=""):
        provides = (f"backend:{name}",)
        return PluginInfo(name, "d", "1", status, required=False, provides=provides, error=error)

    infos = [
        plugin("docker"),
        plugin("process"),
        plugin("task", error="hears no more events"),
        plugin("docker", status="quarantined"),
    ]
    assert [one.health for one in await probe.plugins(infos)] == [
        "docker: no engine answers",
        "ok",
        "hears no more events",
        "",
    ]


def test_colours_are_left_out_where_nobody_wants_them(run, monkeypatch):
    seen = []
    monkeypatch.setattr(
        admin, "_examine", lambda *_: seen.append(click.get_current_context().color)
    )
    monkeypatch.setattr(admin, "run_async", lambda _: [])
    run("admin", "doctor", env={"NO_COLOR": "1"})
    run("admin", "doctor", env={"NO_COLOR": ""})
    assert seen == [False, None]


def test_a_unix_socket_that_knows_its_caller_needs_no_token(spawn, tmp_path):
    url = f"unix://{tmp_path}/d.sock"
    ask = ("--url", url, "tokens", "whoami", "--json")
    env = {"TRAINBOX_TOKEN": "", "TRAINBOX_STATE_DIR": str(tmp_path / "elsewhere")}
    away = spawn(*ask, env=env)
    _, said = away.communicate()
    assert (away.returncode, url in said) == (7, True)
    trust = json.dumps([f"{os.getuid()}=ann:read"])
    with DaemonProcess(
        tmp_path / "state",
        env={"TRAINBOX_UNIX_SOCKET": f"{tmp_path}/d.sock", "TRAINBOX_UNIX_SOCKET_TRUST": trust},
    ):
        known = spawn("--url", url, "jobs", "ls", "--json", env=env)
        out, said = known.communicate()
    assert (known.returncode, out, said) == (0, "[]\n", "")

"""The service as an admin runs it: units, sandbox, watchdog, restarts, in a real systemd."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest

from .booted import SHARED, UNIT, URL, Box

pytestmark = [
    pytest.mark.docker,
    pytest.mark.xdist_group("systemd"),
    pytest.mark.slow,
    pytest.mark.timeout(900),  # the first test may have to make the image
]

LOAD = """
import json, threading, urllib.request
numbers, answers = iter(range(200)), []
def client():
    for n in numbers:
        method, path = (("POST", "/v1/admin/undrain") if n % 4 == 0 else ("GET", "/v1/jobs"))
        request = urllib.request.Request("URL" + path, method=method)
        request.add_header("Authorization", "Bearer " + open("/var/lib/trainbox/token").read().strip())
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                answers.append(answer.status)
        except Exception as error:
            answers.append(repr(error))
        threading.Event().wait(0.15)
threads = [threading.Thread(target=client) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(json.dumps(answers))
""".replace("URL", URL)

ENDED = ("succeeded", "failed", "cancelled", "interrupted")
NO_FOLDER = "find: ‘/run/trainbox’: No such file or directory"
PROBE = """
import json, os, socket
def tried(act):
    try:
        act()
        return "done"
    except OSError as error:
        return error.strerror
def read(path):
    with open(path) as file:
        return file.read()
def packet():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
print(json.dumps({
    "usr": tried(lambda: open("/usr/x", "w")),
    "etc": tried(lambda: open("/etc/trainbox/x", "w")),
    "home": tried(lambda: os.listdir("/home")),
    "meminfo": tried(lambda: read("/proc/meminfo")),
    "sysctl": tried(lambda: open("/proc/sys/kernel/hostname", "w")),
    "packet": tried(packet),
    "namespace": tried(lambda: os.unshare(0x10000000)) if hasattr(os, "unshare") else "",
    "others": [p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()],
    "credential": read(os.environ["CREDENTIALS_DIRECTORY"] + "/token").strip(),
    "credential_mode": oct(os.stat(os.environ["CREDENTIALS_DIRECTORY"] + "/token").st_mode & 0o777),
    "uid": os.getuid(),
}))
"""


def restarts(box: Box) -> int:
    return int(box.show("NRestarts"))


def up(box: Box) -> None:
    """Connect, which starts it, and wait for its answer."""
    assert json.loads(box.sh(f"curl -sS -m 60 {URL}/livez")) == {"status": "ok"}


def pid(box: Box) -> int:
    return int(box.show("MainPID"))


# --- the units themselves


@pytest.mark.parametrize(
    ("drop_ins", "most"),
    [((), 1.2), (("docker",), 1.2), (("docker", "tight"), 0.4), (("process",), 2.0)],
    ids=["base", "docker", "docker-tight", "process"],
)
def test_exposure(box: Box, drop_ins: tuple[str, ...], most: float) -> None:
    folder = "/run/look/" + ("-".join(drop_ins) or "base")
    box.sh(f"mkdir -p {folder}/{UNIT}.d && cp {SHARED}/trainbox.s[eo]* {folder}/")
    for name in drop_ins:
        box.sh(f"cp {SHARED}/drop-ins/{name}.conf {folder}/{UNIT}.d/")
    said = box.sh(f"systemd-analyze security --offline=yes {folder}/{UNIT}")
    score = re.search(r"exposure level for trainbox.service: ([0-9.]+)", said)
    assert score is not None and float(score[1]) <= most, said


def test_verify_finds_nothing(host: Box) -> None:
    host.shipped("docker")
    assert host.sh(f"systemd-analyze verify {UNIT} trainbox.socket") == ""


# --- start


def test_a_connection_starts_it_and_ready_comes_after_the_store(host: Box) -> None:
    assert host.sh(f"systemctl is-active {UNIT}", check=False) == "inactive"
    up(host)
    assert host.sh(f"systemctl is-active {UNIT}") == "active"
    assert host.show("StatusText").startswith("answers at http://127.0.0.1:8422")
    through = "curl -sS --unix-socket /run/trainbox/trainbox.sock http://localhost/livez"
    assert json.loads(host.sh(through)) == {"status": "ok"}
    assert host.sh("stat -c '%U %G %a' /run/trainbox/trainbox.sock") == "root trainbox 660"
    assert host.sh("stat -c '%U %a' /var/lib/trainbox") == "trainbox 700"


def test_what_the_service_can_see_and_do(host: Box) -> None:
    host.write("/etc/credstore/trainbox.token", "chosen-by-the-admin-0123456789abcdef\n")
    status = host.sh(
        f"curl -sS -o /dev/null -w '%{{http_code}}' {URL}/v1/jobs"
        " -H 'Authorization: Bearer chosen-by-the-admin-0123456789abcdef'"
    )
    assert status == "200"
    kernel = host.sh(f"grep -E '^(Uid|Cap|NoNewPrivs|Seccomp:)' /proc/{pid(host)}/status")
    facts = dict(re.findall(r"(\w+):\s+(\w+)", kernel))
    assert facts.pop("Uid") == host.sh("id -u trainbox") != "0"
    assert facts.pop("NoNewPrivs") == "1" and facts.pop("Seccomp") == "2"
    assert {int(value, 16) for value in facts.values()} == {0}
    # The same walls, tried from inside by a program that the unit starts in the daemon's place.
    host.write("/opt/trainbox/probe.py", PROBE)
    host.drop_in(
        "probe",
        "[Service]\nType=oneshot\nWatchdogSec=0\nRestart=no\nExecStart=\n"
        "ExecStart=/opt/trainbox/bin/python3 /opt/trainbox/probe.py\n",
    )
    host.sh(f"systemctl stop {UNIT}; systemctl start {UNIT}")
    seen = json.loads(next(line for line in host.journal().splitlines() if '"usr"' in line))
    assert seen["usr"] == seen["etc"] == "Read-only file system"
    assert seen["home"] == "Permission denied"
    assert seen["meminfo"] == "No such file or directory"
    assert seen["sysctl"] != "done"
    assert seen["packet"] != "done"
    assert seen["others"] == []
    assert seen["credential"] == "chosen-by-the-admin-0123456789abcdef"
    assert seen["credential_mode"] == "0o400"


def test_uploads_are_read_by_workers_that_still_lock_themselves_in(host: Box) -> None:
    up(host)
    status, text = host.http(
        "POST", "/v1/datasets?name=tiny", "a,b\n1,x\n2,y\n", Content_Type="text/csv"
    )
    assert status == 201, text


def test_the_level_of_the_log_is_read_again_on_reload(host: Box) -> None:
    up(host)
    host.write("/etc/trainbox/trainbox.toml", 'log_level = "DEBUG"\n')
    host.sh(f"systemctl reload {UNIT}")
    host.until(lambda: "settings reloaded" in host.journal(), 10)
    host.http("GET", "/readyz")
    host.until(lambda: '"route": "/readyz"' in host.journal(), 10)  # a line of level DEBUG
    assert host.sh(f"systemctl is-active {UNIT}") == "active"
    # With their level as the journal's priority.
    assert '"route": "/readyz"' in host.sh(f"journalctl -u {UNIT} -o cat -p 7..7 --no-pager")
    host.sh("rm /etc/trainbox/trainbox.toml")


# --- ends, wanted and not


def test_killed_it_comes_back(host: Box) -> None:
    up(host)
    before = pid(host)
    host.sh(f"kill -9 {before}")
    host.until(lambda: restarts(host) == 1 and host.show("ActiveState") == "active", 90)
    up(host)
    assert pid(host) != before


def test_hung_it_is_ended_by_the_watchdog_and_comes_back(host: Box) -> None:
    host.drop_in("quick", "[Service]\nWatchdogSec=4\nTimeoutAbortSec=2\n")
    up(host)
    host.sh("sleep 6")
    assert restarts(host) == 0  # it is fed
    host.sh(f"kill -STOP {pid(host)}")
    host.until(lambda: restarts(host) == 1 and host.show("ActiveState") == "active", 90)
    assert "Watchdog timeout" in host.journal()
    up(host)


def test_two_restarts_under_load_refuse_nobody(host: Box) -> None:
    up(host)
    load = subprocess.Popen(
        ["docker", "exec", host.id, "/opt/trainbox/bin/python3", "-c", LOAD],
        stdout=subprocess.PIPE,
        text=True,
    )
    for _ in range(2):
        host.sh(f"sleep 1; systemctl restart {UNIT}")
    answers = json.loads(load.communicate(timeout=120)[0])
    assert len(answers) == 200
    assert set(answers) == {200}, [each for each in answers if each != 200]


def test_stopped_it_leaves_nothing(host: Box) -> None:
    up(host)
    host.sh(f"systemctl stop {UNIT} trainbox.socket")
    assert host.sh(f"systemctl is-active {UNIT}", check=False) == "inactive"
    assert host.show("Result") == "success"
    assert host.sh("pgrep -u trainbox", check=False) == ""
    assert host.sh("find /run/trainbox", check=False) in ("/run/trainbox", NO_FOLDER)
    assert host.sh("ls /var/lib/trainbox/clean-stop") == "/var/lib/trainbox/clean-stop"


def test_one_that_cannot_live_is_given_up_after_five_and_says_why(host: Box) -> None:
    up(host)
    host.sh(f"systemctl stop {UNIT}")
    database = "/var/lib/trainbox/trainbox.db"
    host.sh(f"cp -p {database} {database}.kept; echo broken > {database}")
    host.drop_in("quick", "[Service]\nRestart=no\n")
    host.sh(f"systemctl start {UNIT}", check=False)
    assert host.show("ActiveState") == "failed"
    assert f"Error: {database}" in host.journal()
    # The rest in a shorter way to fail: five times a start of Python is all that is saved.
    host.drop_in("quick", "[Service]\nRestartSec=100ms\nExecStartPre=/bin/false\n")
    host.sh(f"systemctl reset-failed; systemctl start {UNIT}", check=False)
    host.until(lambda: host.show("ActiveState") == "failed", 60)
    assert restarts(host) == 5
    journal = host.journal()
    assert journal.count("Scheduled restart job") == 5
    assert "Start request repeated too quickly" in journal
    host.sh(f"systemctl stop trainbox.socket; mv {database}.kept {database}; rm -f {database}-*")


def test_a_refused_setting_is_not_tried_again(host: Box) -> None:
    host.drop_in("wrong", "[Service]\nEnvironment=TRAINBOX_PORT=none\n")
    host.sh(f"systemctl start {UNIT}", check=False)
    host.until(lambda: host.show("ActiveState") == "failed", 20)
    assert (restarts(host), host.show("ExecMainStatus")) == (0, "2")
    assert "port: Input should be a valid integer" in host.journal()


# --- work


def test_a_job_of_the_process_backend_survives_a_restart(host: Box) -> None:
    host.shipped("process")
    digest = host.sh("sha256sum /opt/trainbox/wheels/tb_echo-*.whl").split()[0]
    host.write("/etc/trainbox/bare.lock", f"tb-echo==1.0.0 --hash=sha256:{digest}\n")
    host.drop_in(
        "plugin",
        "[Service]\nEnvironment=TRAINBOX_PLUGINS_FILE=/etc/trainbox/plugins.toml"
        " TRAINBOX_WHEELHOUSE=/opt/trainbox/wheels\n",
    )
    host.sh(
        "cp /opt/trainbox/share/trainbox/plugins.toml /etc/trainbox/plugins.toml"
        ' && printf \'\\n[[plugin]]\\nname = "echo"\\n[plugin.config]\\nlock = "%s"\\n\''
        " /etc/trainbox/bare.lock >> /etc/trainbox/plugins.toml"
    )
    up(host)
    said = host.call("GET", "/readyz")
    job = host.call("POST", "/v1/jobs", {"task": "echo", "params": {"seconds": 4}})["id"]

    def look() -> Any:
        return host.call("GET", f"/v1/jobs/{job}")

    host.until(lambda: look()["state"] not in ("queued", "preparing"), 90, host.journal)
    assert look()["state"] == "running", look()
    before = pid(host)
    host.sh(f"systemctl restart {UNIT}")
    assert pid(host) != before
    host.until(lambda: look()["state"] in ENDED, 120, host.journal)
    assert look()["state"] == "succeeded", (look()["reason"], said)
    metrics = host.http("GET", "/metrics")[1]
    assert 'trainbox_adoption_total{result="adopted"} 1.0' in metrics
    (artifact,) = host.call("GET", f"/v1/jobs/{job}/artifacts")["items"]
    seen = json.loads(host.http("GET", f"/v1/artifacts/{artifact['id']}/content")[1])
    assert seen["daemon"] != "reached" and seen["processes"] == [1, seen["pid"]]
    assert seen["state"] is False

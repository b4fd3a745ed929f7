"""As a service: what systemd is told, and what the log says."""

import ctypes
import json
import os
import re
import shlex
import signal
import socket
import time
from pathlib import Path

import pytest
from conftest import PATIENCE
from nets import small_pair

TS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


class Systemd:
    """The end that is told: sd_notify(3)."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.told = []

    def env(self, **more):
        return {"NOTIFY_SOCKET": self.path, **more}

    def wait(self, text):
        """What came up to a notification with this text in it."""
        until = time.monotonic() + PATIENCE
        before = []
        while time.monotonic() < until:
            self.socket.settimeout(until - time.monotonic())
            told = self.socket.recv(4096).decode()
            if text in told:
                return before
            before.append(told)
        raise AssertionError(f"no {text!r} within {PATIENCE} s: {before}")


@pytest.fixture
def systemd(tmp_path):
    end = Systemd(tmp_path)
    yield end
    end.socket.close()


def fields_of(line, kind):
    """{key: value} of a line of the log, which is all of it."""
    if kind == "json":
        return json.loads(line)
    return dict(word.split("=", 1) for word in shlex.split(line))


def log_of(process, kind):
    lines = [fields_of(line, kind) for line in process.err.splitlines()]
    for line in lines:
        assert re.fullmatch(TS, line["ts"]), line
        assert line["level"] in ("error", "warn", "info", "debug", "trace")
    return lines


@pytest.mark.parametrize("kind", ["logfmt", "json"])
def test_log__every_event_is_a_line_and_peers_stay_in_theirs(
    spawn, run, free_port, digits, tmp_path, kind
):
    port = free_port()
    cloud = spawn(
        "cloud", "--cloud_port", port, "--models", digits, "--log-format", kind, "--log", "debug"
    )
    cloud.wait_err("cloud.listening")
    evil = 'a" level=error event=forged \\ {}\x1b[2J\n{"event":"forged"}'
    done = run(
        "edge", "--cloud_port", port, "--name", evil, "--log-format", kind, "--log", "debug",
        "--store", tmp_path / "s", "--once", "--input", digits / "images" / "3_011.png",
        tmp_path,
    )  # fmt: skip
    assert done.status == 0, done.report()
    cloud.wait_err("cloud.edge_gone")
    assert cloud.term() == 0
    assert cloud.out == "" and done.out == ""
    told = [line["event"] for line in log_of(cloud, kind)]
    wanted = ["model", "listening", "edge_joined", "shipped", "answer", "edge_gone", "stopping"]
    assert [e for e in told if e.removeprefix("cloud.") in wanted] == [f"cloud.{w}" for w in wanted]
    assert "forged" not in told
    (joined,) = [line for line in log_of(cloud, kind) if line["event"] == "cloud.edge_joined"]
    assert joined["edge"].startswith('a" level=error event=forged \\')
    told = [line["event"] for line in log_of(done, kind)]
    assert {"edge.state", "edge.received", "edge.model", "edge.answer"} <= set(told)
    assert told[-1] == "edge.ended" and "forged" not in told


def test_log__a_failure_is_an_event_too(run, tmp_path):
    done = run("cloud", "--cloud-host", "256.0.0.1", "--log-format", "json")
    assert done.status == 1
    (line,) = log_of(done, "json")
    assert line["event"] == "kerf.failed" and "256.0.0.1" in line["why"]


def test_log__the_journal_gets_priorities(spawn, digits, tmp_path):
    """JOURNAL_STREAM names the file that stderr is."""
    log = tmp_path / "log"
    with log.open("wb") as out:
        at = os.fstat(out.fileno())
        script = 'exec "$@" 2>>"$LOG"'
        cloud = spawn(
            "cloud", "--cloud_port", 0, "--models", digits, "--log-format", "logfmt",
            prefix=["sh", "-c", script, "sh"],
            env={"JOURNAL_STREAM": f"{at.st_dev}:{at.st_ino}", "LOG": log},
        )  # fmt: skip
        until = time.monotonic() + PATIENCE
        while b"cloud.listening" not in log.read_bytes() and time.monotonic() < until:
            time.sleep(0.02)
    assert cloud.term() == 0
    for line in log.read_text().splitlines():
        assert re.match(rf"<6>ts={TS} level=info event=cloud\.", line), line


def test_notify__cloud(spawn, every_kerf, systemd, tmp_path):
    """READY comes when it listens and its models are proved; it lives; SIGHUP
    reads the file again; it says when it stops."""
    file = tmp_path / "cloud.conf"
    models = tmp_path / "models"
    models.mkdir()
    small_pair(models)
    file.write_text(f"models = {models}\nengine = fake\ncloud-port = 0\nlog-format = logfmt\n")
    cloud = spawn(
        "cloud", "--config", file, binary=every_kerf,
        env=systemd.env(WATCHDOG_USEC=300_000),
    )  # fmt: skip
    assert not systemd.wait("READY=1")
    assert "event=cloud.model " in cloud.wait_err(r"(?s).*event=cloud.listening")[0]
    systemd.wait("STATUS=Listening on 127.0.0.1, port ")
    for _ in range(3):
        systemd.wait("WATCHDOG=1")
    file.write_text(file.read_text().replace("fake", "openvino") + "log = debug\n")
    cloud.signal(signal.SIGHUP)
    systemd.wait("RELOADING=1\nMONOTONIC_USEC=")
    systemd.wait("READY=1")
    cloud.wait_err("event=config.needs_restart name=engine")
    file.write_text("no-such = 1\n")
    cloud.signal(signal.SIGHUP)
    cloud.wait_err("event=config.not_reread")
    cloud.wait_err(f"{file}:1: unknown name no-such")
    systemd.wait("READY=1")
    cloud.signal(signal.SIGTERM)
    systemd.wait("STOPPING=1")
    assert cloud.wait() == 0


def test_notify__edge_without_a_cloud(spawn, every_kerf, systemd, free_port, tmp_path):
    """It runs: whoever starts it must not wait for a cloud to come."""
    file = tmp_path / "edge.conf"
    file.write_text(f"cloud-port = {free_port()}\nlog-format = json\n")
    edge = spawn(
        "edge", "--config", file, "--engine", "fake", "--store", tmp_path / "s",
        binary=every_kerf, env=systemd.env(WATCHDOG_USEC=300_000),
    )  # fmt: skip
    systemd.wait("READY=1")
    systemd.wait("STATUS=")
    for _ in range(3):
        systemd.wait("WATCHDOG=1")
    edge.signal(signal.SIGHUP)
    systemd.wait("RELOADING=1")
    systemd.wait("READY=1")
    edge.signal(signal.SIGTERM)
    systemd.wait("STOPPING=1")
    edge.wait()


PTRACE_ATTACH, PTRACE_DETACH = 16, 17


class Hung:
    """A thread of a process stands still, the others do not."""

    def __init__(self, pid, name):
        tasks = Path(f"/proc/{pid}/task").iterdir()
        (self.tid,) = [int(t.name) for t in tasks if (t / "comm").read_text().strip() == name]
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def __enter__(self):
        if self.libc.ptrace(PTRACE_ATTACH, self.tid, None, None) != 0:
            pytest.skip("this machine lets nobody stop a thread")
        os.waitpid(self.tid, 0x40000000)  # __WALL: threads, too

    def __exit__(self, *_):
        self.libc.ptrace(PTRACE_DETACH, self.tid, None, None)


@pytest.mark.parametrize("command", ["cloud", "edge"])
def test_watchdog__starves_while_the_loop_hangs(spawn, systemd, free_port, tmp_path, command):
    """The edge's other threads go on meanwhile: they do not feed it."""
    (tmp_path / "models").mkdir()
    words = ["--models", tmp_path / "models"] if command == "cloud" else ["--store", tmp_path / "s"]
    program = spawn(
        command, "--cloud-port", free_port(), "--engine", "fake", *words,
        env=systemd.env(WATCHDOG_USEC=60_000),
    )  # fmt: skip
    systemd.wait("WATCHDOG=1")
    with Hung(program.pid, "kerf-loop"):
        systemd.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:  # what was told before
                systemd.socket.recv(4096)
        time.sleep(0.5)  # eight times what is usual
        with pytest.raises(BlockingIOError):
            told = systemd.socket.recv(4096)
            while b"WATCHDOG" not in told:
                told = systemd.socket.recv(4096)
    systemd.wait("WATCHDOG=1")


@pytest.fixture
def hangup_counts():
    """nohup(1) would have all children ignore it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_hangup__without_a_file__ends_it_as_before(hangup_counts, start_cloud, digits):
    cloud = start_cloud("--models", digits, "--engine", "fake")
    cloud.signal(signal.SIGHUP)
    assert cloud.wait() == -signal.SIGHUP

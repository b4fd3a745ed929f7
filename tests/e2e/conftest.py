"""Fixtures for tests that drive the real binaries.

    kerf, kerf_asan, kerf_tsan   paths of the binaries (KERF, KERF_ASAN, KERF_TSAN)
    each_kerf                    the test runs twice: optimised, and under ASan
    every_kerf                   ... and under TSan; no images then: GStreamer's
                                 locks are not known to it
    spawn(args...)               starts a process; it is gone when the test ends
    run(args...)                 runs a process to its end
    start_cloud(args...)         `kerf cloud` on a free loopback port, listening
    free_port()                  a port that is free, and stays so
    digits                       the demo model's folder
    shared                       the folder with real models and photos, or skip

A process that a sanitizer or valgrind complains about fails the test that
started it, whatever the test looks at.
"""

import contextlib
import functools
import json
import os
import queue
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import kept
import pytest

pytest_plugins = ["order"]
REPO = Path(__file__).resolve().parents[2]
PATIENCE = 60  # seconds: how long a wait may last before it is a failure
SANITIZER_EXIT = 99
COMPLAINT = re.compile(
    r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:"
    r"|ERROR SUMMARY: [1-9]"
)


class Timeout(AssertionError):
    """What was waited for did not come."""


class Process:
    """A running program whose output is read as it comes.

    .port is set by start_cloud. Lines of stdout are consumed in order by
    wait_line() and wait_event(); out and err keep everything.
    """

    def __init__(self, argv, env, cwd, stdin=None, name=None):
        self.argv = [str(word) for word in argv]
        self.name = name or " ".join([Path(self.argv[0]).name, *self.argv[1:2]])
        self.port = None
        self._out, self._err = [], []
        self._lines = queue.SimpleQueue()
        self._ended = False
        self.popen = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._readers = [
            threading.Thread(target=self._read_out, daemon=True),
            threading.Thread(target=self._read_err, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_out(self):
        with self.popen.stdout as lines:
            for line in lines:
                self._out.append(line)
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _read_err(self):
        with self.popen.stderr as lines:
            for line in lines:
                self._err.append(line)

    @property
    def pid(self):
        return self.popen.pid

    @property
    def out(self):
        return "".join(self._out)

    @property
    def err(self):
        return "".join(self._err)

    def next_line(self, timeout=PATIENCE):
        """The next line of stdout; None at its end."""
        if self._ended:
            return None
        try:
            line = self._lines.get(timeout=max(timeout, 0))
        except queue.Empty:
            raise Timeout(f"{self.name}: no line within {timeout} s\n{self.report()}") from None
        self._ended = line is None
        return line

    def wait_line(self, pattern, timeout=PATIENCE):
        """Reads stdout up to a line that the pattern is found in; its match."""
        until = time.monotonic() + timeout
        while (line := self.next_line(until - time.monotonic())) is not None:
            if found := re.search(pattern, line):
                return found
        raise Timeout(f"{self.name}: ended without {pattern!r}\n{self.report()}")

    def wait_event(self, event, timeout=PATIENCE, **fields):
        """Reads JSON lines up to the event with these fields; the object."""
        until = time.monotonic() + timeout
        while (line := self.next_line(until - time.monotonic())) is not None:
            found = json.loads(line)
            if found.get("event") == event and fields.items() <= found.items():
                return found
        raise Timeout(f"{self.name}: ended without event {event!r}\n{self.report()}")

    def wait_err(self, pattern, timeout=PATIENCE):
        """Waits until stderr, from its start, has the pattern; its match."""
        until = time.monotonic() + timeout
        while True:
            over = self.popen.poll() is not None and not self._readers[1].is_alive()
            if found := re.search(pattern, self.err):
                return found
            if over or time.monotonic() > until:
                raise Timeout(f"{self.name}: no {pattern!r} on stderr\n{self.report()}")
            time.sleep(0.01)

    def events(self):
        """All JSON objects printed so far."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]

    def wait(self, timeout=PATIENCE):
        """Waits for the end; the exit status (-N: killed by signal N)."""
        try:
            status = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Timeout(f"{self.name}: still running\n{self.report()}") from None
        for reader in self._readers:
            reader.join(5)
        return status

    def signal(self, number):
        self.popen.send_signal(number)

    def term(self, timeout=PATIENCE):
        """SIGTERM, then the exit status."""
        self.popen.terminate()
        return self.wait(timeout)

    def kill(self):
        """kill -9, then the exit status."""
        self.popen.kill()
        return self.wait()

    def alive(self):
        return self.popen.poll() is None

    def clean_up(self):
        """Ends what is left of the process and of its children."""
        if self.alive():
            self.popen.terminate()
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                pass
        # The group outlives its leader while a child of it is left.
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait(10)
        for reader in self._readers:
            reader.join(5)

    def complaint(self):
        """What a sanitizer or valgrind said about the process, or None."""
        if self.popen.returncode == SANITIZER_EXIT or COMPLAINT.search(self.err):
            return f"{self.name}: a checker complained\n{self.report()}"
        return None

    def report(self):
        return (
            f"$ {' '.join(self.argv)}   [pid {self.pid}, status {self.popen.poll()}]\n"
            f"--- stdout ---\n{self.out[-6000:]}--- stderr ---\n{self.err[-12000:]}"
        )


def binary_from(variable, fallback):
    path = Path(os.environ.get(variable) or REPO / fallback)
    return path if os.access(path, os.X_OK) else None


def need_binary(variable, fallback, how):
    path = binary_from(variable, fallback)
    if path is None:
        pytest.fail(f"no binary at {variable} or {fallback}: {how}", pytrace=False)
    return path


@pytest.fixture(scope="session")
def kerf():
    return need_binary("KERF", "build/kerf", "./dev build makes it")


@pytest.fixture(scope="session")
def kerf_asan():
    return need_binary("KERF_ASAN", "build/asan/kerf", "./dev test e2e makes it")


@pytest.fixture(scope="session")
def kerf_tsan():
    return need_binary("KERF_TSAN", "build/tsan/kerf", "./dev test e2e makes it")


@pytest.fixture(params=["release", "asan"])
def each_kerf(request):
    return request.getfixturevalue("kerf" if request.param == "release" else "kerf_asan")


@pytest.fixture(params=["release", "asan", "tsan"])
def every_kerf(request):
    name = "kerf" if request.param == "release" else f"kerf_{request.param}"
    return request.getfixturevalue(name)


@pytest.fixture(scope="session")
def repo():
    return REPO


@pytest.fixture(scope="session")
def digits():
    return REPO / "models" / "digits"


@pytest.fixture
def disk_of(tmp_path):
    """disk_of("64k") -> a file system of that size, mounted for this test only."""
    folder = tmp_path / "disk"

    def mount(size):
        if os.geteuid() != 0:
            pytest.skip("mounting a small disk needs root")
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "kerf-test", folder]
        if subprocess.run(words, capture_output=True, check=False).returncode != 0:
            pytest.skip("this machine does not let root mount a tmpfs")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="session")
def shared():
    """Real models and photos, which are not part of the project."""
    path = Path(os.environ.get("KERF_SHARED") or REPO.parent / "shared")
    if not (path / "models").is_dir():
        pytest.skip(f"no real models at {path}: set KERF_SHARED")
    return path


@pytest.fixture
def free_port():
    """free_port() -> a TCP port of loopback that nobody listens on. Until the test
    ends the kernel gives it to nobody: else a test beside it may come to listen
    there, before a cloud is or while it is gone."""
    with contextlib.ExitStack() as held:

        def pick():
            probe = held.enter_context(socket.socket())
            # Then who asks for it by its number may have it, too.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

        yield pick


def checker_env():
    """The environment for programs under test, checkers set to be heard."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("KERF_")}
    env.update(
        LC_ALL="C.UTF-8",
        NO_COLOR="1",
        # OpenVINO gives the thread that loads it a signal stack of its own; ASan
        # would free that at the thread's end, and OpenVINO frees it once more.
        ASAN_OPTIONS=f"exitcode={SANITIZER_EXIT}:use_sigaltstack=0",
        UBSAN_OPTIONS="print_stacktrace=1",
        LSAN_OPTIONS=f"exitcode={SANITIZER_EXIT}:suppressions={REPO}/tests/lsan.supp:print_suppressions=0",
        TBB_ENABLE_SANITIZERS="1",  # OpenVINO's TBB refuses ASan without it
        TSAN_OPTIONS=f"exitcode={SANITIZER_EXIT}:suppressions={REPO}/tests/tsan.supp",
    )
    return env


@pytest.fixture(scope="session")
def base_env():
    with tempfile.TemporaryDirectory(prefix="kerf-run-") as folder:  # clouds' sockets
        yield {**checker_env(), "XDG_RUNTIME_DIR": folder}


def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):  # all workers have ended
        kept.tidy()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what its processes said."""
    report = yield
    if report.failed:
        for process in getattr(item, "kerf_processes", []):
            report.sections.append((f"process {process.name}", process.report()))
    return report


@functools.cache
def can_place_low():
    """Whether setarch may switch off address randomisation here."""
    try:
        return subprocess.run(["setarch", "-R", "true"], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def placing(binary):
    """What goes before a TSan binary: gcc 12's cannot live with much address
    randomisation."""
    is_tsan = binary == binary_from("KERF_TSAN", "build/tsan/kerf")
    return ["setarch", "-R"] if is_tsan and can_place_low() else []


@pytest.fixture
def spawn(request, kerf, base_env, tmp_path):
    """spawn("cloud", ..., binary=, env={}, cwd=, stdin=, prefix=[], name=) -> Process

    args  the words after the binary; prefix goes before it (valgrind, prlimit)
    env   added to the environment; a value of None removes the name
    """
    processes = request.node.kerf_processes = []

    def start(*args, binary=None, env=None, cwd=None, prefix=(), **more):
        full = {**base_env, **(env or {})}
        full = {k: str(v) for k, v in full.items() if v is not None}
        argv = [*prefix, *placing(binary), binary or kerf, *args]
        more.setdefault("name", " ".join(["kerf", *map(str, args[:1])]))
        process = Process(argv, full, cwd or tmp_path, **more)
        processes.append(process)
        return process

    yield start
    for process in reversed(processes):
        process.clean_up()
    complaints = [text for text in (p.complaint() for p in processes) if text]
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


@pytest.fixture
def run(spawn):
    """run(...) as spawn(...), to its end -> Process; .status is its exit status."""

    def go(*args, timeout=PATIENCE, **more):
        process = spawn(*args, **more)
        process.status = process.wait(timeout)
        return process

    return go


@pytest.fixture
def start_cloud(spawn, free_port):
    """start_cloud("--models", dir, ...) -> Process that listens on .port

    Peers of wire.py send no heartbeats while a test does something else: only a
    cloud that is told when drops who is silent."""

    def start(*args, port=0, **more):
        port = port or free_port()
        told = {"--dead-after", "--heartbeat"} & set(args)
        process = spawn(
            "cloud", "--json", "--cloud_host", "127.0.0.1", "--cloud_port", str(port),
            *(() if told else ("--dead-after", 600, "--heartbeat", 1667)), *args, **more,
        )  # fmt: skip
        process.port = process.wait_event("listening")["port"]
        return process

    return start

"""`kerf top`, the control socket behind it, and the live table of `kerf cloud`."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import tempfile
import termios
import time
from pathlib import Path

import exact
import pytest
import wire

EVIL = "evil\x1b[31m\x07\u202e\n"


@pytest.fixture
def place():
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="kerf-top-") as folder:
        yield Path(folder)


@pytest.fixture
def cloud(start_cloud, kerf_asan, tmp_path, place):
    exact.put(tmp_path / "models")
    process = start_cloud(
        "--engine", "fake", "--models", tmp_path / "models", "--control", place / "c",
        binary=kerf_asan,
    )  # fmt: skip
    process.control = place / "c"
    return process


def ready(files, timeout):
    """Those that can be read; select() takes no large descriptors."""
    waiting = select.poll()
    for file in files:
        waiting.register(file, select.POLLIN)
    return waiting.poll(timeout * 1000)


def ask_some(edge, count):
    bundle, _ = edge.offered()
    for ident in range(count):
        edge.request(bundle, exact.h_of(ident), id=ident, dims=(1, 16))
        assert edge.tensors.recv_kind(wire.RESULT).floats() == exact.y_of(ident)


def dial(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(wire.PATIENCE)
    sock.connect(str(path))
    return sock


def line_of(sock):
    got = b""
    while not got.endswith(b"\n"):
        step = sock.recv(65536)
        if not step:
            return None
        got += step
    return json.loads(got)


def look(path, **more):
    with contextlib.closing(dial(path)) as sock:
        sock.sendall(json.dumps({"get": "edges", **more}).encode() + b"\n")
        return line_of(sock)


def once(run, path):
    done = run("top", "--control", path, "--json", "--once")
    assert done.status == 0 and done.err == ""
    return json.loads(done.out)


class Screen:
    """A program on a terminal of a size."""

    def __init__(self, argv, env, rows=24, columns=80):
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], [str(a) for a in argv], env)
        self.size(rows, columns)
        self.seen = b""

    def size(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, timeout):
        if not ready([self.master], timeout):
            return False
        try:
            step = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += step
        return bool(step)

    def wait_for(self, pattern, since=0):
        until = time.monotonic() + wire.PATIENCE
        while not (found := re.search(pattern, self.seen[since:])):
            assert time.monotonic() < until, self.seen[since:].decode(errors="replace")
            self.read(0.2)
        return found

    def type(self, keys):
        os.write(self.master, keys)

    def wait(self):
        while self.read(wire.PATIENCE):
            pass
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.master)
        self.pid = None
        return status

    def kill(self):
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


@pytest.fixture
def on_screen(kerf_asan, base_env):
    screens = []

    def start(*args, env=None, **more):
        full = {**base_env, "TERM": "xterm", **(env or {})}
        screens.append(Screen([kerf_asan, *args], full, **more))
        return screens[-1]

    yield start
    for screen in screens:
        screen.kill()


def test_json__counts_what_each_edge_got(run, cloud):
    with wire.Edge(cloud.port, name="one") as one, wire.Edge(cloud.port, name="two") as two:
        with wire.Edge(cloud.port, name="two") as again:
            ask_some(one, 7)
            ask_some(two, 2)
            ask_some(again, 3)
            two.request(bytes(32), [1.0])
            assert two.tensors.recv_kind(wire.FAILED).notice()[0] == wire.ENOENT
            top = once(run, cloud.control)
    by_name = {e["name"]: e for e in top["edge"]}
    assert top["event"] == "top" and top["edges"] == 2 and top["sessions"] == 3
    assert top["answered"] == 12 and top["failed"] == 1 and set(by_name) == {"one", "two"}
    first, second = by_name["one"], by_name["two"]
    assert (first["answered"], first["failed"], first["sessions"]) == (7, 0, 1)
    assert (second["answered"], second["failed"], second["sessions"]) == (5, 1, 2)
    assert first["model"] == "m" and re.fullmatch("[0-9a-f]{12}", first["bundle"])
    assert first["state"] == "up" and first["held"] == first["queued"] == 0
    assert first["bytes_in"] == 7 * 64 and first["bytes_out"] == 7 * 64
    assert sum(first["batched"].values()) == 7
    assert 0 < first["p50_us"] <= first["p99_us"]


def test_names__are_escaped(run, cloud, on_screen):
    with wire.Edge(cloud.port, name=EVIL):
        top = once(run, cloud.control)
        assert top["edge"][0]["name"] == r"evil\x1b[31m\x07\xe2\x80\xae\x0a"
        screen = on_screen("top", "--control", cloud.control, columns=200)
        screen.wait_for(rb"evil\\x1b\[31m\\x07")
        screen.type(b"q")
        assert screen.wait() == 0
    assert b"\x07" not in screen.seen and b"\x1b[31m" not in screen.seen
    assert "\x1b" not in cloud.out + cloud.err


def test_screen__more_edges_than_rows__resize__q(cloud, on_screen):
    with contextlib.ExitStack() as stack:
        edges = [stack.enter_context(wire.Edge(cloud.port, name=f"edge-{i:02}")) for i in range(12)]
        ask_some(edges[9], 5)
        screen = on_screen("top", "--control", cloud.control, rows=9)
        screen.wait_for(rb"and 7 more")
        assert screen.wait_for(rb"edge-\d\d")[0] == b"edge-09", "not sorted by rate"
        at = len(screen.seen)
        screen.size(40, 80)
        screen.wait_for(rb"edge-11", at)
        assert b"more" not in screen.seen[at:].rsplit(b"\x1b[H", 1)[-1]
        screen.type(b"q")
        assert screen.wait() == 0
    lines = re.sub(rb"\x1b\[[?0-9]*[a-zA-Z]", b"", screen.seen).split(b"\r\n")
    assert max(len(line) for line in lines) < 80
    assert screen.seen.startswith(b"\x1b[?1049h") and screen.seen.endswith(b"\x1b[?1049l")


def test_screen__ctrl_c_ends_it__cloud_gone_is_one_line(cloud, on_screen):
    screen = on_screen("top", "--control", cloud.control)
    screen.wait_for(rb"0 edges")
    screen.type(b"\x03")
    assert screen.wait() == 0
    screen = on_screen("top", "--control", cloud.control)
    screen.wait_for(rb"0 edges")
    assert cloud.term() == 0
    assert screen.wait() == 1
    assert b"error: the cloud has ended" in screen.seen.split(b"\x1b[?1049l")[1]
    assert not cloud.control.exists()


def test_no_cloud__one_line(run, place):
    for args, says in [
        (["--control", place / "none"], "no cloud listens on"),
        (["--cloud-port", 1], "no cloud listens on"),
        ([], "no cloud of yours runs on this machine"),
    ]:
        done = run("top", *args, env={"XDG_RUNTIME_DIR": place})
        assert done.status == 1 and done.out == ""
        assert says in done.err and done.err.count("\n") == 1
    assert run("top", "--control", "x" * 200).status == 1


def test_found_by_itself__unless_there_are_two(run, start_cloud, place, tmp_path):
    exact.put(tmp_path / "models")
    args = ("--engine", "fake", "--models", tmp_path / "models")
    env = {"XDG_RUNTIME_DIR": place}
    first = start_cloud(*args, env=env)
    assert run("top", "--json", "--once", env=env).status == 0
    second = start_cloud(*args, env=env)
    done = run("top", "--json", "--once", env=env)
    assert done.status == 1 and str(first.port) in done.err and str(second.port) in done.err
    assert run("top", "--once", "--cloud-port", second.port, env=env).status == 0
    first.kill()
    left = place / f"kerf-cloud-{first.port}.sock"
    assert run("top", "--json", "--once", env=env).status == 0
    assert left.exists()  # it may be of one that is about to listen
    os.utime(left, (1e9, 1e9))
    assert run("top", "--json", "--once", env=env).status == 0
    assert not left.exists()


def test_one_port_of_two_hosts__a_socket_each(run, spawn, place, tmp_path):
    exact.put(tmp_path / "models")
    env = {"XDG_RUNTIME_DIR": place}
    port = 0
    for host, says in [("127.0.0.2", "127.0.0.2"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")]:
        cloud = spawn(
            "cloud", "--engine", "fake", "--models", tmp_path / "models", "--cloud_host", host,
            "--cloud_port", port, env=env,
        )  # fmt: skip
        found = cloud.wait_line(rf"^Listening on {re.escape(says)}:(\d+), models from ")
        port = int(found[1])
        assert cloud.err == ""
        assert run("top", "--once", "--cloud-port", port, env=env).status == 0
    names = {f"{port}@127.0.0.2", f"{port}", f"{port}@::1"}
    assert {p.name for p in place.iterdir()} == {f"kerf-cloud-{name}.sock" for name in names}


def test_path__stale_is_replaced__others_are_not_touched(run, start_cloud, place, tmp_path):
    exact.put(tmp_path / "models")
    args = ("--engine", "fake", "--models", tmp_path / "models", "--control", place / "c")
    first = start_cloud(*args)
    assert (place / "c").stat().st_mode & 0o777 == 0o600
    done = run("cloud", "--cloud_port", 0, *args)
    assert done.status == 1 and "in use" in done.err and done.err.count("\n") == 1
    first.kill()
    assert (place / "c").exists()
    second = start_cloud(*args)
    assert look(place / "c")["edges"] == 0
    assert second.term() == 0
    (place / "c").write_text("precious")
    done = run("cloud", "--cloud_port", 0, *args)
    assert done.status == 1 and "no socket" in done.err
    assert (place / "c").read_text() == "precious"
    none = start_cloud(*args[:-2], "--control", "none", env={"XDG_RUNTIME_DIR": place})
    assert not list(place.glob("*.sock"))
    assert none.term() == 0


def freeze(pid):
    """Returns when no thread of it runs any more."""
    os.kill(pid, signal.SIGSTOP)
    until = time.monotonic() + wire.PATIENCE
    while any(
        task.read_text().rsplit(")", 1)[1].split()[0] != "T"
        for task in Path(f"/proc/{pid}/task").glob("*/stat")
    ):
        assert time.monotonic() < until
        time.sleep(0.01)


def fill(path, stack):
    """Connects until the backlog is full."""
    with pytest.raises(BlockingIOError):
        while True:
            sock = stack.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX)))
            sock.setblocking(False)
            sock.connect(str(path))


def test_frozen_cloud__one_line(run, start_cloud, place, tmp_path):
    exact.put(tmp_path / "models")
    args = ("--engine", "fake", "--models", tmp_path / "models")
    cloud = start_cloud(*args, env={"XDG_RUNTIME_DIR": place})
    (path,) = place.glob("*.sock")
    freeze(cloud.pid)
    with contextlib.ExitStack() as stack:
        fill(path, stack)
        for who in ([], ["--control", path]):
            done = run("top", "--once", *who, env={"XDG_RUNTIME_DIR": place})
            assert done.status == 1 and "does not answer" in done.err
            assert done.err.count("\n") == 1
        done = run("cloud", "--cloud_port", 0, *args, "--control", path)
        assert done.status == 1 and "in use" in done.err
    cloud.signal(signal.SIGCONT)
    assert cloud.term() == 0


HOSTILE = {
    "empty": b"\n",
    "garbage": bytes(range(256)).replace(b"\n", b"") + b"\n",
    "zeros": bytes(100) + b"\n",
    "no object": b"[1, 2]\n",
    "another word": b'{"get": "secrets"}\n',
    "no text": b'{"get": {}}\n',
    "twice": b'{"get": "edges", "get": "edges"}\n',
    "negative": b'{"get": "edges", "most": -1}\n',
    "huge": b'{"get": "edges", "most": 9223372036854775807}\n',
    "text for a number": b'{"get": "edges", "most": "1"}\n',
    "deep": b"[" * 500 + b"\n",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_line__is_answered_with_an_error(cloud, what):
    with contextlib.closing(dial(cloud.control)) as sock:
        sock.sendall(HOSTILE[what])
        assert "error" in line_of(sock)
        sock.sendall(b'{"get": "edges", "most": 0}\n')
        assert line_of(sock)["edge"] == []


def test_hostile_clients__the_cloud_goes_on(cloud):
    with contextlib.closing(dial(cloud.control)) as sock:
        sock.sendall(b"x" * 100_000)
        assert "too long" in line_of(sock)["error"]
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b""
    with contextlib.ExitStack() as stack:
        names = [stack.enter_context(wire.Edge(cloud.port, name=f"e{i}")) for i in range(40)]
        never_read = stack.enter_context(contextlib.closing(dial(cloud.control)))
        never_read.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(100_000):  # asks, and takes no answer
                never_read.send(b'{"get": "edges"}\n' * 20)
        half = stack.enter_context(contextlib.closing(dial(cloud.control)))
        half.sendall(b'{"get": "ed')
        assert look(cloud.control)["edges"] == len(names)
        half.sendall(b'ges", "most": 3}\n{"get": "edges", "most": 1}\n')
        assert len(line_of_many(half)) == 2
        idle = [dial(cloud.control) for _ in range(12)]  # more than there are places
        closed = [s for s in idle if ready([s], 0.5)]
        assert len(closed) >= 6
        for sock in idle:
            sock.close()
        ask_some(names[0], 3)
    until = time.monotonic() + wire.PATIENCE
    while True:  # places are free again once the cloud has seen the ends
        try:
            assert "edges" in look(cloud.control)
            break
        except (ConnectionResetError, BrokenPipeError, TypeError, AssertionError):
            assert time.monotonic() < until
            time.sleep(0.05)


def line_of_many(sock):
    """The two answers of a client that asked twice."""
    got = b""
    while got.count(b"\n") < 2:
        got += sock.recv(65536)
    return [json.loads(line) for line in got.splitlines()]


def drawn(data):
    """The lines on a terminal without end that got these bytes."""
    lines, row, column = [""], 0, 0
    for code, text in re.findall(r"(\x1b\[[?0-9;]*[A-Za-z]|[\r\n])|([^\x1b\r\n]+)", data):
        if text:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + text + line[column + len(text) :]
            column += len(text)
        elif code == "\r":
            column = 0
        elif code == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif code.endswith("A"):
            row -= int(code[2:-1])
            assert row >= 0
        elif code == "\x1b[J":
            lines[row:] = [lines[row][:column]]
        elif code == "\x1b[K":
            lines[row] = lines[row][:column]
        else:
            assert code.endswith("m"), code
    return [line.rstrip() for line in lines]


LINES = re.compile(
    r"Model m is ready.*|Listening on .*|Edge \S+ connected.*|Edge \S+ is gone.*"
    r"|Tensor \d+ of \S+ refused.*|(warn|info|debug) \S+ .*|"
)
ERASED = re.compile(r"\x1b\[\d+A\r\x1b\[J")


def test_cloud_on_a_terminal__table_below_whole_lines(on_screen, free_port, tmp_path):
    exact.put(tmp_path / "models")
    port = free_port()
    screen = on_screen(
        "cloud", "--engine", "fake", "--models", tmp_path / "models", "--cloud_port", str(port),
        "--log", "debug", "--control", "none", rows=60, columns=100,
    )  # fmt: skip
    screen.wait_for(rb"0 edges")
    for turn in range(3):
        with wire.Edge(port, name=f"turn-{turn}") as edge, wire.Edge(port, name=EVIL[:-1]):
            ask_some(edge, 20)
            for ident in range(20):  # a line each
                edge.request(bytes(32), [1.0], id=ident)
            for _ in range(20):
                edge.tensors.recv_kind(wire.FAILED)
            with contextlib.closing(socket.create_connection(("127.0.0.1", port))) as stranger:
                stranger.sendall(b"x" * 300)  # a line of the log
            at = len(screen.seen)
            screen.wait_for(f"turn-{turn} +m [0-9a-f]{{8}} .*\r\n".encode(), at)
    os.kill(screen.pid, signal.SIGTERM)
    assert screen.wait() == 0
    seen = screen.seen.decode()
    lines = drawn(seen[: [m.start() for m in ERASED.finditer(seen)][-1]])  # a frame, whole
    table = next(i for i, line in enumerate(lines) if re.match(r"\d+ edges?, ", line))
    assert lines[table + 1].startswith("edge ")
    lines = drawn(seen)  # the table is gone
    for line in lines:
        assert LINES.fullmatch(line), line
    assert sum("refused" in line for line in lines) == 60
    assert any(line.startswith("warn cloud.stranger") for line in lines)
    assert "\x07" not in screen.seen.decode() and "\u202e" not in screen.seen.decode()


def test_cloud_on_a_terminal__lines_when_asked(on_screen, free_port, tmp_path):
    exact.put(tmp_path / "models")
    port = free_port()
    screen = on_screen(
        "cloud", "--engine", "fake", "--models", tmp_path / "models", "--cloud_port", str(port),
        "--lines", "--control", "none",
    )  # fmt: skip
    screen.wait_for(rb"Listening on")
    with wire.Edge(port) as edge:
        ask_some(edge, 1)
    screen.wait_for(rb"Tensor 0 Result:")
    os.kill(screen.pid, signal.SIGTERM)
    assert screen.wait() == 0
    assert b"edges," not in screen.seen

"""What reads a program's output, and stops reading, holds nobody up."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import tempfile

import exact
import pytest
import wire
from test_top import Screen, ask_some

F_SETPIPE_SZ = 1031
XOFF, XON = b"\x13", b"\x11"


@pytest.fixture
def cloud_args(kerf_asan, free_port, tmp_path):
    exact.put(tmp_path / "models")
    port = free_port()
    argv = [
        kerf_asan, "cloud", "--engine", "fake", "--models", tmp_path / "models",
        "--cloud_port", str(port), "--control", "none",
    ]  # fmt: skip
    return port, [str(word) for word in argv]


@pytest.mark.parametrize("more", [[], ["--lines"]], ids=["table", "lines"])
def test_ctrl_s_on_the_terminal__edges_are_served(cloud_args, base_env, more):
    port, argv = cloud_args
    screen = Screen([*argv, *more], {**base_env, "TERM": "xterm"}, rows=60, columns=100)
    try:
        screen.wait_for(rb"Listening on")
        screen.type(XOFF)
        for turn in range(3):
            with wire.Edge(port, name=f"turn-{turn}") as edge:
                ask_some(edge, 20)
                edge.request(bytes(32), [1.0])  # a line
                assert edge.tensors.recv_kind(wire.FAILED).notice()[0] == wire.ENOENT
        at = len(screen.seen)
        screen.type(XON)
        screen.wait_for(rb"(?s)turn-0 connected.*turn-2 connected.*turn-2 is gone", at)
        screen.type(XOFF)
        with wire.Edge(port) as edge:
            ask_some(edge, 1)
        os.kill(screen.pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(screen.pid, 0)[1]) == 0
        os.close(screen.master)
        screen.pid = None
    finally:
        screen.kill()


def start(argv, env, stdout, stderr=subprocess.PIPE):
    return subprocess.Popen(argv, env=env, stdout=stdout, stderr=stderr)


@pytest.fixture
def pipe():
    ends = list(os.pipe())
    fcntl.fcntl(ends[1], F_SETPIPE_SZ, 4096)
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def test_full_pipe__edges_are_served__what_waits_is_printed(cloud_args, base_env, pipe):
    port, argv = cloud_args
    cloud = start([*argv, "--json"], base_env, pipe[1])
    os.close(pipe[1])
    try:
        with open(os.dup(pipe[0])) as lines:
            first = [json.loads(lines.readline())["event"] for _ in range(2)]
            assert "listening" in first
            with wire.Edge(port) as edge:
                ask_some(edge, 500)  # some 80 KB of lines
            cloud.terminate()
            events = [json.loads(line) for line in lines]
        assert cloud.wait(wire.PATIENCE) == 0
    finally:
        cloud.kill()
        _, said = cloud.communicate()
    answers = [e["id"] for e in events if e["event"] == "answer"]
    assert sorted(answers) == list(range(500))  # workers are several
    assert not [e for e in events if e["event"] == "left_out"], said


def lines_of(err):
    return err.read().decode().splitlines()


@pytest.fixture
def served(start_cloud, tmp_path):
    exact.put(tmp_path / "models")
    with tempfile.TemporaryDirectory(prefix="kerf-still-") as place:  # a short path
        cloud = start_cloud(
            "--engine", "fake", "--models", tmp_path / "models", "--control", f"{place}/c"
        )
        edge = ["edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--store",
                tmp_path / "store", "--repeat", 0, "--rate", 100,
                "--input", *exact.inputs(tmp_path / "in", 3)]  # fmt: skip
        top = ["top", "--json", "--control", f"{place}/c"]
        yield {"edge": edge, "top": top, "once": [*top, "--once"]}


@pytest.mark.parametrize("what", ["edge", "top"])
def test_reader_goes__it_ends_quietly(what, served, kerf_asan, base_env):
    argv = [str(word) for word in [kerf_asan, *served[what]]]
    with start(argv, base_env, subprocess.PIPE) as process:
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        try:
            assert process.wait(wire.PATIENCE) == 1
        finally:
            process.kill()
        assert lines_of(process.stderr) == []


@pytest.mark.parametrize("what", ["edge", "top", "once"])
def test_disk_is_full__one_line(what, served, kerf_asan, base_env):
    argv = [str(word) for word in [kerf_asan, *served[what]]]
    with open("/dev/full", "wb") as full, start(argv, base_env, full) as process:
        try:
            assert process.wait(wire.PATIENCE) == 1
        finally:
            process.kill()
        (line,) = lines_of(process.stderr)
    assert line == "kerf: error: cannot write to standard output: No space left on device"

"""What reads a program's output, and stops reading, holds nobody up."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess

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
    assert [e["id"] for e in events if e["event"] == "answer"] == list(range(500))
    assert not [e for e in events if e["event"] == "left_out"], said

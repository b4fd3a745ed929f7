"""Flags, help, exit statuses, and what is said when something is wrong."""

import re
import socket

import pytest
from nets import error_lines, small_pair

COMMANDS = ["cloud", "edge", "run", "card"]
FAKE = ["--engine", "fake"]


def usage_error(done):
    """The one line, after exit status 2."""
    assert done.status == 2, done.report()
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("kerf: error: ") and line.endswith("--help)")
    return line


def test_version(run, repo):
    done = run("--version")
    version = re.search(r"project\([^)]*VERSION\s+([\d.]+)", (repo / "CMakeLists.txt").read_text())
    assert (done.status, done.out, done.err) == (0, f"kerf {version[1]}\n", "")


def test_help__lists_the_commands(run):
    for args in (["--help"], ["-h"], ["help"]):
        done = run(*args)
        assert done.status == 0 and done.err == ""
        for command in COMMANDS:
            assert re.search(rf"^  {command} +\w", done.out, re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command__tells_each_flag(run, repo, command):
    """Every flag of its table, with a line of its own; and no flag twice."""
    done = run(command, "--help")
    assert done.status == 0 and done.err == ""
    assert done.out.startswith(f"usage: kerf {command} ")
    assert max(len(line) for line in done.out.splitlines()) <= 160
    told = re.findall(r"^  (--[a-z-]+)", done.out, re.M)
    assert len(told) == len(set(told))
    cli = repo / "src" / "cli"
    source = (cli / f"cmd_{command}.c").read_text()
    headers = "".join(file.read_text() for file in sorted(cli.glob("*.h")))
    for macro in set(re.findall(r"\bKERF_\w+_(?:ROWS|OPTS?)\b(?=\()", source)):
        source += re.search(rf"#define {macro}\(.*?[^\\]\n", headers, re.S)[0]
    table = set(re.findall(r'\.name = "([a-z-]+)"[^}]*?\.kind', source))
    assert len(table) > 8 and {f"--{name}" for name in table} <= set(told)
    assert "--help" in told
    again = run("help", command)
    assert (again.status, again.out) == (0, done.out)


def test_unknown_command__names_the_nearest(run):
    assert "did you mean kerf edge?" in usage_error(run("egde"))
    assert "did you mean kerf cloud?" in usage_error(run("clod"))
    assert "did you mean" not in usage_error(run("frobnicate"))
    assert "command is missing" in usage_error(run())


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["run", "m", "--inptu", "x"], ["unknown flag --inptu", "did you mean --input?"]),
        (["edge", "--cloudhost", "x"], ["unknown flag --cloudhost", "--cloud-host"]),
        (["cloud", "--frobnicate"], ["unknown flag --frobnicate"]),
        (["cloud", "-p", "80"], ["unknown flag -p", "--name"]),
        (["run", "--input", "x"], ["MODEL is missing"]),
        (["run", "m"], ["--input is missing"]),
        (["run", "m", "n", "--input", "x"], ["n"]),
        (["run", "m", "--input"], ["--input needs a value"]),
        (["edge", "--window", "0"], ["--window 0", "1 to 64"]),
        (["edge", "--window", "65"], ["--window 65", "1 to 64"]),
        (["edge", "--window", "8x"], ["--window 8x", "whole number"]),
        (["edge", "--rate", "fast"], ["--rate fast", "number"]),
        (["cloud", "--cloud_port", "65536"], ["65536", "0 to 65535"]),
        (["run", "m", "--input", "x", "--resize", "bend"], ["bend", "stretch|letterbox|crop"]),
        (["run", "m", "--input", "x", "--size", "0x4"], ["--size 0x4", "224x224"]),
        (["run", "m", "--input", "x", "--mean", "1,2"], ["--mean 1,2", "1 or 3"]),
        (["run", "m", "--input", "x", "--scale", "1/0"], ["--scale 1/0"]),
        (["run", "m", "--input", "x", "--json=perhaps"], ["--json perhaps", "yes or no"]),
        (["run", "m", "--input", "x", "--save-input"], ["--save"]),
        (["cloud", "--log", "loud"], ["loud", "info"]),
    ],
)
def test_wrong_flag__says_what_is_expected(run, args, words):
    line = usage_error(run(*args))
    assert all(word in line for word in words), line


def test_dash_and_underscore__are_alike(run, digits):
    one = digits / "images" / "0_002.png"
    for name in ("top-k", "top_k"):
        for flag in ([f"--{name}", "1"], [f"--{name}=1"]):
            done = run("run", digits / "digits.pdmodel", "--json", *flag, "--input", one)
            assert done.status == 0 and done.out.count('"label"') == 1
    for name in ("cloud-port", "cloud_port"):
        assert "--cloud-port none: " in usage_error(run("cloud", f"--{name}", "none"))


def test_port_in_use__is_one_line(run, start_cloud, tmp_path):
    models = small_pair(tmp_path / "models")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("cloud", "--cloud_port", port, "--models", models, *FAKE)
    assert done.status == 1
    (line,) = error_lines(done)
    assert str(port) in line and "in use" in line
    cloud = start_cloud("--models", models, *FAKE)
    second = run("cloud", "--cloud_port", cloud.port, "--models", models, *FAKE)
    assert second.status == 1 and "in use" in error_lines(second)[0]
    assert cloud.alive()


def test_no_such_host__the_cloud_ends(run, tmp_path):
    models = small_pair(tmp_path / "models")
    done = run("cloud", "--cloud_host", "no-such-host.invalid", "--models", models, *FAKE)
    assert done.status == 1
    (line,) = error_lines(done)
    assert "no-such-host.invalid" in line


def test_no_such_host__the_edge_says_so_and_tries_on(spawn, tmp_path):
    edge = spawn(
        "edge", "--json", "--cloud_host", "no-such-host.invalid", "--store", tmp_path / "store",
        "--input", "random", *FAKE,
    )  # fmt: skip
    state = edge.wait_event("state", connected=False)
    assert "no-such-host.invalid" in state["text"] and "trying again" in state["text"]
    assert edge.alive()
    assert edge.term() == 0


def test_no_models_folder__is_one_line(run, tmp_path):
    done = run("cloud", "--models", tmp_path / "none", *FAKE)
    assert done.status == 2
    assert f"{tmp_path}/none" in error_lines(done)[0]
    (tmp_path / "file").write_text("")
    done = run("cloud", "--models", tmp_path / "file", *FAKE)
    assert done.status == 2 and f"{tmp_path}/file" in error_lines(done)[0]


def test_store_that_cannot_be__is_one_line(run, free_port, tmp_path):
    (tmp_path / "file").write_text("")
    done = run("edge", "--cloud_port", free_port(), "--store", tmp_path / "file", *FAKE)
    assert done.status == 1
    (line,) = error_lines(done)
    assert f"{tmp_path}/file" in line


def test_control_characters__do_not_reach_the_terminal(run, tmp_path):
    evil = "a\x1b]0;owned\x07\nb.png"
    for args in (["run", "m.pdmodel", "--input", evil], ["edge", "--input", evil], [evil]):
        done = run(*args)
        assert done.status != 0
        assert "\x1b" not in done.err and "\x07" not in done.err
        assert len(done.err.splitlines()) == 1

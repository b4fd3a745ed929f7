"""./dev itself: what it says when it cannot go on. A copy of the script runs in
an empty folder, so that nothing of this checkout is touched."""

import fcntl
import os
import shutil
import subprocess

import pytest


@pytest.fixture
def dev(repo, tmp_path):
    """dev(args..., fakes={name: text}) -> finished process, with only these tools;
    text None: the real one. script: this instead of ./dev."""
    place = tmp_path / "checkout"
    place.mkdir()
    shutil.copy(repo / "dev", place / "dev")
    tools = tmp_path / "bin"
    tools.mkdir()

    def add(name, text=None):
        if text is None:
            (tools / name).symlink_to(shutil.which(name))
        else:
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)

    for name in "sh dirname mkdir rm flock cat grep tail df awk env".split():
        add(name)

    def go(*args, fakes, env=None, script=None):
        for name, text in fakes.items():
            (tools / name).unlink(missing_ok=True)
            add(name, text)
        return subprocess.run(
            ["sh", "-c", script] if script else ["sh", "./dev", *args],
            cwd=place,
            env={"PATH": str(tools), "HOME": str(tmp_path), **(env or {})},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return go


def one_error(done):
    """The one line that says what is wrong."""
    assert done.returncode == 1, done
    errors = [line for line in done.stderr.splitlines() if line.startswith("dev: error: ")]
    assert len(errors) == 1, done
    return errors[0]


LINUX = {"uname": "echo Linux"}


def test_help__lists_every_command(dev):
    done = dev("help", fakes={})
    assert done.returncode == 0
    for command in "demo build test bench lint fmt fuzz train clean help".split():
        assert f"\n  {command} " in done.stdout


def test_unknown_command__is_a_usage_error(dev):
    done = dev("frobnicate", fakes={})
    assert done.returncode == 2
    assert "usage: ./dev COMMAND" in done.stderr
    assert done.stderr.splitlines()[-1] == "dev: error: unknown command: frobnicate"


def test_other_system__is_one_clear_line(dev):
    assert "this is Darwin" in one_error(dev("build", fakes={"uname": "echo Darwin"}))


def test_no_apt__is_one_clear_line(dev):
    assert "not Debian" in one_error(dev("build", fakes=LINUX))


def test_no_root_and_no_sudo__names_the_packages(dev):
    fakes = {**LINUX, "dpkg-query": "exit 1", "apt-get": "exit 1", "id": "echo 1000"}
    line = one_error(dev("build", fakes=fakes))
    assert "without root or sudo" in line and " libuv1-dev" in line


@pytest.mark.parametrize(
    ("log", "word"),
    [
        ("Temporary failure resolving 'mirror'", "no network"),
        ("E: You don't have enough free space in /var", "disk is full"),
        ("E: Unable to locate package libuv1-dev", "built on Debian 12"),
        ("E: Could not get lock /var/lib/dpkg/lock", "another package installation"),
    ],
)
def test_apt_fails__the_reason_is_said(dev, log, word):
    apt = f'echo "{log}"; exit 100'
    fakes = {**LINUX, "dpkg-query": "exit 1", "apt-get": apt, "id": "echo 0"}
    assert word in one_error(dev("build", fakes=fakes))


def test_apt_fails__a_few_lines_of_its_log_come_before(dev):
    apt = 'for i in 1 2 3 4 5 6 7 8 9; do for k in a b c; do echo "line $i$k"; done; done; exit 100'
    fakes = {**LINUX, "dpkg-query": "exit 1", "apt-get": apt, "id": "echo 0"}
    done = dev("build", fakes=fakes)
    lines = done.stderr.splitlines()
    assert one_error(done) == lines[-1] and "line 9c" in lines[-2]
    assert sum(line.startswith("line ") for line in lines) == 10
    assert done.stdout == ""


def test_apt__does_not_hold_the_lock(dev, tmp_path):
    held = tmp_path / "held"
    apt = f"[ ! -e /proc/self/fd/9 ] || echo yes >{held}; exit 100"
    dev("build", fakes={**LINUX, "dpkg-query": "exit 1", "apt-get": apt, "id": "echo 0"})
    assert not held.exists()


def test_clean__waits_for_a_build_and_leaves_the_lock(dev, tmp_path):
    build = tmp_path / "checkout" / "build"
    (build / "release").mkdir(parents=True)
    with open(build / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        flock = f'[ "$1" != -n ] || exit 1; ls {build} >{tmp_path}/then'
        fakes = {"flock": flock, "ls": None, "find": None}
        assert dev("clean", fakes=fakes).returncode == 0
        assert (tmp_path / "then").read_text().split() == ["release"]
    assert [p.name for p in build.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], "bench split"),
        (["--json"], "bench split --json"),
        (["idle", "--json"], "bench idle --json"),
        (["--help"], "bench --help"),
    ],
)
def test_bench__flags_alone_are_for_split(dev, tmp_path, words, asked):
    build = tmp_path / "checkout" / "build" / "release"
    build.mkdir(parents=True)
    (build / "build.ninja").write_text("")
    (build / "kerf").write_text('#!/bin/sh\necho "$*"\n')
    (build / "kerf").chmod(0o755)
    (build / "kerf-stamp").write_text(f"{tmp_path}/checkout /ov sum sum\n")
    fakes = {"uname": "echo Linux", "sha256sum": "echo sum", "ninja": "echo no work to do"}
    fakes.update({"readlink": None, "ln": None})
    done = dev("bench", *words, fakes=fakes, env={"KERF_NO_APT": "1", "OpenVINO_DIR": "/ov"})
    assert (done.returncode, done.stdout) == (0, asked + "\n"), done


def test_lint_format__without_the_tool__fails(dev):
    """The rest of lint's set-up is left out: only the one function is asked."""
    text = "set -- help; . ./dev >/dev/null; set +e; lint_format"
    done = dev(fakes={}, script=text)
    assert done.returncode == 1 and "clang-format-14 is missing" in done.stderr


def test_little_disk__is_said_before_anything_is_fetched(dev, tmp_path):
    fakes = {**LINUX, "dpkg-query": "exit 1", "apt-get": "exit 0", "id": "echo 0"}
    (tmp_path / "bin" / "df").unlink()
    fakes["df"] = 'echo head; echo "x 1 1 1024 1% /"'
    tools = tmp_path / "checkout" / "tools"
    tools.mkdir()
    (tools / "requirements-engine.txt").write_text("openvino==1\n")
    (tmp_path / "bin" / "sha256sum").symlink_to(shutil.which("sha256sum"))
    if not os.access("/usr/bin/python3", os.X_OK):
        pytest.skip("no /usr/bin/python3 here")
    fakes["uname"] = 'if [ "$1" = -m ]; then echo x86_64; else echo Linux; fi'
    assert "free disk space" in one_error(dev("build", fakes=fakes))

"""./dev itself: what it says when it cannot go on. A copy of the script runs in
an empty folder, so that nothing of this checkout is touched."""

import os
import shutil
import subprocess

import pytest


@pytest.fixture
def dev(repo, tmp_path):
    """dev(args..., tools=[...]) -> finished process, with only these tools."""
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

    for name in ["sh", "dirname", "mkdir", "flock", "cat", "grep", "tail", "df", "awk", "env"]:
        add(name)

    def go(*args, fakes):
        for name, text in fakes.items():
            add(name, text)
        return subprocess.run(
            ["sh", "./dev", *args],
            cwd=place,
            env={"PATH": str(tools), "HOME": str(tmp_path)},
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

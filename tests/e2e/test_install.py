"""cmake --install: what a prefix has, and a program that embeds an edge."""

import os
import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.xdist_group("install")  # one prefix for all


def call(*words, **more):
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, **more
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def prefix(repo, kerf, tmp_path_factory):
    """The build of the binary under test, installed; gone with the tests."""
    folder = tmp_path_factory.mktemp("kerf with blank")
    call("cmake", "--install", kerf.resolve().parent, "--prefix", folder)
    return folder


@pytest.fixture(scope="module")
def libdir(prefix):
    (library,) = prefix.glob("lib/**/libkerf.so")
    return library.parent


def test_prefix__has_what_its_files_name(prefix):
    kerf = prefix / "bin" / "kerf"
    assert call(kerf, "--version", env={}).startswith("kerf ")
    for unit, config in (("kerf-cloud", "cloud"), ("kerf-edge", "edge")):
        text = (prefix / "lib" / "systemd" / "system" / f"{unit}.service").read_text()
        assert f'ExecStart="{kerf}" {config} --config "{prefix}/etc/kerf/{config}.conf"' in text
        file = prefix / "etc" / "kerf" / f"{config}.conf"
        # It parses: --workers 999 after it is what is wrong.
        wrong = "--workers" if config == "cloud" else "--window"
        done = subprocess.run(
            [kerf, config, "--config", file, wrong, "999"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2 and f"{wrong} 999" in done.stderr
    assert (prefix / "share" / "man" / "man5" / "kerf.conf.5").is_file()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("unit", ["kerf-cloud", "kerf-edge"])
def test_unit__is_right_and_bound(prefix, unit):
    """./dev package --test runs them; this only reads them."""
    file = prefix / "lib" / "systemd" / "system" / f"{unit}.service"
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, check=False
    )
    about_it = [line for line in verify.stderr.splitlines() if unit in line]
    assert not about_it and verify.returncode == 0, verify.stderr
    told = call("systemd-analyze", "security", "--offline=yes", "--threshold=20", file)
    assert "Overall exposure level" in told


def test_prefix__needs_no_engine_but_its_own(prefix, libdir):
    """Nothing links to the virtualenv, and nothing says where it was built."""
    for file in [prefix / "bin" / "kerf", libdir / "libkerf.so", *(libdir / "kerf").glob("*.so*")]:
        told = call("ldd", file, env={"PATH": os.environ["PATH"]})
        assert "not found" not in told
        for line in told.splitlines():
            if re.search("openvino|tbb|hwloc", line):
                assert str(prefix) in line
        assert "venv" not in call("readelf", "-d", file)


def test_completion__offers_what_help_says(prefix):
    file = prefix / "share" / "bash-completion" / "completions" / "kerf"
    script = 'COMP_WORDS=(kerf $1 "$2"); COMP_CWORD=$3; _kerf; echo "${COMPREPLY[*]}"'
    script = f'. "{file}"; {script}'
    env = {"PATH": f"{prefix / 'bin'}:{os.environ['PATH']}"}

    def complete(*words):
        return call("bash", "-c", script, "bash", *words, env=env).split()

    assert complete("cloud", "--cloud-p", "2") == ["--cloud-port"]
    assert {"cloud", "cut", "card"} == set(complete("c", "", "1"))


def test_library__exports_what_the_headers_declare(prefix, libdir):
    symbols = call("nm", "-D", "--defined-only", libdir / "libkerf.so")
    has = set(re.findall(r" T (\w+)$", symbols, re.M))
    text = "".join(file.read_text() for file in (prefix / "include" / "kerf").glob("*.h"))
    declared = set(re.findall(r"KERF_API[^;{]*?\b(kerf_\w+)\(", text))
    assert len(declared) > 40
    assert declared - has == set()
    assert {name for name in has if not name.startswith("kerf_")} == set()


@pytest.mark.parametrize("how", ["cmake", "make"])
def test_example__runs_an_edge(
    prefix, libdir, repo, start_cloud, spawn, digits, tmp_path, how
):
    build = tmp_path / "build"
    if how == "cmake":
        examples = prefix / "share/doc/kerf/examples"
        call("cmake", "-S", examples, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
        call("cmake", "--build", build)
    else:
        call("cp", "-r", repo / "examples", build)
        # make and pkg-config do not take blanks: a link without one.
        link = tmp_path / "kerf"
        link.symlink_to(prefix)
        env = {**os.environ, "PKG_CONFIG_PATH": f"{link / libdir.relative_to(prefix)}/pkgconfig"}
        call("make", "-C", build, "CFLAGS=-Wall -Wextra -Werror", env=env)
    cloud = start_cloud("--models", digits)
    images = digits / "images"
    program = {"binary": build / "edge", "name": "example"}
    words = [cloud.port, tmp_path / "store"]
    edge = spawn(*words, images / "3_011.png", images / "7_005.png", **program)
    assert edge.wait() == 0, edge.report()
    told = re.findall(r"(\d)_\d+\.png: class (\d), 0\.\d{3}\n", edge.out)
    assert sorted(told) == [("3", "3"), ("7", "7")]  # in the order of their answers
    nothing = spawn(*words, tmp_path / "none.png", **program)
    assert nothing.wait() == 1 and "none.png" in nothing.err
    assert cloud.term() == 0

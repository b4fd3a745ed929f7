"""Memory that runs out: the Nth allocation of Kerf's own code fails (tests/allocs),
for N over what a command allocates in all. It must end with one line or go on, and
never crash, leak, answer wrongly or leave something half-written.

A run tries some N of each command; KERF_EVERY_ALLOC=1 tries all of them:

    KERF_EVERY_ALLOC=1 ./dev test e2e -k allocs
"""

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import exact
import pytest
from conftest import COMPLAINT, SANITIZER_EXIT

TRIED = 40  # of the allocations of a command, unless all are
EVERY = os.environ.get("KERF_EVERY_ALLOC") == "1"


def chosen(count):
    """Which allocations fail: all, or the first ones and some spread over the rest."""
    if EVERY or count <= TRIED:
        return list(range(1, count + 1))
    first = TRIED // 4
    return sorted({*range(1, first + 1)} | {
        first + (count - first) * k // (TRIED - first) for k in range(1, TRIED - first + 1)
    })  # fmt: skip


class Sweep:
    def __init__(self, binary, env, tmp_path):
        self.binary, self.env, self.top = binary, env, tmp_path

    def once(self, n, words, folder):
        """Runs it with allocation n failing -> (status, out, err, allocations)."""
        folder.mkdir()
        count = folder.with_suffix(".count")
        done = subprocess.run(
            [self.binary, *map(str, words(folder))],
            env={**self.env, "KERF_FAIL_ALLOC": str(n), "KERF_ALLOC_COUNT": str(count)},
            cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        seen = int(count.read_text()) if count.exists() else None
        return done.returncode, done.stdout, done.stderr, seen

    def run(self, words, check):
        """words(folder) -> the command line; check(status, out, err, folder)."""
        status, out, err, count = self.once(0, words, self.top / "all")
        assert status == 0, err
        check(0, out, err, self.top / "all")

        def one(n):
            folder = self.top / f"n{n}"
            status, out, err, _ = self.once(n, words, folder)
            where = f"allocation {n} of {count}, status {status}:\n{out}{err}"
            assert status in (0, 1), where
            assert status != SANITIZER_EXIT and not COMPLAINT.search(err), where
            if status == 1:
                assert "memory" in err or "memory" in out, where
                assert len(err.splitlines()) <= 3, where
            check(status, out, err, folder)
            shutil.rmtree(folder)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(one, chosen(count)))


@pytest.fixture
def sweep(kerf_asan, base_env, tmp_path):
    (tmp_path / "sweep").mkdir()
    return Sweep(kerf_asan, base_env, tmp_path / "sweep")


def nothing_half_made(folder, *whole):
    """Only files of these names are there, none temporary."""
    left = sorted(p.name for p in folder.rglob("*"))
    assert set(left) <= set(whole), left


@pytest.mark.parametrize("name", ["kwz", "gzip", "xz", "zip", "tar.gz", "zst"])
def test_pack(sweep, run, repo, tmp_path, name):
    plain = tmp_path / "w"
    shutil.copy(repo / "models/digits/digits.pdiparams", plain)
    suffix = {"gzip": "gz", "bz2": "bz2"}.get(name, name)

    def check(status, _out, _err, folder):
        nothing_half_made(folder, *([] if status else [f"w.{suffix}"]))
        if status == 0:
            packed = folder / f"w.{suffix}"
            assert run("unpack", packed, "--out", folder / "o").status == 0
            assert (folder / "o" / "w").read_bytes() == plain.read_bytes()

    sweep.run(
        lambda folder: ["pack", plain, "--format", name, "--out", folder / f"w.{suffix}"], check
    )


@pytest.mark.parametrize("name", ["kwz", "xz", "zip"])
def test_unpack(sweep, run, repo, tmp_path, name):
    plain = repo / "models/digits/digits.pdiparams"
    packed = tmp_path / f"digits.pdiparams.{name}"
    assert run("pack", plain, "--format", name, "--out", packed).status == 0

    def check(status, _out, _err, folder):
        nothing_half_made(folder, *([] if status else [plain.name]))
        if status == 0:
            assert (folder / plain.name).read_bytes() == plain.read_bytes()

    sweep.run(lambda folder: ["unpack", packed, "--out", folder], check)


def test_look_into(sweep, run, repo, tmp_path):
    packed = tmp_path / "d.kwz"
    assert run("pack", repo / "models/digits", "--out", packed).status == 0
    sweep.run(lambda _: ["unpack", packed, "--list", "--json"], lambda *_: None)


def test_cut_list(sweep, repo):
    sweep.run(lambda _: ["cut", repo / "models/digits/digits.pdmodel"], lambda *_: None)


def test_cut_make(sweep, repo):
    def check(status, _out, _err, folder):
        if status != 0:
            nothing_half_made(folder)

    sweep.run(
        lambda folder: [
            "cut", repo / "models/digits/digits.pdmodel",
            "--at", "3", "--no-proof", "--out", folder / "pair",
        ],
        check,
    )  # fmt: skip


@pytest.fixture
def key(run, tmp_path):
    assert run("sign", "--new-key", tmp_path / "key").status == 0
    return tmp_path / "key"


def test_sign(sweep, run, key, tmp_path):
    exact.put(tmp_path / "models")

    def words(folder):
        shutil.copytree(tmp_path / "models", folder / "models")
        return ["sign", "m", "--key", key, "--models", folder / "models"]

    def check(status, _out, _err, folder):
        made = {"models", *exact.files()} | (set() if status else {"m.kerf.sig.json"})
        nothing_half_made(folder, *made)
        look = ["sign", "m", "--check", "--trust", f"{key}.pub", "--models", folder / "models"]
        assert run(*look).status == status

    sweep.run(words, check)


def make_keys(run, folder):
    """(flags of the cloud, flags of the edge) for TLS."""
    for words in [("authority",), ("cloud", "127.0.0.1"), ("edge", "door")]:
        assert run("keygen", *words, "--keys", folder).status == 0
    return ("--tls", folder / "clouds/cloud"), ("--tls", folder / "edges/door")


def test_keygen(sweep, run):
    def check(status, _out, _err, folder):
        left = [p.name for p in folder.rglob("*.tmp")]
        assert not left, left
        if status == 0:
            assert run("keygen", "cloud", "a.b", "--keys", folder / "keys").status == 0

    sweep.run(lambda folder: ["keygen", "authority", "--keys", folder / "keys"], check)


def test_keygen__edge(sweep, run, tmp_path):
    make_keys(run, tmp_path / "keys")

    def words(folder):
        shutil.copytree(tmp_path / "keys", folder / "keys")
        return ["keygen", "renew", "door", "cloud", "--keys", folder / "keys"]

    def check(_status, _out, _err, folder):
        """What was half done is made whole by the next one."""
        assert not list(folder.rglob("*.tmp"))
        assert run("keygen", "renew", "door", "cloud", "--keys", folder / "keys").status == 0

    sweep.run(words, check)


@pytest.mark.parametrize("wire", ["plain", "tls"])
def test_edge(sweep, run, start_cloud, kerf, key, tmp_path, wire):
    """Each edge comes with a store of its own; the cloud is well."""
    exact.put(tmp_path / "models", head_bytes=300_000)
    assert run("sign", "m", "--key", key, "--models", tmp_path / "models").status == 0
    its, mine = make_keys(run, tmp_path / "keys") if wire == "tls" else ((), ())
    cloud = start_cloud("--engine", "fake", "--models", tmp_path / "models", *its, binary=kerf)
    files = exact.inputs(tmp_path / "in", 3)

    def check(status, out, _err, folder):
        events = [json.loads(line) for line in out.splitlines()]
        results = [e for e in events if e["event"] == "result"]
        for e in results:
            assert e["outputs"][0]["values"] == exact.y_of(e["index"])
        assert len({e["index"] for e in results}) == len(results)
        assert status == 1 or len(results) == 3, events
        assert not list(folder.rglob("*.tmp"))

    sweep.run(
        lambda folder: [
            "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--once",
            "--codec", "q8", "--store", folder / "store", "--trust", f"{key}.pub", *mine,
            "--input", *files,
        ],
        check,
    )  # fmt: skip
    assert cloud.term() == 0


@pytest.mark.parametrize("wire", ["plain", "tls"])
def test_cloud(spawn, run, kerf, kerf_asan, tmp_path, wire):
    """What fails before it listens ends it with a line; later it costs at most a
    session, after which the edge asks again, or fails a request that says why."""
    exact.put(tmp_path / "models", head_bytes=300_000)
    files = exact.inputs(tmp_path / "in", 3)
    its, mine = make_keys(run, tmp_path / "keys") if wire == "tls" else ((), ())

    def serve(n):
        cloud = spawn(
            "cloud", "--json", "--engine", "fake", "--models", tmp_path / "models",
            "--cloud_port", 0, "--workers", 1, *its, binary=kerf_asan,
            env={"KERF_FAIL_ALLOC": n, "KERF_ALLOC_COUNT": tmp_path / f"{n}.count"},
        )  # fmt: skip
        while (line := cloud.next_line(60)) is not None:
            event = json.loads(line)
            if event["event"] == "listening":
                break
        if line is None:
            assert n > 0 and cloud.wait() == 1, cloud.report()
            assert len(cloud.err.splitlines()) == 1, cloud.report()
            return None
        edge = spawn(
            "edge", "--json", "--engine", "fake", "--cloud_port", event["port"], "--once",
            "--store", tmp_path / f"store{n}", "--deadline", 20_000, *mine, "--input", *files,
            binary=kerf,
        )  # fmt: skip
        found = edge.wait(60)
        results = [e for e in edge.events() if e["event"] == "result"]
        for e in results:
            assert e["outputs"][0]["values"] == exact.y_of(e["index"])
        failed = [e for e in edge.events() if e["event"] == "error"]
        assert found == (1 if failed else 0), edge.report() + cloud.report()
        assert sorted(e["index"] for e in results + failed) == [0, 1, 2], edge.report()
        assert all("memory" in e["why"] for e in failed), failed
        assert cloud.term() == 0, cloud.report()
        return int((tmp_path / f"{n}.count").read_text())

    count = serve(0)
    some = 1 if EVERY or wire == "plain" else 4
    for n in chosen(count)[::some]:
        serve(n)

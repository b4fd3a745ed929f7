"""kerf bench split: a small run has every number, and leaves nothing behind.

Nothing here is about how fast: that is what a person runs the benchmark for.
"""

import json
import math
import os
import signal

POSITIVE = [
    "crossing_bytes",
    "answer_bytes",
    "rounds",
    "runs",
    "window",
    "cores",
    "ratio_p50",
    "ratio_throughput",
    "throughput_hz",
    "limit_hz",
    "all_cores_throughput_hz",
    "all_cores_limit_hz",
    *(f"{what}_{q}_us" for what in ("head", "tail", "raw_tcp", "split") for q in ("p50", "p99")),
]
FINITE = ["idle_cloud_cpu_percent", "idle_edge_cpu_percent", "idle_cloud_kib_per_edge"]
TINY = ["--rounds", "1", "--runs", "50", "--seconds", "0.1", "--quiet", "--json"]
TIMEOUT = 240


def children_of(folder):
    """Command lines of running processes that name this folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read()
        except OSError:
            continue
        if str(folder).encode() in words:
            found.append(words)
    return found


def test_split__own_models__every_number(run, repo, tmp_path):
    bench = run(
        "bench", "split", *TINY, "--idle_edges", "3", "--idle_seconds", "0.2",
        cwd=repo, env={"TMPDIR": tmp_path}, timeout=TIMEOUT,
    )  # fmt: skip
    assert bench.status == 0, bench.err
    models = [json.loads(line) for line in bench.out.splitlines()]
    assert [m["model"] for m in models] == ["digits", "resnet18_32"]
    for m in models:
        for key in POSITIVE:
            assert math.isfinite(m[key]) and m[key] > 0, (m["model"], key, m[key])
        for key in FINITE:
            assert math.isfinite(m[key]), (m["model"], key, m[key])
        for key in ("idle_cloud_cpu_percent", "idle_edge_cpu_percent"):
            assert m[key] >= 0
        for what in ("head", "tail", "raw_tcp", "split"):
            assert m[f"{what}_p50_us"] <= m[f"{what}_p99_us"]
        assert m["crossing_bytes"] == 64 * 8 * 8 * 4
        assert m["answer_bytes"] == 10 * 4
    assert list(tmp_path.iterdir()) == []
    assert children_of(tmp_path) == []


def test_split__folder_of_pairs__only_those(run, digits, tmp_path):
    bench = run(
        "bench", "split", *TINY, "--models", digits, "--idle_edges", "0",
        env={"TMPDIR": tmp_path}, timeout=TIMEOUT,
    )  # fmt: skip
    assert bench.status == 0, bench.err
    (model,) = [json.loads(line) for line in bench.out.splitlines()]
    assert model["model"] == "digits"
    assert not any(key.startswith("idle_") for key in model)


def test_split__interrupted__nothing_is_left(spawn, digits, tmp_path):
    bench = spawn(
        "bench", "split", "--models", digits, "--rounds", "100",
        env={"TMPDIR": tmp_path},
    )  # fmt: skip
    bench.wait_err("round 1 of 100")
    bench.signal(signal.SIGINT)
    assert bench.wait() == 1
    assert "interrupted" in bench.err
    assert list(tmp_path.iterdir()) == []
    assert children_of(tmp_path) == []


def test_split__no_such_model__names_it(run, digits, tmp_path):
    bench = run(
        "bench", "split", "--models", digits, "--model", "lenet", env={"TMPDIR": tmp_path}
    )
    assert bench.status == 1
    assert "no model lenet" in bench.err
    assert list(tmp_path.iterdir()) == []


def test_bench__unknown_benchmark__usage(run):
    bench = run("bench", "nothing")
    assert bench.status == 2
    assert "nothing" in bench.err

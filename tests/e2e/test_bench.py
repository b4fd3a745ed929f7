"""kerf bench split, cut and transport: a small run has every number, and leaves nothing behind.

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


CUT_SPREADS = ["cut_s", "cp_s", "list_s"]
CUT_TINY = ["--rounds", "2", "--megabytes", "1", "--nodes", "12"]


def check_cut(m):
    assert m["nodes"] > 0 and m["bytes"] > 0 and m["rounds"] == 2
    for key in CUT_SPREADS:
        assert 0 < m[f"{key}_least"] <= m[key] <= m[f"{key}_most"] < math.inf, key
    for key in ("cut_own_bytes", "list_own_bytes"):
        assert 100_000 < m[key] < 2**40, (key, m[key])


def test_cut__own_models__every_number(run, tmp_path):
    bench = run(
        "bench", "cut", *CUT_TINY, "--json", "--quiet", env={"TMPDIR": tmp_path}, timeout=TIMEOUT
    )
    assert bench.status == 0 and bench.err == "", bench.err
    models = [json.loads(line) for line in bench.out.splitlines()]
    names = ["Paddle", "ONNX", "ONNX, external data", "Paddle, many nodes", "ONNX, many nodes"]
    assert [m["model"] for m in models] == names
    for m in models:
        check_cut(m)
        assert m["proved_s"] > m["cut_s_least"]
        # As many weights on one side as on the other.
        assert 0.4 < m["cut"] / m["nodes"] < 0.6, m
    for m in models[:3]:
        assert 900_000 < m["bytes"] < 1_200_000
    assert [m["nodes"] for m in models[3:]] == [12, 12]
    assert list(tmp_path.iterdir()) == []


def test_cut__a_model__table_and_bars(run, digits, tmp_path):
    bench = run(
        "bench", "cut", digits / "digits.pdmodel", "--rounds", "2",
        env={"TMPDIR": tmp_path}, timeout=TIMEOUT,
    )  # fmt: skip
    assert bench.status == 0, bench.err
    assert str(digits / "digits.pdmodel") in bench.out
    assert bench.out.count("bar: ") == 4 and "and proved" in bench.out
    assert "round 2 of 2" in bench.err
    assert list(tmp_path.iterdir()) == []


def test_cut__interrupted__nothing_is_left(spawn, tmp_path):
    bench = spawn(
        "bench", "cut", "--rounds", "1000", "--megabytes", "1", env={"TMPDIR": tmp_path}
    )
    bench.wait_err("round 1 of 1000")
    bench.signal(signal.SIGINT)
    assert bench.wait() == 1
    assert "interrupted" in bench.err
    assert list(tmp_path.iterdir()) == []
    assert children_of(tmp_path) == []


def test_cut__what_is_no_model__names_it(run, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    bench = run("bench", "cut", tmp_path / "bad.onnx", env={"TMPDIR": tmp_path})
    assert bench.status == 1
    assert "bad.onnx" in bench.err
    assert [p.name for p in tmp_path.iterdir()] == ["bad.onnx"]


def test_edges__three_hundred__every_number_and_equal_shares(run):
    done = run(
        "bench", "edges", "--edges", "8,300", "--seconds", "0.5", "--rate", "600", "--json",
        "--quiet", timeout=120,
    )  # fmt: skip
    assert done.status == 0, done.report()
    few, many = done.events()
    assert (few["edges"], many["edges"]) == (8, 300)
    for figures in (few, many):
        assert figures["event"] == "edges"
        for part in (figures["alone"], figures["beside_greedy"]):
            # All ask for the same: nobody's requests are those that are not answered.
            assert part["answered"] > 0 and part["jain"] > 0.9
            assert 0 < part["p50_us"] <= part["p99_us"]
        assert figures["beside_greedy"]["greedy_hz"] > 0
        assert figures["cpu_us_per_request"] > 0 and figures["busy_hz"] > 0
    assert many["rss_kib_per_edge"] > 0


def test_edges__what_is_no_number__usage(run):
    for bad in ["", "8,", "0", "8000", "8;9", "1,2,3,4,5,6,7,8,9"]:
        done = run("bench", "edges", "--edges", bad)
        assert done.status == 2 and done.err.count("\n") == 1, bad


def test_edges__too_few_files__says_what_to_raise(run):
    done = run("bench", "edges", "--edges", "300", prefix=["prlimit", "--nofile=512:512"])
    assert done.status == 1 and "ulimit -Hn" in done.err and done.err.count("\n") == 1


def test_transport__quick__every_number_and_sane(run, tmp_path):
    bench = run(
        "bench", "transport", "--quick", "--rounds", "1", "--json", "--quiet",
        env={"TMPDIR": tmp_path}, timeout=TIMEOUT,
    )  # fmt: skip
    assert bench.status == 0 and bench.err == "", bench.err
    sizes = [json.loads(line) for line in bench.out.splitlines()]
    assert [s["bytes"] for s in sizes] == [16 << 10, 256 << 10, 1 << 20, 4 << 20]
    for s in sizes:
        assert (s["answer_bytes"], s["window"], s["rounds"]) == (40, 8, 1)
        for way in ("raw", "kerf", "kerf_tls"):
            for key in (
                "p50_us", "p99_us", "throughput_hz", "client_cpu_us", "server_cpu_us",
                "loaded_client_cpu_us", "loaded_server_cpu_us", "client_rss_kib", "server_rss_kib",
            ):  # fmt: skip
                value = s[f"{way}_{key}"]
                assert math.isfinite(value) and value > 0, (s["bytes"], way, key, value)
            assert s[f"{way}_p50_us"] <= s[f"{way}_p99_us"]
            assert s[f"{way}_p50_us_least"] <= s[f"{way}_p50_us_most"]
            # The 8 tensors that are in flight, each in memory of its own.
            assert s[f"{way}_client_rss_kib"] * 1024 >= 8 * s["bytes"]
        for way in ("openssl", "zeromq", "nng", "grpc", "reference"):
            assert s[f"{way}_p50_us"] is None
        assert math.isclose(
            s["ratio_raw"], (s["kerf_p50_us"] - 10) / s["raw_p50_us"], rel_tol=1e-6, abs_tol=1e-9
        )
    assert list(tmp_path.iterdir()) == []
    assert children_of(tmp_path) == []


def test_transport__peer_that_fails__named_with_its_last_words(run, tmp_path):
    peer = tmp_path / "peers" / "peer-zeromq"
    peer.parent.mkdir()
    peer.write_text("#!/bin/sh\necho no such socket type >&2\nexit 1\n")
    peer.chmod(0o755)
    bench = run(
        "bench", "transport", "--rounds", "1", "--peers", peer.parent,
        env={"TMPDIR": tmp_path}, timeout=TIMEOUT,
    )  # fmt: skip
    assert bench.status == 1 and bench.out == ""
    assert "nng: not built, left out" in bench.err
    assert "error: zeromq: " in bench.err and "no such socket type" in bench.err
    assert list(tmp_path.iterdir()) == [peer.parent]


def test_peer__bad_words__usage(run):
    assert run("bench", "peer").status == 2
    assert run("bench", "peer", "raw", "server", "39").status == 2
    assert run("bench", "peer", "kerf", "server", "16384").status == 2

"""What the edge does with requests while no cloud is there: --offline."""

import collections
import contextlib

import exact
import pytest
import relay
import wire

FAKE = ("--engine", "fake")
DEAD = ("--dead-after", 0.3)


@pytest.fixture
def cloud_of(start_cloud, kerf_asan, tmp_path):
    exact.put(tmp_path / "models")

    def start(port=0, *more, models="models"):
        return start_cloud(*FAKE, "--models", tmp_path / models, *more, port=port, binary=kerf_asan)

    return start


@pytest.fixture
def edge_of(spawn, kerf_asan, tmp_path):
    def start(port, count, *more, store="store", prefix=(), mode="--json"):
        files = exact.inputs(tmp_path / f"in{count}", count)
        return spawn(
            "edge", mode, *FAKE, "--cloud_port", port, "--store", tmp_path / store, "--rate", 100,
            *DEAD, *more, "--input", *files, binary=kerf_asan, prefix=prefix,
        )  # fmt: skip

    return start


def of(edge, *kinds):
    return [e for e in edge.events() if e["event"] in kinds]


def records(store):
    return sorted((store / "queue").glob("*.req"))


def check_fates(edge, count=None):
    """Each input ends exactly once, results are right; the number per kind.
    count None: so many as there were, the edge was stopped."""
    ends = of(edge, "result", "error")
    count = len(ends) if count is None else count
    assert sorted(e["index"] for e in ends) == list(range(count)), edge.report()
    for event in of(edge, "result"):
        index = int(event["input"].rsplit("/", 1)[1].split(".")[0])
        assert event["outputs"][0]["values"] == exact.y_of(index), event
    (summary,) = of(edge, "summary")
    vias = collections.Counter(e["via"] for e in of(edge, "result"))
    assert summary["answered"] == len(of(edge, "result"))
    assert summary["failed"] == len(of(edge, "error"))
    assert [summary[f"via_{v}"] for v in ("cloud", "local", "queued")] == [
        vias[v] for v in ("cloud", "local", "queued")
    ]
    return vias


def test_fail__each_request_ends_with_the_reason__then_it_goes_on(cloud_of, edge_of):
    cloud = cloud_of()
    edge = edge_of(cloud.port, 50, "--offline", "fail", "--repeat", 0)
    edge.wait_event("result", index=5)
    cloud.kill()
    failed = edge.wait_event("error")
    assert "no cloud for 0.3 s: requests fail" in [e["text"] for e in of(edge, "state")]
    assert "no cloud for 0.3 s" in failed["why"]
    cloud = cloud_of(cloud.port)
    edge.wait_event("result")
    assert edge.term() == 1
    vias = check_fates(edge)
    assert vias["cloud"] > 5 and len(of(edge, "error")) > 0


def test_fail__no_cloud_at_the_start__with_what_the_store_has_or_one_line(
    cloud_of, edge_of, free_port
):
    cloud = cloud_of()
    assert edge_of(cloud.port, 1, "--once").wait() == 0
    cloud.kill()
    edge = edge_of(cloud.port, 3, "--offline", "fail", "--once")
    assert edge.wait() == 1
    check_fates(edge, 3)
    assert all("no cloud for 0.3 s" in e["why"] for e in of(edge, "error"))
    none = edge_of(free_port(), 3, "--offline", "fail", "--once", store="empty")
    assert none.wait() == 1
    (line,) = none.err.splitlines()
    assert "no cloud for 0.3 s" in line and "no model in --store" in line


@pytest.mark.parametrize("policy", ["fail", "queue"])
def test_no_cloud_at_the_start__damaged_head__named(policy, cloud_of, edge_of, tmp_path):
    cloud = cloud_of()
    assert edge_of(cloud.port, 1, "--once").wait() == 0
    cloud.kill()
    (tmp_path / "store" / "client_infer_m.pdiparams").write_bytes(b"short")
    edge = edge_of(cloud.port, 3, "--offline", policy, "--once")
    while "client_infer_m.pdiparams" not in edge.wait_event("state")["text"]:
        pass
    if policy == "queue":  # a cloud can still heal it
        cloud_of(cloud.port)
    assert edge.wait() == (0 if policy == "queue" else 1)
    assert ("client_infer_m.pdiparams" in edge.err) == (policy == "fail")


def test_queue__no_cloud_at_the_start_and_no_model__said__a_cloud_may_still_come(
    cloud_of, edge_of, free_port
):
    port = free_port()
    edge = edge_of(port, 3, "--offline", "queue", "--once")
    while "there is no model here yet" not in edge.wait_event("state")["text"]:
        pass
    cloud_of(port)
    assert edge.wait() == 0
    assert check_fates(edge, 3) == {"cloud": 3}


def test_queue__requests_wait_on_disk_and_are_sent_in_order(cloud_of, edge_of, tmp_path):
    one = ("--workers", 1)
    cloud = cloud_of(0, *one)
    edge = edge_of(cloud.port, 150, "--offline", "queue", "--once")
    edge.wait_event("result", index=5)
    cloud.kill()
    for _ in range(30):
        edge.wait_event("queued")
    assert len(records(tmp_path / "store")) >= 30
    cloud = cloud_of(cloud.port, *one)
    assert edge.wait() == 0, edge.report()
    vias = check_fates(edge, 150)
    assert vias["queued"] == len(of(edge, "queued")) >= 30 and vias["cloud"] >= 6
    assert not records(tmp_path / "store")
    # One worker: of two, one may be held up while the other goes on. What is on
    # its way as the link comes up may be sent in any order, the rest is not.
    late = [e["index"] for e in of(edge, "result") if e["via"] == "queued"]
    assert all(a < b + 4 for a, b in zip(late, late[1:]))


def test_queue__tensors_in_blocks(cloud_of, edge_of, tmp_path):
    """Coded, and made in several frames each."""
    exact.put(tmp_path / "wide", width=5000)
    cloud = cloud_of(models="wide")
    edge = edge_of(cloud.port, 60, "--offline", "queue", "--once", "--codec", "exact", "--block", 1)
    edge.wait_event("result", index=5)
    cloud.kill()
    for _ in range(5):
        edge.wait_event("queued")
    cloud_of(cloud.port, models="wide")
    assert edge.wait() == 0, edge.report()
    exact.check_results(edge, 60, width=5000)
    late = [e for e in of(edge, "result") if e["via"] == "queued"]
    assert len(late) >= 5 and all(e["coded_bytes"] < e["tensor_bytes"] for e in late)


def test_queue__survives_kill_9_and_restart_of_the_edge(cloud_of, edge_of, tmp_path):
    cloud = cloud_of()
    edge = edge_of(cloud.port, 400, "--offline", "queue", "--once")
    edge.wait_event("result", index=3)
    cloud.kill()
    for _ in range(25):
        edge.wait_event("queued")
    edge.kill()
    queued = {e["index"] for e in of(edge, "queued")}
    on_disk = len(records(tmp_path / "store"))
    assert on_disk >= len(queued) >= 25
    (tmp_path / "store" / "queue" / "0000000000000099.req.abcdef.tmp").write_bytes(b"half")
    cloud = cloud_of(cloud.port)
    again = edge_of(
        cloud.port, 1, "--offline", "queue", "--once", "--save", tmp_path / "saved"
    )  # fmt: skip
    assert again.wait() == 0, again.report()
    late = [e for e in of(again, "result") if e.get("earlier")]
    assert queued <= {e["index"] for e in late} and len(late) == on_disk
    assert {e["via"] for e in late} == {"queued"}
    saved = sorted((tmp_path / "saved").iterdir())
    assert len([path for path in saved if path.name.startswith("earlier-")]) == on_disk
    (own,) = [path for path in saved if not path.name.startswith("earlier-")]
    assert own.name == "000000.0.npy" and own.read_bytes().endswith(exact.floats(exact.y_of(0)))
    (summary,) = of(again, "summary")
    timed = [e["total_us"] for e in of(again, "result") if e["via"] == "cloud"]
    assert summary["p99_us"] == pytest.approx(max(timed, default=0.0))
    for event in late:
        assert event["outputs"][0]["values"] == exact.y_of(event["index"])
    assert not records(tmp_path / "store")


def test_queue__stopped_edge_leaves_it_for_the_next_run(cloud_of, edge_of, tmp_path):
    cloud = cloud_of()
    edge = edge_of(cloud.port, 400, "--offline", "queue", "--once")
    edge.wait_event("result", index=3)
    cloud.kill()
    edge.wait_event("queued")
    assert edge.term() == 0, edge.report()
    (summary,) = of(edge, "summary")
    assert summary["left_queued"] == len(of(edge, "queued")) == len(records(tmp_path / "store"))
    assert summary["asked"] == summary["answered"] + summary["left_queued"]


def test_queue__stopped_while_a_head_runs__the_request_is_queued_once(cloud_of, edge_of, tmp_path):
    exact.put(tmp_path / "slow", head={"cost_us": 300000, "cost": "sleep"})
    cloud = cloud_of(models="slow")
    assert edge_of(cloud.port, 1, "--once").wait() == 0
    cloud.kill()
    edge = edge_of(cloud.port, 1, "--offline", "queue", "--repeat", 0)
    edge.wait_event("queued")
    assert edge.term() == 0, edge.report()  # and the next head runs
    queued = [e["index"] for e in of(edge, "queued")]
    assert queued == list(range(len(queued))) and len(queued) >= 2
    (summary,) = of(edge, "summary")
    assert summary["left_queued"] == len(queued) == len(records(tmp_path / "store"))


@pytest.mark.parametrize("full", ["wait", "drop-oldest", "drop-new"])
def test_queue__bound_reached(full, cloud_of, edge_of, tmp_path):
    cloud = cloud_of()
    edge = edge_of(
        cloud.port, 120, "--offline", "queue", "--queue-max", "5K", "--queue-full", full, "--once"
    )  # fmt: skip
    edge.wait_event("result", index=3)
    cloud.kill()
    for _ in range(10):
        edge.wait_event("queued")
    if full != "wait":
        assert "full" in edge.wait_event("error")["why"]
    size = sum(path.stat().st_size for path in records(tmp_path / "store"))
    assert size <= 5000
    cloud_of(cloud.port)
    assert edge.wait() == (0 if full == "wait" else 1), edge.report()
    vias = check_fates(edge, 120)
    assert vias["queued"] >= 10
    failed = {e["index"] for e in of(edge, "error")}
    first = min(e["index"] for e in of(edge, "queued"))
    if full == "wait":
        assert not failed
    else:
        assert (first in failed) == (full == "drop-oldest")
    assert not records(tmp_path / "store")


def test_queue__bound_below_one_request__each_fails(cloud_of, edge_of, tmp_path):
    cloud = cloud_of()
    edge = edge_of(
        cloud.port, 50, "--offline", "queue", "--queue-max", 99, "--queue-full", "drop-oldest"
    )  # fmt: skip
    edge.wait_event("result", index=3)
    cloud.kill()
    assert "more than --queue-max" in edge.wait_event("error")["why"]
    assert edge.term() == 1
    assert not of(edge, "queued") and not records(tmp_path / "store")


def test_queue__disk_full__the_request_fails_and_nothing_half_written_stays(
    cloud_of, edge_of, disk_of, tmp_path
):
    disk = disk_of("256k")
    cloud = cloud_of()
    edge = edge_of(cloud.port, 150, "--offline", "queue", "--once", store="disk")
    edge.wait_event("result", index=3)
    filler = disk / "filler"
    cloud.kill()
    edge.wait_event("queued")
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    failed = edge.wait_event("error")
    assert "space" in failed["why"]
    filler.unlink()
    cloud_of(cloud.port)
    assert edge.wait() == 1
    check_fates(edge, 150)
    assert not records(disk)


def test_queue__a_damaged_record_is_told_and_the_rest_is_sent(cloud_of, edge_of, tmp_path):
    cloud = cloud_of()
    edge = edge_of(cloud.port, 400, "--offline", "queue", "--once")
    edge.wait_event("result", index=3)
    cloud.kill()
    for _ in range(5):
        edge.wait_event("queued")
    edge.kill()
    left = records(tmp_path / "store")
    data = bytearray(left[1].read_bytes())
    data[-1] ^= 1
    left[1].write_bytes(data)
    cloud = cloud_of(cloud.port)
    again = edge_of(cloud.port, 1, "--offline", "queue", "--once")
    assert again.wait() == 1
    assert len([e for e in of(again, "result") if e["via"] == "queued"]) == len(left) - 1
    (failed,) = of(again, "error")
    assert "damaged" in failed["why"]


def test_queue__a_record_that_cannot_be_read_for_a_while__nothing_is_lost(
    cloud_of, edge_of, tmp_path
):
    cloud = cloud_of()
    edge = edge_of(cloud.port, 400, "--offline", "queue", "--once")
    edge.wait_event("result", index=3)
    cloud.kill()
    for _ in range(5):
        edge.wait_event("queued")
    edge.kill()
    left = records(tmp_path / "store")
    aside = left[1].with_suffix(".aside")
    cloud = cloud_of(cloud.port)
    with relay.Relay(cloud.port) as link:
        link.freeze()
        again = edge_of(link.port, 1, "--offline", "queue", "--once")
        again.wait_event("queued")
        left[1].rename(aside)
        left[1].symlink_to(left[1].name)  # ELOOP
        link.thaw()
        again.wait_err("edge.queue_unreadable")
        aside.rename(left[1])
        assert again.wait() == 0, again.report()
    assert again.err.count("edge.queue_unreadable") == 1
    assert len([e for e in of(again, "result") if e["via"] == "queued"]) == len(left) + 1
    assert not of(again, "error") and not records(tmp_path / "store")


def test_queue__the_cloud_has_another_model_now__each_is_told(cloud_of, edge_of, tmp_path):
    exact.put(tmp_path / "others", bias=2, seed=2)
    cloud = cloud_of()
    edge = edge_of(cloud.port, 40, "--offline", "queue", "--once")
    edge.wait_event("result", index=3)
    cloud.kill()
    for _ in range(12):
        edge.wait_event("queued")
    cloud_of(cloud.port, models="others")
    assert edge.wait() == 1, edge.report()
    ends = of(edge, "result", "error")
    assert sorted(e["index"] for e in ends) == list(range(40))
    assert all("does not serve" in e["why"] for e in of(edge, "error"))
    assert len(of(edge, "error")) == len(of(edge, "queued"))
    assert not records(tmp_path / "store")


def test_queue__two_edges_with_one_store__one_line(cloud_of, edge_of):
    cloud = cloud_of()
    first = edge_of(cloud.port, 3, "--offline", "queue", "--repeat", 0)
    first.wait_event("result")
    second = edge_of(cloud.port, 3, "--offline", "queue", "--once")
    assert second.wait() == 1
    (line,) = second.err.splitlines()
    assert "--store" in line
    assert first.term() == 0


def test_link_vanishes_and_comes_back__queue(cloud_of, edge_of):
    """The cloud still has what it was asked, and may even have answered."""
    cloud = cloud_of(0, "--dead-after", 0.3)
    with relay.Relay(cloud.port) as link:
        edge = edge_of(link.port, 70, "--offline", "queue", "--once")
        edge.wait_event("result", index=5)
        link.freeze()
        edge.wait_event("queued")
        link.thaw()
        assert edge.wait() == 0, edge.report()
        check_fates(edge, 70)


def test_lines__say_queued_and_via(cloud_of, edge_of):
    cloud = cloud_of()
    edge = edge_of(cloud.port, 100, "--offline", "queue", "--once", mode="--summary")
    edge.wait_line("Tensor 5 ")
    cloud.kill()
    edge.wait_line("  queued$")
    cloud_of(cloud.port)
    edge.wait_line("  via queued$")
    assert edge.wait() == 0
    assert "by way of the queue" in edge.out


# ---- local -----------------------------------------------------------------------


def names(store):
    return sorted(path.name for path in store.iterdir())


def test_local__finishes_here_and_comes_back(cloud_of, edge_of, tmp_path):
    cloud = cloud_of(0, "--share-tail")
    edge = edge_of(cloud.port, 50, "--offline", "local", "--repeat", 0)
    edge.wait_event("result", index=5)
    cloud.kill()
    edge.wait_event("result", via="local")
    cloud = cloud_of(cloud.port, "--share-tail")
    edge.wait_event("result", via="cloud")
    assert edge.term() == 0, edge.report()
    vias = check_fates(edge)
    assert vias["local"] > 0 and vias["cloud"] > 6
    assert {"server_infer_m.pdmodel", "server_infer_m.pdiparams"} <= set(names(tmp_path / "store"))


def test_local__starts_from_the_store_when_no_cloud_is_there(cloud_of, edge_of):
    cloud = cloud_of(0, "--share-tail")
    assert edge_of(cloud.port, 5, "--offline", "local", "--once").wait() == 0
    cloud.kill()
    edge = edge_of(cloud.port, 5, "--offline", "local", "--once")
    assert edge.wait() == 0, edge.report()
    assert check_fates(edge, 5) == {"local": 5}


def test_local__deadline__too_late_fails__what_ends_after_it_is_late(cloud_of, edge_of, tmp_path):
    """A tail takes 0.4 s, and so does each that stands before it."""
    exact.put(tmp_path / "slow", tail={"cost_us": 400000, "cost": "sleep"})
    cloud = cloud_of(0, "--share-tail", models="slow")
    assert edge_of(cloud.port, 1, "--offline", "local", "--once").wait() == 0
    cloud.kill()
    edge = edge_of(cloud.port, 4, "--offline", "local", "--once", "--deadline", 300)
    assert edge.wait() == 1
    check_fates(edge, 4)
    assert all(e["late"] for e in of(edge, "result"))
    assert len(of(edge, "error")) >= 1
    assert all("deadline" in e["why"] for e in of(edge, "error"))


def test_queue__starts_from_the_store_when_no_cloud_is_there(cloud_of, edge_of, tmp_path):
    cloud = cloud_of()
    assert edge_of(cloud.port, 5, "--once").wait() == 0
    cloud.kill()
    edge = edge_of(cloud.port, 5, "--offline", "queue", "--once")
    for _ in range(5):
        edge.wait_event("queued")
    cloud_of(cloud.port)
    assert edge.wait() == 0, edge.report()
    assert check_fates(edge, 5) == {"queued": 5}


def test_local__a_cloud_that_keeps_its_tails__said_and_waits(cloud_of, edge_of, tmp_path):
    cloud = cloud_of()
    edge = edge_of(cloud.port, 100, "--offline", "local", "--once")
    edge.wait_event("result", index=5)
    assert [e for e in of(edge, "state") if "--share-tail" in e["text"]]
    cloud.kill()
    while "no tail" not in edge.wait_event("state", connected=False)["text"]:
        pass
    cloud_of(cloud.port)
    assert edge.wait() == 0
    assert check_fates(edge, 100) == {"cloud": 100}
    assert not [name for name in names(tmp_path / "store") if name.startswith("server_")]


def test_tail__is_not_given_away_unasked(cloud_of, edge_of, tmp_path):
    """An edge that does not want it does not get it; one that asks a cloud which
    keeps it is sent away."""
    cloud = cloud_of(0, "--share-tail")
    assert edge_of(cloud.port, 2, "--once").wait() == 0
    assert not [name for name in names(tmp_path / "store") if name.startswith("server_")]
    keeps = cloud_of()
    for at, port in ((wire.PART, cloud.port), (wire.ERROR, keeps.port)):
        with wire.Edge(port) as edge:
            bundle, manifest = edge.offered()
            part = [f["role"] for f in manifest["files"]].index("tail_graph")
            edge.control.send(wire.FETCH, wire.part(bundle, part, 0, 0))
            assert edge.control.recv_kind(wire.PART, wire.ERROR).kind == at


def test_local__damaged_tail_in_the_store__fetched_again(cloud_of, edge_of, tmp_path):
    cloud = cloud_of(0, "--share-tail")
    assert edge_of(cloud.port, 2, "--offline", "local", "--once").wait() == 0
    path = tmp_path / "store" / "server_infer_m.pdmodel"
    right = path.read_bytes()
    path.write_bytes(right.replace(b"0.25", b"0.75"))
    edge = edge_of(cloud.port, 2, "--offline", "local", "--once")
    assert edge.wait() == 0
    assert path.read_bytes() == right
    check_fates(edge, 2)


def test_local__bits_are_those_of_the_cloud(digits, start_cloud, spawn, kerf, tmp_path):
    """The real network, by OpenVINO, the same images: once there, once here."""
    cloud = start_cloud("--models", digits, "--share-tail", "--workers", 1, "--batch", 1)

    def go(*dead):
        edge = spawn(
            "edge", "--json", "--cloud_port", cloud.port, "--store", tmp_path / "store", "--once",
            "--offline", "local", *dead, "--input", digits / "images" / "3_011.png",
            digits / "images" / "7_005.png", digits / "images" / "9_065.png",
        )  # fmt: skip
        assert edge.wait() == 0, edge.report()
        return {e["index"]: (e["via"], e["outputs"]) for e in of(edge, "result")}

    there = go()
    cloud.kill()
    here = go(*DEAD)
    assert {via for via, _ in there.values()} == {"cloud"}
    assert {via for via, _ in here.values()} == {"local"}
    for index in range(3):
        assert there[index][1] == here[index][1]

"""What a cloud keeps on its disk of the pairs that it rolls out."""

import contextlib
import json
import os
import shutil
import signal
import time

import exact
import pytest
import test_rollout
import test_sign
import wire
from slowdisk import Disk
from test_rollout import EENGINE, Peer, bundles, many, rollout, shut, start_update, update

place, cloud_of = test_rollout.place, test_rollout.cloud_of  # fixtures
models, key, sign = test_sign.models, test_sign.key, test_sign.sign
edge_words = test_sign.edge_words

NOBODY = ("--rollout", "0.0001%")


def kept(models, bundle):
    """{name: bytes} of the copy of a pair."""
    folder = models / ".kerf-rollout" / "pairs" / bundle
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def state_in(folder):
    """Of the only model."""
    return json.loads((folder / "state.json").read_text())["models"][0]


def wait_until(holds):
    until = time.monotonic() + wire.PATIENCE
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def pairs_of(models):
    return sorted(p.name for p in (models / ".kerf-rollout" / "pairs").iterdir())


def test_old_pair__keeps_its_signature__over_a_restart(
    cloud_of, run, kerf_asan, models, sign, edge_words
):
    made = exact.put(models, bias=1)
    sign()
    made["m.kerf.sig.json"] = (models / "m.kerf.sig.json").read_bytes()
    cloud = cloud_of(*NOBODY)
    old = bundles(cloud)[0]
    exact.put(models, bias=2)
    sign()
    cloud.wait_event("rollout", state="running")
    assert cloud.term() == 0
    found = kept(models, old)
    assert json.loads(found.pop("m.kerf.sig.json")) == json.loads(made.pop("m.kerf.sig.json"))
    assert found == made

    cloud = cloud_of(*NOBODY)
    done = run(*edge_words(cloud.port, "--once"), binary=kerf_asan)
    assert done.status == 0, done.report()
    assert [e["bundle"] for e in done.events() if e["event"] == "model"] == [old]
    exact.check_results(done, 3, biases=(1,))


def test_signed_later__the_copy_is_signed_too(cloud_of, models, sign):
    exact.put(models, bias=1)
    cloud = cloud_of(*NOBODY)
    old = bundles(cloud)[0]
    assert "m.kerf.sig.json" not in kept(models, old)
    for days in ("30d", "60d"):
        expires = sign("--expires", days)["expires"]
        cloud.wait_event("signature", expires=expires)
        member = json.loads(kept(models, old)["m.kerf.sig.json"])
        assert json.loads(member["statement"])["expires"][:16] == expires[:16]


def test_copies__are_checked_by_content__and_hold_nothing_else(cloud_of, models, tmp_path):
    made = exact.put(models)
    cloud = cloud_of(*NOBODY)
    (old,) = bundles(cloud)
    assert cloud.term() == 0
    folder = models / ".kerf-rollout" / "pairs" / old
    names = sorted(made)
    away = tmp_path / "away"
    away.write_bytes(made[names[1]])
    (folder / names[0]).write_bytes(made[names[0]][:-1] + b"?")  # as long as it was
    (folder / names[1]).unlink()
    (folder / names[1]).symlink_to(away)  # what is there may change
    (folder / names[2]).unlink()
    (folder / f"{names[3]}.abc123.tmp").write_bytes(b"cut short")
    cloud = cloud_of(*NOBODY)
    assert kept(models, old) == made
    assert not (folder / names[1]).is_symlink()
    assert away.read_bytes() == made[names[1]]
    assert cloud.term() == 0


def test_link_in_place_of_a_copy__is_not_followed(cloud_of, models, tmp_path):
    exact.put(models, bias=1)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    pairs = models / ".kerf-rollout" / "pairs"
    pairs.mkdir(parents=True)
    (pairs / ("ab" * 32)).symlink_to(precious)
    cloud = cloud_of(*NOBODY)
    assert pairs_of(models) == bundles(cloud)
    assert (precious / "file").read_text() == "mine"
    assert cloud.term() == 0
    # The folder of all of them, too.
    pairs.rename(tmp_path / "moved")
    pairs.symlink_to(precious)
    cloud = cloud_of(*NOBODY)
    cloud.wait_err("cloud.pair_not_kept.*pairs: not a folder: remove it")
    assert [p.name for p in precious.iterdir()] == ["file"]


def test_two_models__the_copies_of_both_stay(cloud_of, models):
    exact.put(models, name="a", bias=1)
    exact.put(models, name="b", bias=2)
    cloud = cloud_of(*NOBODY)
    old = bundles(cloud)
    assert pairs_of(models) == sorted(old)
    exact.put(models, name="a", bias=3)
    new = cloud.wait_event("model", ok=True)["bundle"]
    assert pairs_of(models) == sorted([*old, new])


def test_restart__the_newest_of_several_models_stays_it(cloud_of, models):
    """The copy of an old pair is as old as the pair was."""
    for when, name in enumerate("mz"):
        for file in exact.put(models, name=name, bias=when):
            os.utime(models / file, (1e9 + when, 1e9 + when))
    cloud = cloud_of(*NOBODY)
    with Peer(cloud.port, "box") as peer:
        was = peer.given
    update(cloud, models, 5)
    with Peer(cloud.port, "box") as peer:
        assert peer.given == was
    assert cloud.term() == 0
    cloud = cloud_of(*NOBODY)
    with Peer(cloud.port, "box") as peer:
        assert peer.given == was


@pytest.mark.parametrize("how", ["missing", "damaged"])
@pytest.mark.parametrize("what", ["halt", "back", "resume", "over"])
def test_old_pair_is_lost__nobody_else_is_given_the_new_one(run, cloud_of, models, what, how):
    flags = ("--rollout", "30%")
    if what == "over":  # the pair changes while the cloud is away
        exact.put(models, bias=1)
        cloud = cloud_of(*NOBODY)
        (old,) = bundles(cloud)
        assert cloud.term() == 0
        exact.put(models, bias=2)
        flags, well = NOBODY, set()
    else:
        cloud, edges, chosen, others, old, new = start_update(cloud_of, models, *flags)
        for edge in chosen:
            edge.ready()
        rollout(run, cloud, what)
        shut(edges)
        assert cloud.term() == 0
        well = set() if what == "back" else {e.name for e in chosen}
    copy = models / ".kerf-rollout" / "pairs" / old
    away = models.parent / "away"
    copy.rename(away)
    if how == "damaged":
        shutil.copytree(away, copy)
        (copy / "client_infer_m.pdiparams").write_bytes(b"?")
    cloud = cloud_of(*flags)
    new = bundles(cloud)[0]
    cloud.wait_err("cloud.old_lost.*kerf rollout 100%")
    now = rollout(run, cloud)
    states = {"halt": "halted", "back": "back"}
    assert now["state"] == states.get(what, "running")
    assert "the old pair is lost: put its files back" in now["why"]
    edges = many(cloud, 16)
    for edge in edges:
        assert edge.given == (new if edge.name in well else None)
    if how == "missing":  # it comes back, and nobody has to say so
        away.rename(copy)
        wait_until(lambda: "lost" not in rollout(run, cloud)["why"])
        for edge in edges:
            assert edge.look() == (new if edge.name in well else old)
    else:
        rollout(run, cloud, "100%")
        assert {e.look() for e in edges} == {new}
        for edge in edges:
            edge.ready()
        cloud.wait_event("rollout", state="over")


def remove(cloud, models):
    """The pair, and waits until the cloud has seen it."""
    for path in models.iterdir():
        if path.is_file():
            path.unlink()
    cloud.wait_event("model", ok=False, why="removed from the folder")


def test_removed__then_another_comes__is_a_rollout_beside_the_old_one(run, cloud_of, models):
    exact.put(models, bias=1)
    cloud = cloud_of(*NOBODY)
    (old,) = bundles(cloud)
    edges = many(cloud, 3)
    for edge in edges:
        edge.ready()
    remove(cloud, models)
    new = update(cloud, models, 2)
    running = cloud.wait_event("rollout", state="running")
    assert (running["old_bundle"], running["new_bundle"]) == (old[:12], new[:12])
    assert {e.look() for e in [*edges, *many(cloud, 9)]} == {old}
    # Nor does it matter that the cloud was away meanwhile.
    remove(cloud, models)
    wait_until(lambda: rollout(run, cloud) is None)  # there is nothing to decide about
    assert "no model m is served" in rollout(run, cloud, "halt", "--model", "m", ok=False)
    assert cloud.term() == 0
    cloud = cloud_of(*NOBODY)
    assert bundles(cloud) == []
    newer = update(cloud, models, 3)
    cloud.wait_event("rollout", state="running", old_bundle=old[:12], new_bundle=newer[:12])
    assert {e.look() for e in many(cloud, 9)} == {old}


def test_removed_and_back__is_as_it_was(run, cloud_of, models):
    cloud, edges, chosen, others, old, new = start_update(cloud_of, models, "--rollout", "60%")
    for edge in chosen:
        edge.ready()
    rollout(run, cloud, "back")
    remove(cloud, models)
    assert update(cloud, models, 2) == new
    cloud.wait_event("rollout", state="back", new_bundle=new[:12])
    assert {e.look() for e in [*edges, *many(cloud, 3)]} == {old}
    # What is for all, and failed nowhere, is what the next one stands beside.
    rollout(run, cloud, "100%")
    remove(cloud, models)
    newer = update(cloud, models, 3)
    cloud.wait_event("rollout", state="running", old_bundle=new[:12], new_bundle=newer[:12])


def test_signed_again__changes_nothing_of_a_rollout(run, cloud_of, models, sign):
    exact.put(models, bias=1)
    sign()
    cloud = cloud_of("--rollout", "100%")
    (old,) = bundles(cloud)
    edges = many(cloud, 3)
    for edge in edges:
        edge.ready()
    exact.put(models, bias=2)
    sign()
    cloud.wait_event("rollout", state="running")
    bundles_there = len(bundles(cloud))
    for what, state in (("halt", "halted"), ("back", "back")):
        rollout(run, cloud, what)
        was = rollout(run, cloud)
        expires = sign("--expires", f"{30 + len(what)}d")["expires"]
        cloud.wait_event("signature", expires=expires)
        assert rollout(run, cloud) == was and was["state"] == state
    assert len(bundles(cloud)) == bundles_there + 2
    assert {e.look() for e in [*edges, *many(cloud, 3)]} == {old}


def test_first_signature__ends_a_halt_for_want_of_it__not_one_by_command(
    run, cloud_of, models, sign
):
    exact.put(models, bias=1)
    cloud = cloud_of("--rollout", "100%", "--rollout-halt", "20%")
    edges = many(cloud, 3)
    new = update(cloud, models, 2)
    cloud.wait_event("rollout", state="running")
    for edge in edges:
        assert edge.look() == new
        edge.ready(EENGINE, "it is not signed")
    cloud.wait_event("rollout", state="halted")
    sign()
    cloud.wait_event("rollout", state="running")
    assert {e.look() for e in edges} == {new}
    # It is no first signature when it was taken away and comes back.
    for edge in edges:
        edge.ready(EENGINE, "crash")
    cloud.wait_event("rollout", state="halted")
    signature = models / "m.kerf.sig.json"
    text = signature.read_bytes()
    for restart in (False, True):
        signature.unlink()
        before = len(bundles(cloud))
        if restart:
            shut(edges)
            assert cloud.term() == 0
            cloud = cloud_of("--rollout", "100%", "--rollout-halt", "20%")
            edges = many(cloud, 3)
        else:
            wait_until(lambda of=cloud, least=before: len(bundles(of)) > least)
        signature.write_bytes(text)
        cloud.wait_event("signature", version=1)
        assert rollout(run, cloud)["state"] == "halted"
        assert new not in {e.look() for e in edges}
    newer = update(cloud, models, 3)
    cloud.wait_event("rollout", state="running", new_bundle=newer[:12])
    rollout(run, cloud, "halt")
    cloud.wait_event("signature", version=sign()["version"])
    assert rollout(run, cloud)["state"] == "halted"
    assert newer not in {e.look() for e in edges}


def test_command_that_cannot_be_kept__says_so__is_kept_when_it_can(run, cloud_of, models):
    cloud, edges, chosen, others, old, new = start_update(cloud_of, models, "--rollout", "60%")
    state = models / ".kerf-rollout" / "state.json"
    folder = models / "folder"
    (folder / "in-its-way").mkdir(parents=True)
    while folder.exists():  # the cloud may be writing it
        state.unlink(missing_ok=True)
        with contextlib.suppress(NotADirectoryError):
            folder.rename(state)
    said = rollout(run, cloud, "back", ok=False)
    assert "done, but it cannot be kept" in said and "state.json" in said
    assert len(said.splitlines()) == 1
    assert {e.look() for e in edges} == {old}  # all the same
    assert rollout(run, cloud)["state"] == "back"
    (state / "in-its-way").rmdir()
    state.rmdir()
    cloud.wait_err("cloud.rollout_kept")  # nobody has to ask again
    assert state_in(state.parent)["state"] == "back"
    rollout(run, cloud, "resume")


def test_full_disk__a_halt_is_tried_again_when_the_cloud_stops(run, cloud_of, models, disk_of):
    disk = disk_of("256k")
    exact.put(models, bias=1)
    cloud = cloud_of("--rollout", "100%", "--rollout-dir", disk)
    peers = many(cloud, 2)
    update(cloud, models, 2)
    cloud.wait_event("rollout", state="running")
    wait_until(lambda: len(state_in(disk)["edges"]["offered"]) == 2)  # no more to write
    room = disk / "room"
    with pytest.raises(OSError, match="No space left"), room.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))
    said = rollout(run, cloud, "halt", ok=False)
    assert "No space left" in said
    assert state_in(disk)["state"] == "running"
    room.unlink()
    assert cloud.term() == 0
    assert state_in(disk)["state"] == "halted"
    assert not list(disk.glob("*.tmp"))
    assert peers


def test_trust__a_version_that_ran_is_left__when_the_old_one_is_signed_for_it(
    run, spawn, kerf_asan, cloud_of, models, key, sign, edge_words
):
    """As docs/OPERATIONS.md says, "Back"."""
    exact.put(models, bias=1)
    sign()
    cloud = cloud_of("--rollout", "99.9999%")  # never over by itself
    (old,) = bundles(cloud)
    edge = spawn(*edge_words(cloud.port, "--repeat", 0, "--rate", 20), binary=kerf_asan)
    edge.wait_event("signature", version=1)
    exact.put(models, bias=2)
    sign()
    edge.wait_event("signature", version=2)
    rollout(run, cloud, "back")
    assert "version 2 has run here" in edge.wait_event("model", ok=False)["why"]
    edge.wait_event("result")
    folder = models / ".kerf-rollout" / "pairs" / old
    time.sleep(1.1)  # statements have whole seconds, and this one has to be later
    done = run("sign", "m", "--key", key, "--models", folder, "--rollback-from", 2)
    assert done.status == 0 and "version 1" in done.out, done.report()
    rollout(run, cloud, "back")
    edge.wait_event("model", ok=True, bundle=old)
    edge.wait_event("signature", version=1, rollback_from=2)
    edge.wait_event("result")
    edge.signal(signal.SIGTERM)
    assert edge.wait() == 0, edge.report()
    # Also the next time, and for good when the copy is the pair again.
    assert cloud.term() == 0
    cloud = cloud_of("--rollout", "99.9999%")
    done = run(*edge_words(cloud.port, "--once"), binary=kerf_asan)
    assert done.status == 0, done.report()
    exact.check_results(done, 3, biases=(1,))
    for path in folder.iterdir():
        shutil.copy(path, models / path.name)
    cloud.wait_event("rollout", state="over")
    assert sign("--model-version", 1, "--rollback-from", 2)["bundle"] == old
    exact.put(models, bias=3)
    assert sign()["version"] == 3


def test_halted__the_old_one_is_signed_again__edges_get_more_time(
    run, spawn, kerf_asan, cloud_of, models, key, sign, edge_words
):
    exact.put(models, bias=1)
    sign("--expires", "13d")
    cloud = cloud_of(*NOBODY)
    (old,) = bundles(cloud)
    edge = spawn(*edge_words(cloud.port, "--repeat", 0, "--rate", 20), binary=kerf_asan)
    edge.wait_event("signature", version=1)
    exact.put(models, bias=2)
    sign()
    why = f"the old one, bundle {old[:12]}: it expires in "
    while not cloud.wait_event("signature")["why"].startswith(why):
        pass
    rollout(run, cloud, "halt")
    folder = models / ".kerf-rollout" / "pairs" / old
    done = run("sign", "m", "--key", key, "--models", folder, "--expires", "90d", "--json")
    expires = done.events()[0]["expires"]
    rollout(run, cloud, "halt")
    cloud.wait_event("signature", expires=expires, why="")
    edge.wait_event("signature", version=1, expires=expires)
    assert rollout(run, cloud)["state"] == "halted"
    edge.wait_event("result")
    edge.signal(signal.SIGTERM)
    assert edge.wait() == 0, edge.report()
    assert [e["bundle"] for e in edge.events() if e["event"] == "model"] == [old]


def test_second_cloud_on_one_folder__one_line(cloud_of, spawn, kerf_asan, place, models, tmp_path):
    exact.put(models)
    cloud = cloud_of(*NOBODY)
    words = ("cloud", "--json", "--engine", "fake", "--models", models, "--cloud_port", "0")
    words += ("--control", place / "d", *NOBODY)
    two = spawn(*words, binary=kerf_asan)
    assert two.wait() == 1
    assert "another cloud keeps its rollouts there" in two.err and "--rollout-dir" in two.err
    two = spawn(*words, "--rollout-dir", tmp_path / "two", binary=kerf_asan)
    two.wait_event("listening")
    assert cloud.term() == 0 and two.term() == 0


@pytest.fixture
def slow(start_cloud, models, tmp_path, place):
    """(a cloud whose --rollout-dir may hang, the disk)"""
    disk = Disk(tmp_path, tmp_path / "rollout")
    exact.put(models, bias=1)
    cloud = start_cloud(
        "--engine", "fake", "--models", models, "--control", place / "c", *NOBODY,
        "--rollout-dir", tmp_path / "rollout", env=disk.env,
    )  # fmt: skip
    cloud.control = place / "c"
    yield cloud, disk
    disk.gate.unlink(missing_ok=True)


def test_disk_hangs__commands_are_answered__and_the_cloud_ends(run, slow, models, tmp_path):
    cloud, disk = slow
    update(cloud, models, 2)
    wait_until(lambda: state_in(tmp_path / "rollout")["state"] == "running")
    disk.hang("rename")
    said = rollout(run, cloud, "halt", ok=False)
    assert "done, but it cannot be kept" in said and "does not answer" in said
    assert rollout(run, cloud)["state"] == "halted"
    assert cloud.term() == 0
    assert "cloud.disk_hangs" in cloud.err


def test_disk_hangs__while_a_pair_is_kept__the_cloud_ends(slow, models):
    cloud, disk = slow
    (old,) = bundles(cloud)
    disk.hang("rename")
    exact.put(models, bias=2)
    disk.wait_hanging()
    edges = many(cloud, 3)
    assert {e.look() for e in edges} == {old}
    shut(edges)
    assert cloud.term() == 0
    assert "cloud.disk_hangs" in cloud.err

"""What a cloud keeps on its disk of the pairs that it rolls out."""

import json
import os

import exact
from test_rollout import (  # noqa: F401 - some are fixtures
    Peer,
    bundles,
    cloud_of,
    place,
    update,
)
from test_sign import edge_words, key, models, sign  # noqa: F401 - fixtures

NOBODY = ("--rollout", "0.0001%")


def kept(models, bundle):
    """{name: bytes} of the copy of a pair."""
    folder = models / ".kerf-rollout" / "pairs" / bundle
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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

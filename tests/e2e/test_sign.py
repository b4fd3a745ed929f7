"""kerf sign, and what an edge with --trust runs: what is signed, whole, in time,
and no older than what ran. ../tamper has the campaign."""

import json
import re
import shutil
import signal
import subprocess
import time
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import exact
import pytest
import signing
import wire

FAKE = ("--engine", "fake")
YEAR = 365 * 86400


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def key(run, tmp_path):
    done = run("sign", "--new-key", tmp_path / "key")
    assert done.status == 0, done.report()
    return tmp_path / "key"


@pytest.fixture
def sign(run, models, key):
    def go(*args, name="m", status=0):
        done = run("sign", name, "--key", key, "--models", models, "--json", *args)
        assert done.status == status, done.report()
        return done.events()[0] if status == 0 else done.err

    return go


@pytest.fixture
def edge_words(models, key, tmp_path):
    """edge_words(port, ...): the words of an edge that trusts the key."""
    files = exact.inputs(tmp_path / "in", 3)

    def words(port, *args, trust=None, store="store"):
        return (
            "edge", "--json", *FAKE, "--cloud-port", port, "--store", tmp_path / store,
            "--trust", trust or f"{key}.pub", *args, "--input", *files,
        )  # fmt: skip

    return words


def serve(start_cloud, models, **more):
    return start_cloud(*FAKE, "--models", models, **more)


def refused(done):
    """The one line of an edge that ended since it may not run the model."""
    assert done.status == 1, done.report()
    (line,) = done.err.splitlines()
    assert not [e for e in done.events() if e["event"] == "result"]
    return line


# ---- kerf sign ---------------------------------------------------------------


def test_new_key__is_private__and_openssl_reads_it(run, key, tmp_path):
    assert key.stat().st_mode & 0o7777 == 0o600
    again = run("sign", "--new-key", key)
    assert again.status == 1 and "there already" in again.err
    shown = subprocess.run(
        ["openssl", "pkey", "-in", key, "-noout", "-text"], capture_output=True, text=True
    )
    assert "ED25519" in shown.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["key", "key.pub"]


def test_sign__openssl_agrees_and_check_trusts(run, sign, models, key, tmp_path):
    exact.put(models)
    event = sign("--expires", "90d")
    assert event["ok"] and event["version"] == 1
    made = json.loads((models / "m.kerf.sig.json").read_text())
    says = json.loads(made["statement"])
    assert says["model"] == "m" and says["bundle"] == event["bundle"]
    (tmp_path / "text").write_bytes(b"kerf-statement-1\n" + made["statement"].encode())
    (tmp_path / "sig").write_bytes(bytes.fromhex(made["signature"]))
    subprocess.run(
        ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", f"{key}.pub", "-rawin", "-in",
         tmp_path / "text", "-sigfile", tmp_path / "sig"], check=True, capture_output=True,
    )  # fmt: skip
    check = run("sign", "m", "--check", "--trust", f"{key}.pub", "--models", models)
    assert check.status == 0 and "Trusted m: version 1" in check.out


def test_sign__versions__count_up_and_contradictions_are_told(sign, models):
    exact.put(models)
    assert sign()["version"] == 1
    assert sign()["version"] == 1  # the same files: more time
    exact.put(models, bias=1)
    assert sign()["version"] == 2
    exact.put(models, bias=2)
    assert "other files" in sign("--model-version", 2, status=1)
    assert "--rollback-from 2" in sign("--model-version", 1, status=1)
    far = sign("--model-version", 1, "--rollback-from", 5000, status=1)
    assert "take no other version" in far
    assert sign("--model-version", 1, "--rollback-from", 2)["rollback_from"] == 2
    assert "that is over" in sign("--expires", "2020-01-01", status=1)
    assert "--expires soon" in sign("--expires", "soon", status=1)


def test_sign__only_a_permission_to_go_back_is_dated_ahead(sign, models):
    def issued(*args):
        return datetime.fromisoformat(sign(*args)["issued"]).timestamp()

    exact.put(models, bias=1)
    assert issued() <= time.time()
    exact.put(models, bias=2)
    last = issued()
    assert last <= time.time()
    exact.put(models, bias=1)
    for _ in range(2):  # newer than the last, also within a second
        back = issued("--model-version", 1, "--rollback-from", 2)
        assert back > last
        last = back
    exact.put(models, bias=3)
    assert issued() >= last
    exact.put(models, bias=1)
    assert issued("--model-version", 1, "--rollback-from", 3) > last


def test_sign__the_last_version_that_json_can_hold(run, sign, models, key):
    last = 2**53 - 1
    exact.put(models)
    assert sign("--model-version", 2**31, "--expires", "90d")["version"] == 2**31
    exact.put(models, bias=1)
    event = sign("--model-version", last)
    assert event["version"] == last
    says = json.loads(json.loads((models / "m.kerf.sig.json").read_text())["statement"])
    assert says["version"] == last
    check = run("sign", "m", "--check", "--trust", f"{key}.pub", "--models", models)
    assert check.status == 0 and f"version {last}" in check.out
    exact.put(models, bias=2)
    assert "the last that there is" in sign(status=1)
    back = sign("--model-version", last - 1, "--rollback-from", last)
    assert back["version"] == last - 1 and back["rollback_from"] == last
    done = run("sign", "m", "--key", key, "--model-version", last + 1)
    assert done.status == 2 and f"1 to {last}" in done.err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["m"],
        ["--check", "m"],
        ["--key", "k"],
        ["--new-key", "k", "m"],
        ["--new-key", "k", "--expires", "90d"],
        ["--key", "k", "m", "--trust", "k.pub"],
        ["--key", "k", "m", "--model-version", "3", "--rollback-from", "3"],
    ],
)
def test_sign__flags_that_make_no_sense__one_line(run, words):
    done = run("sign", *words)
    assert done.status == 2 and len(done.err.splitlines()) == 1


def test_sign__what_is_no_key_or_no_pair__one_line(run, models, key):
    exact.put(models)
    for words in (
        ["m", "--key", f"{key}.pub"],
        ["m", "--key", models / "none"],
        ["n", "--key", key],
        ["../m", "--key", key],
        ["m", "--check", "--trust", key],
        ["m", "--check", "--trust", models],
        ["m", "--check", "--trust", f"{key}.pub"],
    ):
        done = run("sign", *words, "--models", models)
        assert done.status == 1 and len(done.err.splitlines()) == 1, done.report()
    assert not (models / "m.kerf.sig.json").exists()


# ---- what runs -----------------------------------------------------------------


def test_edge__signed__runs_and_remembers(start_cloud, run, sign, models, edge_words, tmp_path):
    exact.put(models)
    sign("--model-version", 4)
    cloud = serve(start_cloud, models)
    done = run(*edge_words(cloud.port, "--once"))
    assert done.status == 0, done.report()
    exact.check_results(done, 3)
    (event,) = [e for e in done.events() if e["event"] == "signature"]
    assert event["version"] == 4 and event["checked"]
    ran = json.loads((tmp_path / "store" / "ran.json").read_text())["models"]["m"]
    assert ran["version"] == ran["highest"] == 4
    (event,) = [e for e in cloud.events() if e["event"] == "signature"]
    assert event["version"] == 4 and event["ok"]


def test_edge__without_trust__shows_it_and_runs_all(start_cloud, run, sign, models, tmp_path):
    exact.put(models)
    exact.put(models, name="n")
    sign()
    cloud = serve(start_cloud, models)
    for name, count in (("m", 1), ("n", 0)):
        done = run(
            "edge", "--json", *FAKE, "--cloud-port", cloud.port, "--store", tmp_path / "s",
            "--once", "--model", name, "--input", *exact.inputs(tmp_path / "in", 3),
        )  # fmt: skip
        assert done.status == 0, done.report()
        shown = [e["checked"] for e in done.events() if e["event"] == "signature"]
        assert shown == [False] * count
    assert not (tmp_path / "s" / "ran.json").exists()


def test_edge__legacy_and_trust__one_line(run, key):
    done = run("edge", "--legacy", "--trust", f"{key}.pub")
    assert done.status == 2 and "--trust does not go with --legacy" in done.err


def test_edge__keys_that_cannot_be_read__one_line_before_anything(run, edge_words, free_port):
    for trust in ("none.pub", "in"):
        done = run(*edge_words(free_port(), trust=trust))
        assert done.status == 1 and len(done.err.splitlines()) == 1
        assert trust in done.err


BAD = {
    "unsigned": (None, "not signed"),
    "other_key": ({"key": "other"}, "not among those of --trust"),
    "other_model": ({"model": "n"}, None),
    "expired": ({"expires": -1}, "expired"),
    "not_yet": ({"issued": 3600}, "set the clock"),
}


@pytest.mark.parametrize("kind", BAD)
def test_edge__not_to_be_trusted__one_line_here_and_on_the_cloud(
    kind, start_cloud, run, kerf_asan, models, edge_words, tmp_path
):
    made = exact.put(models)
    how, words = BAD[kind]
    good, other = signing.Key(b"g" * 32), signing.Key(b"o" * 32)
    pub = good.write(tmp_path / "good")
    files = [(role, name, made[name]) for role, name in zip(range(1, 5), made, strict=True)]
    if how is not None:
        how = {"model": "m", **how}
        signer = other if how.pop("key", None) else good
        text = signing.statement(bundle=wire.bundle_id(files), **how)
        signing.put(models, "m", signing.signed(signer, text))
    cloud = serve(start_cloud, models)
    line = refused(run(*edge_words(cloud.port, "--once", trust=pub), binary=kerf_asan))
    told = cloud.wait_event("shipped")
    assert not told["ok"] and told["bytes"] == 0 and told["why"] in line
    if words is None:  # the cloud sees that it is of another one, and sends none
        (event,) = [e for e in cloud.events() if e["event"] == "signature"]
        assert not event["ok"] and "of model n" in event["why"]
        words = "not signed"
    assert words in line
    assert not list((tmp_path / "store").glob("*infer*"))


def test_edge__folder_of_keys__any_of_them(
    start_cloud, run, sign, models, key, edge_words, tmp_path
):
    exact.put(models)
    sign()
    (tmp_path / "keys").mkdir()
    signing.Key(b"o" * 32).write(tmp_path / "keys" / "other")
    shutil.copy(f"{key}.pub", tmp_path / "keys")
    cloud = serve(start_cloud, models)
    done = run(*edge_words(cloud.port, "--once", trust=tmp_path / "keys"))
    assert done.status == 0, done.report()


def test_cloud__signature_that_ends_soon__warns(start_cloud, sign, models):
    exact.put(models)
    sign("--expires", "13d")
    cloud = serve(start_cloud, models)
    (event,) = [e for e in cloud.events() if e["event"] == "signature"]
    assert event["ok"] and re.match(r"it expires in 31[12] hours", event["why"])
    sign("--expires", "15d")
    assert cloud.wait_event("signature")["why"] == ""


# ---- changes under way --------------------------------------------------------


def test_updates__unsigned_waits_for_its_signature__older_needs_permission(
    start_cloud, spawn, kerf_asan, sign, models, edge_words, tmp_path
):
    """One edge through the life of a model, without a restart."""
    exact.put(models, bias=1)
    sign()
    old = tmp_path / "old"
    shutil.copytree(models, old)
    cloud = serve(start_cloud, models, binary=kerf_asan)
    words = edge_words(cloud.port, "--repeat", 0, "--rate", 50)
    edge = spawn(*words, binary=kerf_asan)
    edge.wait_event("signature", version=1)

    exact.put(models, bias=2)  # changed, and the signature is that of the old one
    assert "changed since it was signed" in cloud.wait_event("signature", ok=False)["why"]
    assert "not signed" in edge.wait_event("model", ok=False)["why"]
    assert not cloud.wait_event("shipped", ok=False)["ok"]
    edge.wait_event("result")  # the old one goes on
    sign()
    edge.wait_event("signature", version=2)
    assert cloud.wait_event("signature", version=2)["ok"]

    for name in exact.files():  # back, without a permission
        shutil.copy(old / name, models / name)
    sign("--model-version", 1, "--rollback-from", 2)
    lawful = (models / "m.kerf.sig.json").read_text()
    (models / "m.kerf.sig.json").write_text((old / "m.kerf.sig.json").read_text())
    cloud.wait_event("signature", version=1, rollback_from=0)
    assert "version 2 has run here" in edge.wait_event("model", ok=False)["why"]
    edge.wait_event("result")
    (models / "m.kerf.sig.json").write_text(lawful)
    edge.wait_event("signature", version=1, rollback_from=2)
    edge.wait_event("result")
    edge.signal(signal.SIGTERM)
    assert edge.wait() == 0, edge.report()
    ran = json.loads((tmp_path / "store" / "ran.json").read_text())["models"]["m"]
    assert (ran["version"], ran["highest"]) == (1, 2)


def test_signed_again__is_renewed_in_place(start_cloud, spawn, run, sign, models, edge_words):
    exact.put(models)
    first = sign("--expires", "1d")
    cloud = serve(start_cloud, models)
    edge = spawn(*edge_words(cloud.port, "--repeat", 0, "--rate", 50))
    assert edge.wait_event("signature")["expires"] == first["expires"]
    second = sign("--expires", "9d")
    assert edge.wait_event("signature")["expires"] == second["expires"]
    edge.wait_event("result")
    top = run("top", "--cloud-port", cloud.port, "--json", "--once").events()[0]
    assert [e["version"] for e in top["edge"]] == [1]
    edge.signal(signal.SIGTERM)
    assert edge.wait() == 0
    assert len([e for e in edge.events() if e["event"] == "received"]) == 2


@pytest.fixture
def clock(tmp_path):
    """(environment, set(seconds)): a wall clock that the test sets."""
    source = Path(__file__).with_name("shiftclock.c")
    library, shift = tmp_path / "shiftclock.so", tmp_path / "shift"
    subprocess.run(["cc", "-fPIC", "-shared", "-o", library, source, "-ldl"], check=True)

    def move(seconds):
        shift.with_suffix(".new").write_text(f"{seconds}\n")
        shift.with_suffix(".new").rename(shift)

    return {"LD_PRELOAD": library, "SHIFTCLOCK": shift}, move


def test_clock_before_it_was_signed__says_so(start_cloud, run, sign, models, edge_words, clock):
    env, move = clock
    exact.put(models)
    sign()
    cloud = serve(start_cloud, models)
    move(-10 * YEAR)
    line = refused(run(*edge_words(cloud.port, "--once"), env=env))
    assert "the clock here says" in line and "set the clock" in line


def test_expires_while_it_runs__waits_for_a_newer_one(
    start_cloud, spawn, sign, models, edge_words, clock
):
    env, move = clock
    exact.put(models)
    sign("--expires", "1d")
    cloud = serve(start_cloud, models)
    edge = spawn(*edge_words(cloud.port, "--repeat", 0, "--rate", 200), env=env)
    edge.wait_event("result")
    move(2 * 86400)
    assert "expired" in edge.wait_event("model", ok=False)["why"]
    assert "expired" in cloud.wait_event("shipped", ok=False)["why"]
    sign("--expires", "9d")
    edge.wait_event("signature")
    later = [e["event"] for e in edge.events()]
    end = later.index("model", later.index("result"))
    again = later.index("signature", end)
    # What the head had run by then may still be answered: a window of it.
    assert later[end:again].count("result") <= 9
    edge.wait_event("result")
    edge.signal(signal.SIGTERM)
    assert edge.wait() == 0, edge.report()


# ---- from the store ------------------------------------------------------------


def unsigned_bundle(tmp_path):
    """Puts the newest bundle of that model, whole and unsigned, into the store;
    its id."""
    store = tmp_path / "store"
    made = exact.files(bias=7)
    files = [(role, name, made[name]) for role, name in zip(range(1, 5), made, strict=True)]
    ident, body = wire.manifest("m", files)
    for _, _, data in files:
        (store / "parts" / sha256(data).hexdigest()).write_bytes(data)
    (store / "bundles" / f"{ident.hex()}.json").write_bytes(body)
    return ident.hex()


def test_local__only_what_passes__also_at_a_restart_without_a_cloud(
    start_cloud, run, spawn, sign, models, edge_words, clock, free_port, tmp_path
):
    env, move = clock
    exact.put(models)
    sign("--expires", "1d")
    cloud = start_cloud(*FAKE, "--models", models, "--share-tail")
    local = ("--offline", "local", "--dead-after", 0.5)
    assert run(*edge_words(cloud.port, "--once", *local), env=env).status == 0
    assert cloud.term() == 0
    alone = run(*edge_words(free_port(), "--once", *local), env=env)
    assert alone.status == 0, alone.report()
    assert {e["via"] for e in alone.events() if e["event"] == "result"} == {"local"}

    # An older bundle that was copied in is not taken for the one that ran.
    name = f"bundles/{unsigned_bundle(tmp_path)}.json"
    assert run(*edge_words(free_port(), "--once", *local), env=env).status == 0
    assert (tmp_path / "store" / name).exists()

    move(2 * 86400)
    late = spawn(*edge_words(free_port(), "--once", *local), env=env)
    while "expired" not in late.wait_event("state")["text"]:
        pass
    late.signal(signal.SIGTERM)
    late.wait()
    assert not [e for e in late.events() if e["event"] == "result"]


def test_local__expires_while_requests_wait__they_are_not_run(
    start_cloud, spawn, run, sign, models, edge_words, clock, free_port
):
    """Their heads have run; the tail, here, has not."""
    env, move = clock
    exact.put(models, tail={"cost_us": 100_000, "cost": "sleep"})
    sign("--expires", "1d")
    cloud = start_cloud(*FAKE, "--models", models, "--share-tail")
    local = ("--offline", "local", "--dead-after", 0.5)
    assert run(*edge_words(cloud.port, "--once", *local), env=env).status == 0
    assert cloud.term() == 0
    edge = spawn(*edge_words(free_port(), "--repeat", 0, *local), env=env)
    assert edge.wait_event("result")["via"] == "local"
    move(2 * 86400)
    while "expired before it was run" not in edge.wait_event("error")["why"]:
        pass
    edge.signal(signal.SIGTERM)
    edge.wait()


def test_gc__an_empty_store_still_knows_what_ran(
    start_cloud, run, sign, models, edge_words, tmp_path
):
    exact.put(models, bias=1)
    sign()
    old = tmp_path / "old"
    shutil.copytree(models, old)
    exact.put(models, bias=2)
    sign()
    cloud = serve(start_cloud, models)
    assert run(*edge_words(cloud.port, "--once")).status == 0
    assert run("store", "gc", "--store", tmp_path / "store", "--store-max", 1).status == 0
    assert not list((tmp_path / "store" / "bundles").iterdir())
    cloud = serve(start_cloud, old)
    line = refused(run(*edge_words(cloud.port, "--once")))
    assert "it is version 1, and version 2 has run here" in line

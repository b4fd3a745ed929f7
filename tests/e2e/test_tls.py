"""TLS between clouds and edges: who is refused, in words on both sides, and what
is taken while they run. Keys are made by `kerf keygen`. Strangers and floods:
test_tls_hostile.py."""

import json
import re
import shutil
import socket
import ssl
import time
from pathlib import Path

import exact
import pytest
import tls_fleet
import wire
from test_copies import cc
from tls_fleet import FAKE, client_of

made, fleet = tls_fleet.made, tls_fleet.fleet  # fixtures
cloud_of, edge_of = tls_fleet.cloud_of, tls_fleet.edge_of

HERE = Path(__file__).parent


def put(source, target):
    """As scp and mv do it: whole files."""
    for file in source.iterdir():
        temp = target / f".{file.name}.new"
        shutil.copy(file, temp)
        temp.rename(target / file.name)


def test_answers_are_right(every_kerf, fleet, cloud_of, edge_of):
    cloud = cloud_of(fleet("clouds/cloud"), binary=every_kerf)
    edge = edge_of(cloud.port, fleet("edges/door-1"), "--once", count=50, binary=every_kerf)
    assert edge.wait() == 0
    exact.check_results(edge, 50)
    assert cloud.wait_event("edge", joined=True)["edge"] == "door-1"
    assert cloud.term() == 0


def test_large_tensors_and_models(each_kerf, fleet, cloud_of, edge_of, tmp_path):
    """Many records per frame, both ways, more than the sockets hold."""
    exact.put(tmp_path / "models", width=300_000, head_bytes=9_000_000)
    cloud = cloud_of(fleet("clouds/cloud"), binary=each_kerf)
    edge = edge_of(cloud.port, fleet("edges/door-1"), "--once", count=20, binary=each_kerf)
    assert edge.wait() == 0
    exact.check_results(edge, 20, width=300_000)
    assert cloud.term() == 0


REFUSED = {
    "plain edge": (
        "clouds/cloud", None,
        "this cloud wants TLS: start the edge with --tls DIR", "this cloud wants TLS",
    ),
    "plain cloud": (
        None, "edges/door-1",
        "this cloud does not speak TLS: start it with --tls DIR", "the peer speaks TLS",
    ),
    "other fleet": (
        "clouds/cloud", "others",
        "the cloud's certificate .* is not of the authority", "does not know the authority",
    ),
    "other host": (
        "clouds/away", "edges/door-1",
        r"the cloud's certificate \(away\) is for other names", "does not take this cloud's",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused__both_say_why(case, fleet, cloud_of, edge_of):
    own, edges, edge_says, cloud_says = REFUSED[case]
    cloud = cloud_of(own and fleet(own))
    folder = fleet("edges/door-1", "others") if edges == "others" else edges and fleet(edges)
    edge = edge_of(cloud.port, folder)
    text = edge.wait_event("state", connected=False)["text"]
    assert re.search(edge_says, text), text
    cloud.wait_err(cloud_says)
    edge.term()
    assert cloud.term() == 0
    assert not [e for e in cloud.events() if e["event"] == "edge"]


def test_revoked_before__both_say_why(each_kerf, fleet, cloud_of, edge_of):
    mine = fleet.copy("edges/door-1", "mine")
    fleet.keygen("revoke", "door-1")
    cloud = cloud_of(fleet("clouds/cloud"), binary=each_kerf)
    edge = edge_of(cloud.port, mine, binary=each_kerf)
    text = edge.wait_event("state", connected=False)["text"]
    assert "the cloud says that this edge's certificate (door-1) is revoked" in text
    cloud.wait_err(r"the edge's certificate \(door-1\) is revoked: kerf keygen renew door-1")
    edge.term()
    assert cloud.term() == 0


def test_own_folder_is_wrong__one_line_at_the_start(run, fleet, tmp_path):
    models = tmp_path / "models"
    exact.put(models)

    def fails(command, folder, *more):
        done = run(command, *FAKE, "--tls", folder, *more)
        assert done.status == 1 and done.err.count("\n") == 1 and done.out == ""
        return done.err

    edge = ("edge", "--store", tmp_path / "store", "--input", "random", "--once")
    mine = fleet("edges/door-1")
    for folder, words in [
        (tmp_path / "nix", "no such folder"),
        (fleet("edges/old"), "expired on 2020-01-31"),
        (fleet("edges/new"), "not valid before 2030-01-01"),
        (fleet("clouds/away"), "is not an edge's"),
    ]:
        assert words in fails(edge[0], folder, *edge[1:])
    assert "leave --name out" in fails(edge[0], mine, *edge[1:], "--name", "x")
    (mine / "kerf.key").chmod(0o604)
    assert "chmod 600" in fails(edge[0], mine, *edge[1:])
    shutil.copy(fleet("edges/door-2") / "kerf.key", mine / "kerf.key")
    (mine / "kerf.key").chmod(0o600)
    assert "is not the key of" in fails(edge[0], mine, *edge[1:])
    cloud = ("cloud", "--models", models, "--cloud_port", 0)
    (fleet("clouds/cloud") / "crl.pem").unlink()
    assert "crl.pem is not there" in fails(cloud[0], fleet("clouds/cloud"), *cloud[1:])
    assert "is not a cloud's" in fails(cloud[0], fleet("edges/door-2"), *cloud[1:])


def test_without_tls__only_loopback__unless_insecure(run, spawn, tmp_path):
    exact.put(tmp_path / "models")
    args = ("cloud", *FAKE, "--models", tmp_path / "models", "--cloud_port", 0)
    for host in ["0.0.0.0", "::"]:
        for more in [(), ("--legacy",)]:
            done = run(*args, *more, "--cloud_host", host)
            assert done.status == 2 and "--insecure" in done.err and "kerf keygen" in done.err
    done = run("edge", *FAKE, "--legacy", "--edge_host", "0.0.0.0")
    assert done.status == 2 and "--insecure" in done.err
    done = run(*args, "--tls", tmp_path, "--insecure")
    assert done.status == 2
    for host in ["127.0.0.3", "localhost", "::1"]:
        cloud = spawn(*args, "--cloud_host", host)
        cloud.wait_line("^Listening on ")
        assert cloud.term() == 0 and cloud.err == ""


def test_a_name_that_turns__what_was_looked_at_is_listened_on(spawn, tmp_path):
    exact.put(tmp_path / "models")
    cc(tmp_path, "-fPIC", "-shared", "-o", "name.so", HERE / "slowname.c", "-ldl")
    count = tmp_path / "count"
    cloud = spawn(
        "cloud", *FAKE, "--models", tmp_path / "models", "--cloud_port", 0,
        "--cloud_host", "turns.example",
        env={"LD_PRELOAD": tmp_path / "name.so", "SLOWNAME_COUNT": count},
    )  # fmt: skip
    port = int(cloud.wait_line(r"^Listening on turns\.example:(\d+)")[1])
    assert count.read_text() == "."
    socket.create_connection(("127.0.0.1", port), wire.PATIENCE).close()
    with pytest.raises(ConnectionRefusedError):  # all addresses would be this one, too
        socket.create_connection(("127.0.0.2", port), wire.PATIENCE)
    assert cloud.term() == 0 and cloud.err == ""
    cloud = spawn(
        *cloud.argv[1:], env={"LD_PRELOAD": tmp_path / "name.so", "SLOWNAME_COUNT": count}
    )
    assert cloud.wait() == 1
    assert "turns.example without TLS" in cloud.err and "--insecure" in cloud.err


def test_revoke__ends_running_sessions(each_kerf, fleet, cloud_of, edge_of):
    cloud = cloud_of(fleet("clouds/cloud"), binary=each_kerf)
    mine = fleet.copy("edges/door-1", "mine")
    edge = edge_of(cloud.port, mine, "--repeat", 0, "--rate", 50, binary=each_kerf)
    edge.wait_event("result")
    fleet.keygen("revoke", "door-1")  # writes to the folder that the cloud follows
    text = edge.wait_event("state", connected=False)["text"]
    assert "the edge's certificate (door-1) is revoked" in text
    cloud.wait_event("edge", joined=False)
    cloud.wait_err(r"cloud.not_trusted .*\(door-1\) is revoked")
    text = edge.wait_event("state", connected=False)["text"]
    assert "this edge's certificate (door-1) is revoked" in text
    edge.term()
    assert cloud.term() == 0


def test_revoke__an_edge_looks_at_all_its_connections(each_kerf, fleet, edge_of):
    """At that of the tensors, too, whose cloud has its certificate of before."""
    before = fleet.copy("clouds/cloud", "before")
    fleet.keygen("renew", "cloud")
    mine = fleet.copy("edges/door-1", "mine")

    def accept(folder):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "kerf.crt", folder / "kerf.key")
        raw, _ = listener.accept()
        raw.settimeout(wire.PATIENCE)
        return wire.Peer(context.wrap_socket(raw, server_side=True))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(wire.PATIENCE)
        edge = edge_of(listener.getsockname()[1], mine, binary=each_kerf)
        with accept(fleet("clouds/cloud")) as control:
            control.recv_kind(wire.HELLO)
            control.send(wire.WELCOME, wire.welcome(heartbeat_ms=60_000))
            with accept(before) as tensors:
                tensors.recv_kind(wire.ATTACH)
                tensors.send(wire.ATTACHED)
                edge.wait_event("state", connected=True)
                fleet.keygen("revoke", "cloud", "--earlier")
                put(fleet("edges/door-1"), mine)
                text = edge.wait_event("state", connected=False)["text"]
                assert re.search(r"the cloud's certificate \(cloud\) is revoked", text), text
    edge.term()


def test_revoke__while_the_folder_is_broken(fleet, cloud_of, edge_of):
    cloud = cloud_of(fleet("clouds/cloud"))
    mine = fleet.copy("edges/door-1", "mine")
    edge = edge_of(cloud.port, mine, "--repeat", 0, "--rate", 50)
    edge.wait_event("result")
    (fleet("clouds/cloud") / "access").write_text("door-1\n")
    (fleet("clouds/cloud") / "kerf.key").write_text("half of it")
    fleet.keygen("revoke", "door-1")
    cloud.wait_err(r"cloud.not_trusted .*\(door-1\) is revoked")
    cloud.wait_err(r"error tls\.not_taken .*: key access; .*kerf\.key.*; .*access")
    edge.term()
    other = edge_of(cloud.port, fleet("edges/door-2"), "--once")
    assert other.wait() == 0
    assert cloud.term() == 0


def wait_until(is_so):
    until = time.monotonic() + wire.PATIENCE
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_folders_disk_hangs__edges_are_served(fleet, cloud_of, edge_of, tmp_path):
    """Nothing waits for it but what it would say; that is taken when it comes."""
    cc(tmp_path, "-fPIC", "-shared", "-o", "slowfile.so", HERE / "slowfile.c", "-ldl")
    hangs, count = tmp_path / "hangs", tmp_path / "count"
    cloud = cloud_of(
        fleet("clouds/cloud"),
        env={
            "LD_PRELOAD": tmp_path / "slowfile.so",
            "SLOWFILE_WHILE": hangs, "SLOWFILE_COUNT": count,
        },
    )  # fmt: skip
    mine = fleet.copy("edges/door-2", "mine")
    hangs.touch()
    try:
        fleet.keygen("revoke", "door-2")
        wait_until(count.exists)
        edge = edge_of(cloud.port, fleet("edges/door-1"), "--once")
        assert edge.wait() == 0
        other = edge_of(cloud.port, mine, "--repeat", 0, "--rate", 50, "--store", "other")
        other.wait_event("result")
        fleet.keygen("revoke", "old")  # meanwhile: looked at after that
        assert count.read_text() == "."
    finally:
        hangs.unlink()
    cloud.wait_err(r"cloud.not_trusted .*\(door-2\) is revoked")
    other.term()
    hangs.touch()
    fleet.keygen("revoke", "new")
    wait_until(lambda: count.read_text() == "..")
    cloud.signal(15)  # ends as soon as the disk lets it
    wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", cloud.port)) != 0)
    hangs.unlink()
    assert cloud.wait() == 0


def wait_taken(*processes, nth):
    """Until each has taken what is in its folder for the nth time."""
    for process in processes:
        process.wait_err(r"(?s)" + r"info tls\.taken .*" * nth)


def test_rotation__costs_no_request(each_kerf, fleet, cloud_of, edge_of):
    """All keys, and the authority, are replaced while requests go on."""
    mine, its = fleet.copy("edges/door-1", "mine"), fleet.copy("clouds/cloud", "its")
    cloud = cloud_of(its, binary=each_kerf)
    edge = edge_of(cloud.port, mine, "--repeat", 0, "--rate", 200, count=50, binary=each_kerf)
    edge.wait_event("result")
    fleet.keygen("renew", "authority")
    put(fleet("clouds/cloud"), its)
    put(fleet("edges/door-1"), mine)
    wait_taken(cloud, edge, nth=1)
    fleet.keygen("renew", "cloud", "old-cloud", "away")
    put(fleet("clouds/cloud"), its)
    wait_taken(cloud, nth=2)
    fleet.keygen("renew", "door-1", "door-2", "new", "old")
    put(fleet("edges/door-1"), mine)
    wait_taken(edge, nth=2)
    cloud.signal(2)  # the session is of the old keys: a new one needs the new ones
    port = cloud.port
    assert cloud.wait() == 0
    cloud = cloud_of(its, port=port, binary=each_kerf)
    edge.wait_event("state", connected=True)
    fleet.keygen("retire")
    put(fleet("clouds/cloud"), its)
    put(fleet("edges/door-1"), mine)
    wait_taken(cloud, nth=1)
    wait_taken(edge, nth=3)
    seen = len([e for e in edge.events() if e["event"] == "result"])
    while edge.wait_event("result")["index"] < seen + 20:
        pass
    edge.term()
    events = edge.events()
    assert not [e for e in events if e["event"] == "error"]
    indices = [e["index"] for e in events if e["event"] == "result"]
    assert sorted(indices) == list(range(len(indices)))
    lost = [e for e in events if e["event"] == "state" and not e["connected"]]
    assert len(lost) <= 2  # when the cloud was stopped
    assert cloud.term() == 0


def test_half_copied__the_old_keys_stay(fleet, cloud_of, edge_of):
    its = fleet.copy("clouds/cloud", "its")
    cloud = cloud_of(its)
    fleet.keygen("renew", "cloud")
    shutil.copy(fleet("clouds/cloud") / "kerf.crt", its / "kerf.crt")
    cloud.wait_err(r"error tls\.not_taken .* key; what was in use stays so: .*is not the key of")
    edge = edge_of(cloud.port, fleet("edges/door-1"), "--once")
    assert edge.wait() == 0
    shutil.copy(fleet("clouds/cloud") / "kerf.key", its / "kerf.key")
    wait_taken(cloud, nth=1)
    assert cloud.err.count("not_taken") == 1
    shutil.copy(fleet("clouds/away") / "access", its / "access")
    (its / "crl.pem").write_text("nonsense")
    cloud.wait_err("crl.pem: no lists of revoked certificates in it")
    edge = edge_of(cloud.port, fleet("edges/door-2"), "--once")
    assert edge.wait() == 0
    assert cloud.term() == 0


@pytest.fixture
def two_models(tmp_path):
    exact.put(tmp_path / "models", name="one", bias=1)
    exact.put(tmp_path / "models", name="two", bias=2)


def test_access__each_name_has_its_models(each_kerf, fleet, cloud_of, edge_of, two_models):
    folder = fleet("clouds/cloud")
    (folder / "access").write_text("door-1 one\ndoor-* t?o\nold\t*  # comment\n")
    cloud = cloud_of(folder, binary=each_kerf)
    for name, bias in [("door-1", 1), ("door-2", 2)]:
        edge = edge_of(cloud.port, fleet(f"edges/{name}"), "--once", "--store", name)
        assert edge.wait() == 0
        exact.check_results(edge, 3, biases=(bias,))
    edge = edge_of(cloud.port, fleet("edges/door-1"), "--model", "two", binary=each_kerf)
    text = edge.wait_event("state", connected=False)["text"]
    assert "the edge door-1 may not have the model two" in text
    cloud.wait_err("cloud.stranger .*door-1 may not have the model two")
    # ... until it may.
    (folder / "access").write_text("* *\n")
    edge.wait_event("result")
    edge.term()
    exact.check_results(edge, None, biases=(2,))
    assert cloud.term() == 0


def test_access__taken_back_while_it_runs(each_kerf, fleet, cloud_of, edge_of, two_models):
    folder = fleet("clouds/cloud")
    (folder / "access").write_text("* *\n")
    cloud = cloud_of(folder, binary=each_kerf)
    edge = edge_of(
        cloud.port, fleet("edges/door-1"), "--model", "one", "--repeat", 0, "--rate", 100,
        binary=each_kerf,
    )  # fmt: skip
    other = edge_of(
        cloud.port, fleet("edges/door-2"), "--model", "two", "--repeat", 0, "--rate", 100,
        "--store", "other", binary=each_kerf,
    )  # fmt: skip
    edge.wait_event("result")
    other.wait_event("result")
    (folder / "access").write_text("door-1 two\n* two\ndoor-2")
    cloud.wait_err("tls.not_taken .*access: line 3: a name without models")
    edge.wait_event("result")
    (folder / "access").write_text("door-1 two\ndoor-2 *\n")
    text = edge.wait_event("state", connected=False)["text"]
    assert "which models this edge may have has changed" in text
    text = edge.wait_event("state", connected=False)["text"]
    assert "the edge door-1 may not have the model one" in text
    edge.term()
    other.term()
    states = [e["connected"] for e in other.events() if e["event"] == "state"]
    assert False not in states  # nothing has changed for it
    assert cloud.term() == 0


def test_nothing_is_allowed__the_edge_is_told(fleet, cloud_of, edge_of):
    folder = fleet("clouds/cloud")
    (folder / "access").write_text("# nobody\n")
    cloud = cloud_of(folder)
    edge = edge_of(cloud.port, fleet("edges/door-1"))
    text = edge.wait_event("state", connected=False)["text"]
    assert "the edge door-1 may have no model of this cloud" in text
    edge.term()
    assert cloud.term() == 0


def test_fetch_and_requests_of_others__are_refused(fleet, cloud_of, two_models):
    """By a peer that knows the bundle's id, and asks without an offer."""
    folder = fleet("clouds/cloud")
    (folder / "access").write_text("door-1 one\ndoor-2 two\n")
    cloud = cloud_of(folder)
    models = {
        e["name"]: bytes.fromhex(e["bundle"]) for e in cloud.events() if e["event"] == "model"
    }
    assert set(models) == {"one", "two"}
    raw = socket.create_connection(("127.0.0.1", cloud.port), timeout=wire.PATIENCE)
    context = client_of(folder, fleet("edges/door-1"))
    with context.wrap_socket(raw, server_hostname="127.0.0.1") as sock:
        peer = wire.Peer(sock)
        peer.send(wire.HELLO, wire.hello(name="door-1"))
        token = peer.recv().meta[14:30]
        offered = peer.recv()
        assert offered.kind == wire.OFFER and offered.meta[:32] == models["one"]
        raw = socket.create_connection(("127.0.0.1", cloud.port), timeout=wire.PATIENCE)
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as tensors:
            two = wire.Peer(tensors)
            two.send(wire.ATTACH, token)
            assert two.recv().kind == wire.ATTACHED
            desc = [(wire.F32, 0, (1, 16), 64)]
            two.send(wire.TENSOR, wire.tensors(models["two"], desc), [bytes(64)], id=5)
            answer = two.recv()
            assert answer.kind == wire.FAILED and answer.id == 5
            two.send(wire.TENSOR, wire.tensors(models["one"], desc), [bytes(64)], id=6)
            assert two.recv().kind == wire.RESULT
            peer.send(wire.FETCH, wire.part(models["two"], 0))
            answer = peer.recv()
            assert answer.kind == wire.ERROR and "not offered" in answer.notice()[2]
    assert cloud.term() == 0


def test_takeover__goes_to_a_cloud_of_the_fleet(fleet, cloud_of, edge_of):
    first = cloud_of(fleet("clouds/cloud"))
    wrong = cloud_of(fleet("clouds/cloud", "others"))
    second = cloud_of(fleet("clouds/cloud"))
    hosts = ",".join(f"127.0.0.1:{cloud.port}" for cloud in [first, wrong, second])
    edge = edge_of(1, fleet("edges/door-1"), "--cloud_host", hosts, "--repeat", 0, "--rate", 50)
    edge.wait_event("result")
    first.kill()
    edge.wait_event("state", connected=True)
    edge.wait_event("result")
    texts = [e["text"] for e in edge.events() if e["event"] == "state"]
    assert f"connected to 127.0.0.1:{second.port}" in texts
    assert any("is not of the authority" in text for text in texts)
    edge.term()
    assert not [e for e in edge.events() if e["event"] == "error"]
    assert second.term() == 0 and wrong.term() == 0


def test_keygen__says_what_to_copy_where(run, tmp_path):
    keys = ("--keys", tmp_path / "keys")
    assert run("keygen", "authority", *keys).status == 0
    done = run("keygen", "cloud", "192.0.2.10", "cloud.example", *keys)
    assert done.status == 0 and str(tmp_path / "keys" / "clouds" / "cloud") in done.out
    done = run("keygen", "edge", "a", "b", "--key", "p256", *keys)
    assert done.status == 0 and done.out.count("kerf edge --tls") == 2
    for words in [("edge", "a"), ("cloud", "x"), ("authority",)]:
        done = run("keygen", *words, *keys)
        assert done.status == 1 and "--force" in done.err
    done = run("keygen", "renew", "a", *keys)
    assert done.status == 0 and "kerf keygen revoke a --earlier" in done.out
    done = run("keygen", "renew", "a", "--replace", *keys)
    assert done.status == 0 and "--earlier" not in done.out and "crl.pem" in done.out
    done = run("keygen", "list", "--all", "--json", *keys)
    lines = [e for e in map(json.loads, done.out.splitlines()) if e.get("name") == "a"]
    assert [e["state"] for e in lines] == ["revoked", "revoked", "valid"]
    for words in ("edge x --replace", "renew a --earlier", "revoke a --all"):
        assert run("keygen", *words.split(), *keys).status == 2
    done = run("keygen", "revoke", "b", *keys)
    assert done.status == 0 and "crl.pem" in done.out
    done = run("keygen", "list", "--json", *keys)
    found = {e.get("name"): e.get("state") for e in map(json.loads, done.out.splitlines())}
    assert found == {"cloud": "valid", "a": "valid", "b": "revoked", None: None}
    modes = {p.stat().st_mode & 0o777 for p in (tmp_path / "keys").rglob("*.key")}
    assert modes == {0o600}
    modes = {p.stat().st_mode & 0o777 for p in (tmp_path / "keys").rglob("*") if p.is_dir()}
    assert modes == {0o700}
    for words, says in [
        (["cloud"], "names and addresses"), (["edge"], "give a name"), (["frob"], "expected"),
        (["list", "x"], "takes no"), (["edge", "x", "--from", "soon"], "2027-01-31"),
    ]:  # fmt: skip
        done = run("keygen", *words, *keys)
        assert done.status == 2 and says in done.err and done.err.count("\n") == 1

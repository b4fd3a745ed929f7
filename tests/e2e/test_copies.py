"""No byte of a raw tensor is copied in user space between engine and socket, but
for answers of up to 1 KB that the edge reads several at a time: counted by a library that
stands in for memcpy, and read off the trace."""

import contextlib
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import wire
from nets import X, fold, model, near, only, put_pair, results, value, values_of

HERE = Path(__file__).resolve().parent
FAKE = ["--engine", "fake"]
BIG = 1 << 20  # elements of the large tensor: 4 MiB
FLOAT = 4
WIDE = 1 << 18  # elements of a tensor of 1 MB
Y = value("y", (1, 10), a=2.0**-10)
N = 50  # requests; loading and proving a model copies two payloads, once

COPIER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    size_t n = (size_t)atol(argv[1]), at = 0;
    char *a = malloc(n), *b = malloc(n);
    int pair[2];
    memset(a, argc, n);
    memset(b, argc + 1, n);
    for (int i = 0; i < 5; i++) {
        memcpy(b, a, n);
        memmove(a, b + 1, n - 1);
    }
    if (memcmp(a, b, n - 1) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return 1;
    while (at < n) {
        ssize_t sent = send(pair[0], a + at, n - at < 4096 ? n - at : 4096, 0);
        if (sent < 0 || recv(pair[1], b, (size_t)sent, MSG_WAITALL) != sent)
            return 1;
        at += (size_t)sent;
    }
    memmove(a + 100, a, 4000); /* overlapping, both ways */
    memmove(a, a + 100, 4000);
    return write(1, a, 10) == 10 ? 0 : 1;
}
"""


def cc(tmp, *args):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    subprocess.run([compiler, "-O1", "-fno-builtin", *args], check=True, cwd=tmp)


@pytest.fixture(scope="session")
def copycount(tmp_path_factory):
    """The library, or skip where the stand-in for memcpy cannot work."""
    if subprocess.run(["uname", "-m"], capture_output=True, text=True).stdout.strip() != "x86_64":
        pytest.skip("copycount.c copies with an x86-64 instruction")
    folder = tmp_path_factory.mktemp("copycount")
    library = folder / "copycount.so"
    cc(folder, "-fPIC", "-shared", "-o", library, HERE / "copycount.c", "-ldl")
    return library


@pytest.fixture
def counted(copycount, tmp_path):
    """counted(name) -> environment; counted.of(name) -> {what: bytes} at its end."""

    def env(name):
        return {"LD_PRELOAD": copycount, "COPYCOUNT_FILE": tmp_path / f"{name}.count"}

    def of(name):
        lines = (tmp_path / f"{name}.count").read_text().splitlines()
        return {line.split()[0]: int(line.split()[1]) for line in lines}

    env.of = of
    return env


def test_counter__counts(counted, base_env, tmp_path):
    """The control: a program that copies, and moves bytes over a socket."""
    (tmp_path / "copier.c").write_text(COPIER)
    cc(tmp_path, "-o", "copier", "copier.c")
    n = 1_000_000
    env = base_env | {k: str(v) for k, v in counted("copier").items()}
    copier = [tmp_path / "copier", str(n)]
    done = subprocess.run(copier, env=env, stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"\x02" * 10
    found = counted.of("copier")
    assert found["copied"] == 5 * n + 5 * (n - 1) + 2 * 4000
    assert (found["sent"], found["received"], found["written"]) == (n, n, 10)


# What is large: the tensors that cross the cut, or the answers.
HEAD_BIG = ([value("h", (1, BIG))], [value("y", (1, 10), a=2.0**-20)])
TAIL_BIG = ([value("h", (1, 64))], [value("y", (1, BIG))])


@pytest.fixture
def exchange(run, start_cloud, counted, tmp_path):
    """exchange(outputs of the head, of the tail, args) -> (edge, cloud), ended."""

    def go(head, tail, *args, edge_args=(), cost=None, env=True):
        x = value("x", (1, 64))
        inputs = [value(v["name"], v["shape"]) for v in head]
        slow = {} if cost is None else {"cost_us": cost, "cost": "sleep"}
        put_pair(tmp_path / "models", "big", model([x], head), model(inputs, tail, **slow))
        tensor = np.arange(64, dtype=np.float32).reshape(1, 64)
        np.save(tmp_path / "x.npy", tensor)
        cloud = start_cloud(
            "--models", tmp_path / "models", "--workers", "1", *FAKE, *args,
            env=counted("cloud") if env else None,
        )  # fmt: skip
        edge = run(
            "edge", "--json", "--once", "--cloud_port", cloud.port, "--store", tmp_path / "store",
            "--repeat", N, "--window", "4", *FAKE, *args, "--input", tmp_path / "x.npy",
            *edge_args,
            env=counted("edge") if env else None, timeout=120,
        )  # fmt: skip
        assert edge.status == 0, edge.report()
        assert cloud.term() == 0
        found = results(edge)
        assert len(found) == N and only(edge, "summary")["answered"] == N
        return edge, cloud, tensor

    return go


def test_large_tensors_to_the_cloud__are_not_copied(exchange, counted):
    edge, _, tensor = exchange(*HEAD_BIG)
    want = fold(fold(tensor, (1, BIG)), (1, 10), a=2.0**-20)
    assert all(near(values_of(r), want) for r in results(edge).values())
    payloads = N * BIG * FLOAT
    assert only(edge, "summary")["bytes_sent"] >= payloads
    ours, theirs = counted.of("edge"), counted.of("cloud")
    assert payloads <= ours["sent"] < payloads * 1.01
    assert payloads <= theirs["received"] < payloads * 1.01
    assert ours["copied"] < payloads / 10
    assert theirs["copied"] < payloads / 10


def test_several_in_flight__nor_does_the_kernel_copy_them(exchange, counted):
    """All but the first of a window, which is alone. The tail is slow enough."""
    exchange(*HEAD_BIG, cost=50_000)
    ours = counted.of("edge")
    assert N * BIG * FLOAT / 2 < ours["lent"] < ours["sent"]


def test_large_answers_to_the_edge__are_not_copied(exchange, counted):
    edge, _, tensor = exchange(*TAIL_BIG)
    want = fold(tensor, (1, BIG))
    for found in results(edge).values():
        (out,) = found["outputs"]
        assert (out["min"], out["max"]) == (want.min(), want.max())
        assert out["mean"] == pytest.approx(want.mean(dtype=np.float64))
    payloads = N * BIG * FLOAT
    ours, theirs = counted.of("edge"), counted.of("cloud")
    assert payloads <= theirs["sent"] < payloads * 1.01
    assert payloads <= ours["received"] < payloads * 1.01
    assert ours["copied"] < payloads / 10
    assert theirs["copied"] < payloads / 10


ASKED = 24


class Pair:
    """A pair of these values that cross, as clouds of this file offer it."""

    def __init__(self, width):
        h = value("h", (1, width))
        names = (f"{s}_infer_m.{e}" for s in ("client", "server") for e in ("pdmodel", "pdiparams"))
        texts = (model([X], [h]), "w", model([h], [Y]), "w")
        self.files = [
            (role, name, text.encode())
            for role, (name, text) in enumerate(zip(names, texts, strict=True), 1)
        ]
        self.ident, self.body = wire.manifest("m", self.files)

    def meet(self, cloud):
        control = cloud.greet(codecs=1, features=0, heartbeat_ms=600000)
        tensors = cloud.attach()
        wire.send_offer(control, self.ident, self.body)
        return control, tensors

    def answer(self, tensors, request):
        meta = wire.tensors(self.ident, [(wire.F32, 0, (1, 10), 40)], echo_ns=request.sent_ns)
        tensors.send(wire.RESULT, meta, [wire.floats(range(10))], id=request.id)


@pytest.fixture
def deserted(spawn, tmp_path):
    """deserted(cloud, width) -> an edge that has left a cloud which did not read, the
    pair, and its peers of before and of now."""

    def go(cloud, width):
        pair = Pair(width)
        edge = spawn(
            "edge", *FAKE, "--cloud_port", cloud.port, "--store", tmp_path / "store", "--json",
            "--input", "random:3", "--rate", 1000, "--repeat", ASKED,
            "--window", 8, "--dead-after", 1,
        )  # fmt: skip
        before = pair.meet(cloud)
        assert wire.serve_fetches(before[0], pair.files).kind == wire.READY
        edge.wait_event("state", connected=False)
        return edge, pair, before, pair.meet(cloud)

    return go


def test_lent_to_a_cloud_that_is_given_up__stays_as_it_was(deserted):
    """Another one gets all requests, in the same memory, one after the other. What the
    first one reads in the end is not of these."""
    with wire.Cloud() as cloud:
        edge, pair, (_, deaf), (_control, tensors) = deserted(cloud, WIDE)
        sent = {}
        for _ in range(ASKED):
            request = tensors.recv_kind(wire.TENSOR)
            sent[request.id] = request.payload
            pair.answer(tensors, request)
        assert edge.wait() == 0, edge.report()
        assert len(set(sent.values())) == len(sent) == ASKED
        late = []
        with pytest.raises(wire.Closed):
            while True:
                late.append(deaf.recv_kind(wire.TENSOR))
                assert late[-1].payload == sent[late[-1].id]
        assert len(late) > 1


@pytest.mark.parametrize("width", [250, 20_000])
def test_sent_again_after_a_neighbour_was_answered__is_as_it_was(deserted, width):
    """The memory of requests lies side by side, small ones in one page. One is answered,
    which begins a page, and its memory filled anew, while the others wait to be sent
    again."""
    with wire.Cloud() as cloud:
        edge, pair, _before, (_control, tensors) = deserted(cloud, width)
        sent, turned_away, answered = {}, set(), set()
        while len(answered) < ASKED:
            request = tensors.recv_kind(wire.TENSOR)
            assert request.payload == sent.setdefault(request.id, request.payload)
            if request.id in turned_away or request.id % 8 == 5:
                answered.add(request.id)
                pair.answer(tensors, request)
            else:
                turned_away.add(request.id)
                tensors.send(wire.BUSY, wire.notice(wire.EBUSY, 20), id=request.id)
        assert edge.wait() == 0, edge.report()
        assert len(set(sent.values())) == ASKED


@pytest.mark.parametrize("rate", [0, 2000])
def test_small_requests__go_together_and_none_waits_for_another(
    rate, run, start_cloud, counted, tmp_path
):
    """Those that are made at once do; by the time that the next input is waited for, or
    there is none, all have gone."""
    many = 2000
    x, h, y = value("x", (1, 64)), value("h", (1, 4096), once=True), value("y", (1, 10))
    put_pair(tmp_path / "models", "s", model([x], [h]), model([h], [y]))
    np.save(tmp_path / "x.npy", np.ones((1, 64), np.float32))
    cloud = start_cloud("--models", tmp_path / "models", *FAKE)
    edge = run(
        "edge", "--json", "--once", "--cloud_port", cloud.port, "--store", tmp_path / "store",
        "--repeat", many, "--rate", rate, *FAKE, "--input", tmp_path / "x.npy",
        env=counted("edge"), timeout=120,
    )  # fmt: skip
    assert edge.status == 0, edge.report()
    assert only(edge, "summary")["answered"] == many
    ours = counted.of("edge")
    assert ours["left"] == 0
    assert 100 < ours["held"] < many


def pointers(process, event, word, least):
    """Addresses that large pieces were sent from or received at."""
    lines = re.findall(rf"{event} conn=\d+ {word}=(0x[0-9a-f]+) len=(\d+)", process.err)
    return [at for at, size in lines if int(size) >= least]


def buffers_of(addresses):
    """Where they begin: blocks, and receives that go on in the middle of a payload,
    are inside of them."""
    buffers = []
    for at in sorted({int(at, 16) for at in addresses}):
        if not buffers or at >= buffers[-1] + BIG * FLOAT:
            buffers.append(at)
    return buffers


def test_trace__shows_the_same_memory_again_and_again(exchange):
    """Every payload is sent from one of the window's buffers and received at one
    of the cloud's: no more than there are, however many requests."""
    edge, cloud, _ = exchange(*HEAD_BIG, "--log", "trace", env=False)
    sent = pointers(edge, "net.send", "from", 1000)
    assert len(sent) >= N and 1 <= len(buffers_of(sent)) <= 4
    received = pointers(cloud, "net.recv", "at", 1)
    assert 1 <= len(buffers_of(received)) <= 16


# ---- another machine, as far as addresses tell ------------------------------

LOST = 40  # requests of which packets are
HERE_IP, THERE_IP = "10.77.0.1", "10.77.0.2"


def must(*words):
    subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True)


@pytest.fixture
def namespaces():
    """Two network namespaces, a link between them: prefixes of commands in each."""
    tools = ("unshare", "nsenter", "ip", "tc")
    if not all(map(shutil.which, tools)):
        pytest.skip("no unshare, nsenter, ip or tc")
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode != 0:
        pytest.skip("cannot make a network namespace: it needs root")
    with contextlib.ExitStack() as stack:
        inside = []
        for _ in range(2):
            holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
            stack.callback(holder.wait)
            stack.callback(holder.kill)
            inside.append(["nsenter", "--net", "--target", str(holder.pid)])
        own = subprocess.run(["readlink", "/proc/self/ns/net"], capture_output=True).stdout
        for prefix in inside:  # until unshare has done its work, it is our own
            while subprocess.run([*prefix, "readlink", "/proc/self/ns/net"],
                                 capture_output=True).stdout == own:  # fmt: skip
                time.sleep(0.01)
        edge, cloud = inside
        must(*edge, *"ip link add va type veth peer name vb netns".split(), cloud[-1])
        for prefix, device, address in ((edge, "va", HERE_IP), (cloud, "vb", THERE_IP)):
            must(*prefix, "ip", "address", "add", f"{address}/24", "dev", device)
            must(*prefix, "ip", "link", "set", device, "up")
            must(*prefix, "ip", "link", "set", "lo", "up")
        yield edge, cloud


def retransmitted(prefix):
    text = subprocess.run([*prefix, "cat", "/proc/net/snmp"], capture_output=True, text=True).stdout
    names, numbers = (line.split() for line in text.splitlines() if line.startswith("Tcp:"))
    return int(numbers[names.index("RetransSegs")])


def test_lent__packets_are_lost__all_answers_are_right(
    namespaces, counted, kerf, base_env, tmp_path
):
    """They are sent again from the edge's memory, which must still be what it was."""
    at_edge, at_cloud = namespaces
    x = value("x", (1, 64))
    h = value("h", (1, WIDE))
    y = value("y", (1, 10), a=2.0**-20)
    put_pair(tmp_path / "models", "m", model([x], [h]), model([h], [y]))
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    tensors = [np.arange(64, dtype=np.float32).reshape(1, 64) * (i + 1) for i in range(LOST)]
    for i, tensor in enumerate(tensors):
        np.save(inputs / f"{i:03}.npy", tensor)
    # A queue of a dozen packets: what comes in bursts is cut short.
    must(*at_edge, *"tc qdisc add dev va root tbf rate 400mbit burst 16kb limit 20kb".split())
    cloud = subprocess.Popen(
        [*at_cloud, kerf, "cloud", "--models", tmp_path / "models", *FAKE, "--json",
         "--cloud_host", THERE_IP, "--cloud_port", "0", "--insecure"],
        env=base_env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        port = next(
            e["port"] for e in map(json.loads, cloud.stdout) if e["event"] == "listening"
        )
        edge = subprocess.run(
            [*at_edge, kerf, "edge", *FAKE, "--json", "--once",
             "--cloud_host", THERE_IP, "--cloud_port", str(port), "--store", tmp_path / "store",
             "--input", inputs, "--window", "4"],
            env=base_env | {k: str(v) for k, v in counted("edge").items()},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    finally:
        cloud.terminate()
        cloud.wait()
        cloud.stdout.close()
    assert edge.returncode == 0, edge.stderr[-3000:]
    found = [e for e in map(json.loads, edge.stdout.splitlines()) if e["event"] == "result"]
    assert len(found) == LOST
    for result in found:
        want = fold(fold(tensors[result["index"]], (1, WIDE)), (1, 10), a=2.0**-20)
        assert near(values_of(result), want)
    assert retransmitted(at_edge) > 10
    assert counted.of("edge")["lent"] > 0.9 * LOST * WIDE * FLOAT

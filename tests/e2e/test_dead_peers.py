"""Peers that are there and do nothing: frozen, behind a link that vanished, or mute.
Each is found within --dead-after, and nothing is lost."""

import signal

import exact
import pytest
import relay
import wire

FAKE = ("--engine", "fake")
DEAD = ("--dead-after", 0.5)
COUNT = 60


@pytest.fixture
def cloud(start_cloud, kerf_asan, tmp_path):
    exact.put(tmp_path / "models")
    return start_cloud(*FAKE, *DEAD, "--models", tmp_path / "models", binary=kerf_asan)


@pytest.fixture
def edge_of(spawn, kerf_asan, tmp_path):
    def start(port, *more):
        files = exact.inputs(tmp_path / "in", COUNT)
        return spawn(
            "edge", "--json", *FAKE, "--cloud_port", port, "--once", "--store", tmp_path / "store",
            "--rate", 100, *more, "--input", *files, binary=kerf_asan,
        )  # fmt: skip

    return start


def check_all_answered(edge):
    assert edge.wait() == 0, edge.report()
    exact.check_results(edge, COUNT)


def test_cloud_frozen__edge_leaves_it_and_comes_back(cloud, edge_of):
    edge = edge_of(cloud.port)
    edge.wait_event("result", index=5)
    cloud.signal(signal.SIGSTOP)
    lost = edge.wait_event("state", connected=False)
    assert "silent" in lost["text"] and "trying again" in lost["text"]
    cloud.signal(signal.SIGCONT)
    check_all_answered(edge)


def test_edge_frozen__cloud_drops_it__the_edge_comes_back(cloud, edge_of):
    edge = edge_of(cloud.port)
    edge.wait_event("result", index=5)
    edge.signal(signal.SIGSTOP)
    gone = cloud.wait_event("edge", joined=False)
    assert "silent" in gone["why"]
    edge.signal(signal.SIGCONT)
    check_all_answered(edge)


def test_link_vanished__both_sides_find_it(cloud, edge_of):
    with relay.Relay(cloud.port) as link:
        edge = edge_of(link.port)
        edge.wait_event("result", index=5)
        link.freeze()
        assert "silent" in edge.wait_event("state", connected=False)["text"]
        # What dials now is taken by the relay, and nobody answers.
        assert "does not answer" in edge.wait_event("state", connected=False)["text"]
        link.thaw()
        check_all_answered(edge)
    assert "silent" in cloud.wait_event("edge", joined=False)["why"]


def test_only_the_tensor_connection_is_dead__edge_finds_it(cloud, edge_of):
    with relay.Relay(cloud.port) as link:
        edge = edge_of(link.port)
        edge.wait_event("result", index=5)
        link.freeze(1)
        assert "connection for tensors" in edge.wait_event("state", connected=False)["text"]
        check_all_answered(edge)


def test_mute_cloud__is_left_and_dialled_again(edge_of, tmp_path):
    with wire.Cloud() as mute:
        edge = edge_of(mute.port, *DEAD)
        with mute.accept() as silent:
            assert "does not answer" in edge.wait_event("state")["text"]
            silent.recv_kind(wire.HELLO)
        with mute.accept() as again:
            assert again.recv_kind(wire.HELLO)
        assert edge.term() in (0, 1)


def test_edge_may_be_more_patient_than_the_cloud__it_pings_in_time_all_the_same(edge_of):
    """A third of its own time would be longer than this test may take."""
    with wire.Cloud() as cloud:
        edge = edge_of(cloud.port, "--dead-after", 3600)
        with cloud.greet(heartbeat_ms=100) as control, cloud.attach() as tensors:
            for peer in (control, tensors, control, tensors):
                ping = peer.recv_kind(wire.PING)
                peer.send(wire.PONG, wire.pong(ping.sent_ns, ping.sent_ns))
            assert edge.term() in (0, 1)

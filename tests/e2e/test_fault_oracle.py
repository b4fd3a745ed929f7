"""The oracle of `./dev faults` (tests/faults): it sees what is lost, wrong or doubled."""

import importlib
import sys
from types import SimpleNamespace

import exact
import pytest


@pytest.fixture(scope="module")
def campaign(repo):
    other = sys.modules.pop("campaign", None)  # that of tests/cuts
    sys.path.insert(0, str(repo / "tests" / "faults"))
    yield importlib.import_module("campaign")
    sys.path.pop(0)
    del sys.modules["campaign"]
    if other is not None:
        sys.modules["campaign"] = other


def y_of(index, bias=0):
    return exact.y_of(index, sys.modules["world"].WIDTH, bias)


def result(at, index, values=None):
    outputs = [{"values": y_of(index) if values is None else values}]
    return at, {"event": "result", "input": f"in/{index:06}.npy", "outputs": outputs}


def judged(campaign, *lives):
    """Fates of an edge that was given ten inputs."""
    edge = SimpleNamespace(
        number=0,
        inputs=[f"in/{index:06}.npy" for index in range(10)],
        lives=[SimpleNamespace(events=list(life)) for life in lives],
        results=lambda: (e for life in lives for e in life if e[1]["event"] == "result"),
    )
    fates = campaign.Fates()
    campaign.judge_edge(edge, campaign.Oracle.__new__(campaign.Oracle), fates)
    return fates


def test_oracle__all_answered_once(campaign):
    fates = judged(campaign, [result(i, i) for i in range(4)], [result(i, i) for i in range(4, 7)])
    assert fates.requests == 7
    assert fates.lost == fates.wrong == fates.doubled == fates.failed == []


def test_oracle__another_model_is_right_too(campaign):
    assert judged(campaign, [result(0, 0, y_of(0, bias=1))]).wrong == []


def test_oracle__lost(campaign):
    assert judged(campaign, [result(1, 0), result(2, 1), result(3, 3)]).lost == [(0, 2)]


def test_oracle__doubled__in_one_life_and_in_two(campaign):
    assert judged(campaign, [result(1, 0), result(2, 0)]).doubled == [(0, 2)]
    assert judged(campaign, [result(1, 0)], [result(5, 0)]).doubled == [(0, 5)]


def test_oracle__wrong__also_the_right_answer_of_another_request(campaign):
    assert judged(campaign, [result(7, 0, y_of(1))]).wrong == [(0, 7)]


def test_oracle__failed_with_a_reason(campaign):
    error = (3, {"event": "error", "index": 1, "input": "in/000001.npy", "why": "no cloud"})
    fates = judged(campaign, [result(1, 0), error, result(4, 2)])
    assert fates.failed == [(0, 3, "no cloud")] and fates.lost == []


def test_plan__same_seed_same_faults__no_two_on_one_edge(campaign):
    kinds = sys.modules["kinds"]
    edges = [SimpleNamespace(number=n, disk=True, cloud=None) for n in range(8)]
    world = SimpleNamespace(has_faketime=True, is_root=True, edges=edges)

    def plan(seed):
        rng = campaign.random.Random(seed)
        return [
            [(f.name, [e.number for e in f.edges], f.seconds) for f in faults]
            for faults in kinds.Planner(world, 120, rng).rounds()
        ]

    assert plan(1) == plan(1) != plan(2)
    planned = plan(1)
    assert sum(map(len, planned)) == 120
    names = {name for faults in planned for name, _, _ in faults}
    assert names == {k.name for k in kinds.EDGE_KINDS + kinds.CLOUD_KINDS}
    for faults in planned:
        taken = [n for _, numbers, _ in faults for n in numbers]
        assert len(taken) == len(set(taken)) and faults

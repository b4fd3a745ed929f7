"""Tails that take less time than to hand them to a worker run on the cloud's
loop, where their tensors arrived: what comes back is the same."""

import re

import nets

H_SHAPE = (1, 64)
REQUESTS = 1000


def answers(spawn, start_cloud, tmp_path, name, **tail):
    """Of a tail that answers another number for each input, and how often the
    loop ran it."""
    models = tmp_path / f"models-{name}"
    x = nets.value("x", H_SHAPE)
    h = nets.value("h", H_SHAPE)
    y = nets.value("y", (1, 2))
    nets.put_pair(models, "m", nets.model([x], [h]), nets.model([h], [y], **tail))
    cloud = start_cloud("--engine", "fake", "--models", models, "--quiet", "--log", "trace")
    edge = spawn(
        "edge", "--engine", "fake", "--json", "--cloud_port", cloud.port, "--once",
        "--store", tmp_path / f"store-{name}", "--input",
        nets.save_tensors(tmp_path / f"in-{name}", nets.some_tensors(1, REQUESTS, H_SHAPE)),
    )  # fmt: skip
    assert edge.wait() == 0, edge.report()
    found = nets.results(edge)
    assert sorted(found) == list(range(REQUESTS))
    cloud.term()
    return [found[i]["outputs"] for i in range(REQUESTS)], len(
        re.findall(r"cloud\.ran_here id=", cloud.err)
    )


def test_quick_tail__runs_where_it_arrives_with_the_same_answers(spawn, start_cloud, tmp_path):
    quick, here = answers(spawn, start_cloud, tmp_path, "quick")
    slow, none = answers(spawn, start_cloud, tmp_path, "slow", cost_us=100)
    assert none == 0
    assert here > 0  # most, where nobody interrupts them
    assert quick == slow
    assert len({str(a) for a in quick}) == REQUESTS, "answers do not tell requests apart"

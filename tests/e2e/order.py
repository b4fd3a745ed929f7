"""Longest tests first, as they took last time, so that no worker is left with
one when the others are done. The times are kept in build/kept."""

import json
import os

import kept
import pytest

TIMES = kept.ROOT / "times.json"
times = {}  # of this run: test -> seconds


def times_before():
    try:
        return json.loads(TIMES.read_text())
    except (FileNotFoundError, ValueError):
        return {}


@pytest.hookimpl(optionalhook=True)  # of xdist
def pytest_configure_node(node):
    """All workers must see the same times, or their orders differ."""
    node.workerinput["times"] = times_before()


def pytest_collection_modifyitems(config, items):
    took = getattr(config, "workerinput", {}).get("times", {})
    items.sort(key=lambda item: -took.get(item.nodeid, 0))


def pytest_runtest_logreport(report):
    times[report.nodeid] = times.get(report.nodeid, 0) + round(report.duration, 2)


def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput") or not times:
        return
    kept.ROOT.mkdir(parents=True, exist_ok=True)
    part = TIMES.with_suffix(f".{os.getpid()}.tmp")
    part.write_text(json.dumps(times_before() | times, indent=0))
    part.replace(TIMES)

"""The campaign of ../tamper, small: each way to tamper with a bundle once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tamper"))
import tamper  # noqa: E402


@pytest.mark.parametrize("make", tamper.WORLDS)
def test_tampered_bundles__each_kind__none_runs(make, kerf_asan, monkeypatch):
    monkeypatch.setattr(tamper, "KERF", kerf_asan)
    tried, controls = tamper.run(2, {make: len(tamper.WORLDS[make])}, workers=3, most=3)
    assert not [one for one in tried if one.ran]
    assert not tamper.missing(tried, [make])
    assert controls > 2

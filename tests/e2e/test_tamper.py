"""The campaign of ../tamper, small: each way to tamper with a bundle once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tamper"))
import campaign


@pytest.mark.parametrize("make", campaign.WORLDS)
def test_tampered_bundles__each_kind__none_runs(make, kerf_asan, monkeypatch):
    monkeypatch.setattr(campaign, "KERF", kerf_asan)
    tried, controls = campaign.run(2, {make: len(campaign.WORLDS[make])}, workers=3, most=3)
    assert not [one for one in tried if one.ran]
    assert not campaign.missing(tried, [make])
    assert controls > 2

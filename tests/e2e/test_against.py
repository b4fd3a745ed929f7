"""`kerf run --against`: what another run saved is compared, and any difference
is said and is exit status 1."""

import numpy as np
import pytest
from nets import only, put, save_tensors, small_whole, some_tensors

FAKE = ["--engine", "fake"]
LABELS = {"kerf_card": 1, "task": "classify", "input": {"kind": "tensor"}}


@pytest.fixture
def rig(run, tmp_path):
    """rig(card=) -> (saved folder, against(args...) -> an ended run)"""

    def make(card=None):
        graph = small_whole(tmp_path / "m", card=card)
        inputs = save_tensors(tmp_path / "in", some_tensors(1, 3))
        saved = tmp_path / "saved"
        assert run("run", graph, *FAKE, "--input", inputs, "--save", saved).status == 0

        def against(*args):
            return run("run", graph, *FAKE, "--input", inputs, "--against", saved, *args)

        return saved, against

    return make


def last(done):
    return done.out.splitlines()[-1]


def change(path, how):
    values = np.load(path)
    np.save(path, how(values))


def test_equal__says_so(rig):
    _, against = rig(LABELS)
    done = against()
    assert done.status == 0, done.report()
    assert last(done) == "equal labels: 3 of 3, max abs difference 0"
    told = only(against("--json"), "against")
    assert told["good"] and (told["differ"], told["extra"], told["max_abs_diff"]) == (0, 0, 0)


def test_values_off__differ_by_the_tolerance(rig):
    saved, against = rig()
    change(saved / "000001.0.npy", lambda v: v + np.float32(0.01) * np.ptp(v))
    done = against()
    assert done.status == 1, done.report()
    assert last(done).startswith("compared: 3, max abs difference 0.")
    assert last(done).endswith(", 1 of 3 inputs differ")
    assert against("--tolerance", "0.02").status == 0
    assert against("--tolerance", "-1").status == 2


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_not_finite__differs_and_json_invents_nothing(rig, odd):
    saved, against = rig()

    def spoil(v):
        v[0, 3] = odd
        return v

    change(saved / "000002.0.npy", spoil)
    done = against("--json")
    told = only(done, "against")
    assert done.status == 1 and not told["good"]
    assert told["max_abs_diff"] is None and told["differ"] == 1


@pytest.mark.parametrize(
    "how", [lambda v: v.astype(np.float64), lambda v: v.reshape(-1)], ids=["dtype", "shape"]
)
def test_other_kind__differs(rig, how):
    saved, against = rig()
    change(saved / "000000.0.npy", how)
    done = against()
    assert done.status == 1 and "000000.0.npy is f" in done.err
    assert last(done).endswith(", 1 of 3 inputs differ")


def test_missing_and_extra__differ(rig):
    saved, against = rig()
    outputs = sorted(saved.glob("*.npy"))
    put(saved / "000000.input.npy", b"not an output")
    assert against().status == 0
    put(saved / "000003.0.npy", outputs[0].read_bytes())
    done = against()
    assert done.status == 1 and last(done).endswith(", 1 saved outputs have no pair here")
    (saved / "000003.0.npy").rename(saved / "000000.1.npy")
    assert against().status == 1
    (saved / "000000.1.npy").unlink()
    outputs[1].unlink()
    done = against()
    assert done.status == 1 and "000001.0.npy" in done.err
    assert last(done).endswith(", 1 of 3 inputs differ")


def test_label_off__differs(rig):
    saved, against = rig(LABELS)
    change(saved / "000000.0.npy", lambda v: v[:, ::-1].copy())
    done = against("--tolerance", "1")
    assert done.status == 1
    assert last(done).startswith("equal labels: 2 of 3, ")

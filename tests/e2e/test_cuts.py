"""A sample of ./dev cuts: small models that are hard to cut, every cut proved by
the engine, two of each in Paddle or onnxruntime."""

import campaign
import graphs
import pytest
import zoo

SAMPLE = """
shared.paddle early.paddle several.paddle shapes.paddle in_place.paddle loop.paddle
branches.paddle words.paddle gate.paddle unet.paddle reader.paddle ssd.paddle
gate.json shared.json several.json
early.onnx shapes.onnx onnx_torch_resnet.onnx onnx_torch_view.onnx onnx_keras.onnx
onnx_early.onnx onnx_branch.onnx onnx_loop.onnx onnx_old.onnx onnx_external.onnx
onnx_tied.onnx onnx_quantised.onnx onnx_boxes.onnx onnx_lstm.onnx onnx_half.onnx
onnx_lists.onnx onnx_function.onnx
""".split()
BY_NAME = {model.name: model for model in zoo.MODELS}


@pytest.fixture(scope="session")
def models():
    """{name.form: path} of what can be made here; made once."""
    wanted = [(BY_NAME[name], form) for name, form in (one.split(".") for one in SAMPLE)]
    wanted = [(model, form) for model, form in wanted if not zoo.lacks(model, form)]
    paths = zoo.ensure(wanted)
    return {f"{model.name}.{form}": path for (model, form), path in zip(wanted, paths)}


@pytest.mark.parametrize("one", SAMPLE)
def test_every_cut__is_proved(kerf, models, one):
    name, form = one.split(".")
    model = BY_NAME[name]
    if one not in models:
        pytest.skip(f"{zoo.lacks(model, form)} is not installed")
    subject = campaign.subject_of(model, form, models[one])
    row = campaign.look(str(kerf), subject, count=2, seed=1)
    assert not row.failures, row
    if subject.refused:
        assert row.refused and not row.cuts
    else:
        assert row.proved == row.cuts > 1 and row.oracle == row.oracle_tried > 0


def test_sample__real_models(kerf, shared):
    """FastestDet: two branches to follow, and boxes."""
    path = shared / "models" / "resnet20_cifar10" / "inference.pdmodel"
    row = campaign.look(str(kerf), campaign.Subject("resnet20_cifar10", path), count=1, seed=2)
    assert not row.failures, row
    assert row.proved == row.cuts > 60 and row.bit_equal > row.cuts / 2


def test_parting__tells_a_convolution_from_what_is_joined_with_it():
    ops = [
        graphs.Op("Conv", ["x", "w"], ["c"]),
        graphs.Op("BatchNormalization", ["c", "s"], ["n"]),
        graphs.Op("Sigmoid", ["n"], ["g"]),
        graphs.Op("Mul", ["n", "g"], ["silu"]),
        graphs.Op("Add", ["silu", "x"], ["sum"]),
        graphs.Op("Relu", ["sum"], ["y"]),
    ]
    cuts = [["c", "x"], ["n", "x"], ["n", "g", "x"], ["silu", "x"], ["sum"], ["x"]]
    assert graphs.parting(ops, {"w", "s"}, cuts) == [True, True, True, False, False, False]

"""`kerf run` on real models and real photos, against paddlepaddle and
onnxruntime; and what it says about models that it cannot read. The models are
not part of the project: without them these tests are skipped."""

import os
import shutil

import numpy as np
import pytest
from nets import error_lines, only, results
from oracles import check_close, check_same_boxes, onnx_answers, paddle_answers, prepare
from PIL import Image

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR = "airplane automobile bird cat deer dog frog horse ship truck".split()

# Rules as SOURCE.txt beside each model (PP-*: as their own tools) say them.
RULES = {
    "mobilenet_v1_0.75_imagenet": ("rgb", "1/127.5", 1 / 127.5, (1, 1, 1), (1, 1, 1), []),
    "resnet20_cifar10": ("rgb", "1/255", 1 / 255, *IMAGENET, []),
    "resnet20_cifar10_onnx": ("rgb", "1/255", 1 / 255, *IMAGENET, []),
    "resnet56_cifar10": ("rgb", "1/255", 1 / 255, *IMAGENET, []),
    "ch_PP-OCRv3_det_infer": ("bgr", "1/255", 1 / 255, *IMAGENET, ["--size", "320x320"]),
    "fastestdet_coco_onnx": ("bgr", "1/255", 1 / 255, (0, 0, 0), (1, 1, 1), []),
    "ppyolo_tiny_650e_coco": ("rgb", "1/255", 1 / 255, *IMAGENET, ["--size", "320x320"]),
}
PHOTOS = {
    "ch_PP-OCRv3_det_infer": ["doc-1.png", "coffee.png"],
    "fastestdet_coco_onnx": ["dog.jpg", "giraffe.jpg", "person.jpg", "fd0.jpg"],
    "ppyolo_tiny_650e_coco": ["dog.jpg", "horses.jpg", "person.jpg"],
}


def flags_of(name):
    colour, scale, _, mean, std, more = RULES[name]
    three = [",".join(str(v) for v in values) for values in (mean, std)]
    return [
        "--resize", "stretch", "--colour", colour, "--scale", scale,
        "--mean", three[0], "--std", three[1], *more,
    ]  # fmt: skip


def graph_of(shared, name):
    folder = shared / "models" / name
    (graph,) = [f for f in folder.iterdir() if f.suffix in (".pdmodel", ".onnx")]
    return graph


def photos_of(shared, name):
    files = PHOTOS.get(name, ["cat.jpg", "dog.jpg", "chelsea.png", "eagle.jpg"])
    return [shared / "images" / file for file in files]


@pytest.fixture
def run_model(run, shared, tmp_path):
    """run_model(name, args..., inputs=) -> ended `kerf run` that saved to tmp_path/out."""

    def go(name, *args, inputs=None):
        return run(
            "run", graph_of(shared, name), "--json", *flags_of(name), *args,
            "--save", tmp_path / "out", "--save-input",
            "--input", *(inputs or photos_of(shared, name)), timeout=200,
        )  # fmt: skip

    return go


def saved(folder, index, part):
    return np.load(folder / f"{index:06}.{part}.npy")


@pytest.mark.parametrize("name", sorted(set(RULES) - {"ppyolo_tiny_650e_coco"}))
def test_outputs__are_the_oracles(run_model, shared, tmp_path, name):
    done = run_model(name)
    assert done.status == 0
    photos = photos_of(shared, name)
    graph = graph_of(shared, name)
    _, _, scale, mean, std, _ = RULES[name]
    pixels = [saved(tmp_path / "out", i, "input") for i in range(len(photos))]
    assert all(p.dtype == np.uint8 and p.shape[0] == 1 and p.shape[3] == 3 for p in pixels)
    feed_name = {"mobilenet_v1_0.75_imagenet": "image", "fastestdet_coco_onnx": "input.1"}
    feed = feed_name.get(name, "x")
    answers = (paddle_answers if graph.suffix == ".pdmodel" else onnx_answers)(
        graph, [{feed: prepare(p, scale, mean, std)} for p in pixels]
    )
    found = results(done)
    for i, photo in enumerate(photos):
        assert found[i]["input"] == str(photo)
        assert len(answers[i]) == len(found[i]["outputs"]) == 1
        ours = saved(tmp_path / "out", i, 0)
        check_close(ours, answers[i][0])
        shown = found[i]["outputs"][0]
        assert shown["shape"] == list(ours.shape) and shown["dtype"] == "f32"
        assert shown["max"] == pytest.approx(float(ours.max()), rel=1e-5)
        mean_of = float(ours.mean(dtype=np.float64))
        assert shown["mean"] == pytest.approx(mean_of, rel=1e-4, abs=1e-7)
        assert ours.max() > ours.min()


def test_text_detector__finds_the_oracles_text(run_model, shared, tmp_path):
    """At this size its steep sigmoid shows rounding on the edge of letters: up
    to 7e-4 there, so what counts is the mask that its tools make of it."""
    name = "ch_PP-OCRv3_det_infer"
    done = run_model(name, "--size", "640x640", inputs=[shared / "images" / "doc-1.png"])
    assert done.status == 0
    _, _, scale, mean, std, _ = RULES[name]
    pixels = saved(tmp_path / "out", 0, "input")
    assert pixels.shape == (1, 640, 640, 3)
    feed = {"x": prepare(pixels, scale, mean, std)}
    ((theirs,),) = paddle_answers(graph_of(shared, name), [feed])
    ours = saved(tmp_path / "out", 0, 0)
    assert 0.05 < (theirs > 0.3).mean() < 0.5
    assert ((ours > 0.3) != (theirs > 0.3)).sum() <= 4
    assert (np.abs(ours - theirs) > 1e-4).mean() < 0.01


def test_tensor_and_picture__go_in_alike(run_model, run, shared, tmp_path):
    """A float tensor with the same values gives what the picture gave."""
    name = "ch_PP-OCRv3_det_infer"
    assert run_model(name, inputs=[shared / "images" / "coffee.png"]).status == 0
    _, _, scale, mean, std, _ = RULES[name]
    np.save(tmp_path / "x.npy", prepare(saved(tmp_path / "out", 0, "input"), scale, mean, std))
    done = run(
        "run", graph_of(shared, name), "--size", "320x320", "--save", tmp_path / "raw",
        "--input", tmp_path / "x.npy",
    )  # fmt: skip
    assert done.status == 0
    check_close(saved(tmp_path / "raw", 0, 0), saved(tmp_path / "out", 0, 0))


def test_pp_yolo__finds_the_oracles_boxes(run_model, shared, tmp_path):
    """Its other two inputs are made from the picture's size; as many rows come
    out as it found boxes."""
    name = "ppyolo_tiny_650e_coco"
    done = run_model(name)
    assert done.status == 0
    _, _, scale, mean, std, _ = RULES[name]
    out = tmp_path / "out"
    for i, photo in enumerate(photos_of(shared, name)):
        width, height = Image.open(photo).size
        feed = {
            "image": prepare(saved(out, i, "input"), scale, mean, std),
            "im_shape": np.array([[320, 320]], np.float32),
            "scale_factor": np.array([[320 / height, 320 / width]], np.float32),
        }
        # The saved ones are fed: the size of a scale's last bit may be a pixel.
        extras = [np.load(f) for f in sorted(out.glob(f"{i:06}.input?.npy"))]
        assert len(extras) == 2
        for extra in extras:
            name_of = [k for k in ("im_shape", "scale_factor") if np.allclose(extra, feed[k], 1e-6)]
            assert len(name_of) == 1
            feed[name_of[0]] = extra
        ((boxes, count),) = paddle_answers(graph_of(shared, name), [feed])
        ours = saved(out, i, 0)
        assert saved(out, i, 1).tolist() == count.tolist() == [len(ours)] and len(ours) > 0
        check_same_boxes(ours, boxes)


def test_resized_photo__is_as_pillow_would(run_model, shared, tmp_path):
    done = run_model("mobilenet_v1_0.75_imagenet", inputs=[shared / "images" / "chelsea.png"])
    assert done.status == 0
    photo = Image.open(shared / "images" / "chelsea.png").convert("RGB")
    want = np.asarray(photo.resize((224, 224), Image.Resampling.BILINEAR), np.int16)
    assert np.abs(saved(tmp_path / "out", 0, "input")[0].astype(np.int16) - want).max() <= 1


def test_photo_labels__are_sensible(run_model, shared):
    labels = shared / "models" / "imagenet1k_label_list.txt"
    want = {"cat.jpg": "tiger cat", "dog.jpg": "Eskimo dog", "eagle.jpg": "bald eagle"}
    photos = [shared / "images" / name for name in want]
    done = run_model(
        "mobilenet_v1_0.75_imagenet", "--labels", labels, "--top-k", "5", inputs=photos
    )
    assert done.status == 0
    for i, label in enumerate(want.values()):
        top = results(done)[i]["top"]
        assert len(top) == 5
        assert any(t["label"].startswith(label) for t in top), top
        assert top[0]["score"] > 0.2


def test_detector__sees_the_dog(run_model, shared, tmp_path):
    """Boxes as SOURCE.txt beside FastestDet decodes them."""
    assert run_model("fastestdet_coco_onnx").status == 0
    names = (shared / "models" / "fastestdet_coco_onnx" / "coco.names").read_text().split("\n")
    want = [{"dog", "car", "bicycle"}, {"giraffe", "zebra"}, {"person", "dog"}]
    for i, things in enumerate(want):
        out = saved(tmp_path / "out", i, 0)[0]
        scores = np.maximum(out[0], 0) ** 0.6 * out[5:].max(axis=0) ** 0.4
        seen = {names[c].strip() for c in out[5:].argmax(axis=0)[scores > 0.5]}
        assert things <= seen | (things - {"dog", "giraffe", "person"}), (i, seen)
        assert things & seen


@pytest.fixture(scope="session")
def cifar(shared, tmp_path_factory):
    """(folder of 1000 u8 .npy pictures, their classes)"""
    data = np.load(shared / "cifar10_test_1000.npz")
    folder = tmp_path_factory.mktemp("cifar")
    for i, (picture, label) in enumerate(zip(data["images"], data["labels"])):
        np.save(folder / f"{CIFAR[label]}_{i:04}.npy", picture)
    names = sorted(os.listdir(folder))
    return folder, [CIFAR.index(n.split("_")[0]) for n in names]


@pytest.mark.parametrize(
    ("name", "accuracy"),
    [("resnet20_cifar10", 0.804), ("resnet20_cifar10_onnx", 0.804), ("resnet56_cifar10", 0.825)],
)
def test_accuracy__is_the_published_one(run, shared, cifar, tmp_path, name, accuracy):
    folder, classes = cifar
    (tmp_path / "labels.txt").write_text("\n".join(CIFAR) + "\n")
    done = run(
        "run", graph_of(shared, name), "--json", *flags_of(name), "--truth", "name",
        "--labels", tmp_path / "labels.txt", "--top-k", "1", "--input", folder, timeout=200,
    )  # fmt: skip
    assert done.status == 0
    summary, found = only(done, "summary"), results(done)
    assert (summary["answered"], summary["judged"]) == (1000, 1000)
    right = sum(found[i]["top"][0]["index"] == classes[i] for i in range(1000))
    assert summary["right"] == right
    assert abs(right / 1000 - accuracy) <= 0.02


# ---- models that cannot be read ---------------------------------------------


def one_error(done):
    assert done.status == 1 and not done.out, done.report()
    (line,) = done.err.splitlines()
    assert [line] == error_lines(done) and line.startswith("kerf: error: ")
    return line


def test_open_size__asks_for_it(run, shared):
    name = "ch_PP-OCRv3_det_infer"
    flags = flags_of(name)[:-2]
    photo = shared / "images" / "doc-1.png"
    line = one_error(run("run", graph_of(shared, name), *flags, "--input", photo))
    assert "--size HxW" in line and "inference.pdmodel" in line


@pytest.fixture
def paddle_copy(digits, tmp_path):
    """The digits model, for damaging."""
    for end in ("pdmodel", "pdiparams"):
        shutil.copy(digits / f"digits.{end}", tmp_path)
    return tmp_path / "digits.pdmodel"


def test_no_weights__says_which_file_is_missing(run, paddle_copy):
    paddle_copy.with_suffix(".pdiparams").unlink()
    line = one_error(run("run", paddle_copy, "--input", "random"))
    assert "digits.pdmodel" in line and ".pdiparams" in line and "missing" in line


@pytest.mark.parametrize("end", ["pdmodel", "pdiparams"])
@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.99])
def test_cut_short__says_so(run, paddle_copy, end, part):
    file = paddle_copy.with_suffix(f".{end}")
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * part)])
    line = one_error(run("run", paddle_copy, "--input", "random"))
    assert "digits.pdmodel" in line and len(line) < 600


def test_no_such_model__names_the_path(run, tmp_path):
    for path in ("nothing", "nothing.onnx"):
        assert str(tmp_path / path) in one_error(run("run", tmp_path / path, "--input", "random"))
    no_folder = one_error(run("run", tmp_path / "no" / "x.pdmodel", "--input", "random"))
    assert str(tmp_path / "no") in no_folder
    (tmp_path / "empty").mkdir()
    assert "empty" in one_error(run("run", tmp_path / "empty", "--input", "random"))
    (tmp_path / "some.txt").write_text("hello")
    assert "some.txt" in one_error(run("run", tmp_path / "some.txt", "--input", "random"))


def test_unknown_onnx_op__is_named(run, tmp_path):
    onnx = pytest.importorskip("onnx", reason="no onnx for this machine")
    x, y = (
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 3, 4, 4]) for n in "xy"
    )
    for domain in ("", "com.example"):
        node = onnx.helper.make_node("Frobnicate", ["x"], ["y"], domain=domain)
        opsets = [onnx.helper.make_opsetid("", 17)]
        opsets += [onnx.helper.make_opsetid(domain, 1)] if domain else []
        graph = onnx.helper.make_graph([node], "g", [x], [y])
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
        (tmp_path / "odd.onnx").write_bytes(model.SerializeToString())
        line = one_error(run("run", tmp_path / "odd.onnx", "--input", "random"))
        assert "Frobnicate" in line and "odd.onnx" in line


def test_small_onnx__runs(run, tmp_path):
    """The same way of making one, with an op that exists."""
    onnx = pytest.importorskip("onnx", reason="no onnx for this machine")
    x, y = (
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 2, 3]) for n in "xy"
    )
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    (tmp_path / "neg.onnx").write_bytes(model.SerializeToString())
    tensor = np.linspace(-1, 4, 6, dtype=np.float32).reshape(1, 2, 3)
    np.save(tmp_path / "x.npy", tensor)
    done = run("run", tmp_path / "neg.onnx", "--json", "--input", tmp_path / "x.npy")
    assert done.status == 0
    assert results(done)[0]["outputs"][0]["values"] == (-tensor).ravel().tolist()

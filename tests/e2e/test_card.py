"""`kerf card`: a model's rules, written down once, are those that run and edge
then use; missing and contradicting rules are named."""

import json

import numpy as np
import pytest
from nets import error_lines, model, near, put_model, put_pair, results, value, values_of
from PIL import Image

FAKE = ["--engine", "fake"]
RULES = [
    "--resize", "stretch", "--colour", "bgr", "--scale", "1/255",
    "--mean", "0.1,0.2,0.3", "--std", "0.5,0.25,2",
]  # fmt: skip


def picture(tmp_path):
    """A 4x5 picture in a file; its pixels."""
    pixels = np.random.default_rng(1).integers(0, 256, (4, 5, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return pixels


def prepared(pixels):
    """As RULES say."""
    bgr = pixels[..., ::-1].astype(np.float64) / 255
    return ((bgr - [0.1, 0.2, 0.3]) / [0.5, 0.25, 2]).transpose(2, 0, 1)[None]


@pytest.fixture
def whole(tmp_path):
    """A model whose output is its input; its size is open."""
    x, y = value("x", (-1, 3, -1, -1)), value("y", (1, 3, 4, 5))
    return put_model(tmp_path / "m", "see", model([x], [y]))


def test_card__makes_the_flags_needless(run, whole, tmp_path):
    pixels = picture(tmp_path)
    (tmp_path / "labels.txt").write_text("".join(f"thing {i}\n" for i in range(60)))
    flags = [*RULES, "--size", "4x5", "--labels", tmp_path / "labels.txt"]
    made = run("card", whole, *FAKE, *flags)
    assert made.status == 0, made.report()
    assert made.out == f"{tmp_path}/m/see.kerf.json: 60 labels, 2 probes\n"
    card = json.loads((tmp_path / "m" / "see.kerf.json").read_text())
    assert card["kerf_card"] == 1 and card["name"] == "see" and card["task"] == "classify"
    rules = card["input"]
    assert (rules["kind"], rules["layout"], rules["size"]) == ("image", "NCHW", [4, 5])
    assert (rules["resize"], rules["colour"]) == ("stretch", "bgr")
    assert rules["scale"] == pytest.approx(1 / 255)
    assert rules["mean"] == pytest.approx([0.1, 0.2, 0.3])
    assert rules["std"] == pytest.approx([0.5, 0.25, 2])
    assert card["labels"] == [f"thing {i}" for i in range(60)]
    assert [p["seed"] for p in card["probes"]] == [1, 2]
    for probe in card["probes"]:
        (out,) = probe["outputs"]
        assert out["shape"] == [1, 3, 4, 5] and len(out["at"]) == len(out["values"]) > 0

    with_card = run("run", whole, "--json", *FAKE, "--input", tmp_path / "a.png")
    with_flags = run(
        "run", whole, "--json", *FAKE, "--card", tmp_path / "none", "--input", tmp_path / "a.png"
    )
    assert with_flags.status == 1 and "none" in error_lines(with_flags)[0]
    (tmp_path / "m" / "see.kerf.json").unlink()
    with_flags = run("run", whole, "--json", *FAKE, *flags, "--input", tmp_path / "a.png")
    for done in (with_card, with_flags):
        assert done.status == 0, done.report()
        (found,) = results(done).values()
        assert near(values_of(found), prepared(pixels))
        best = int(prepared(pixels).argmax())
        assert found["top"][0]["label"] == f"thing {best}"


def test_flags__overrule_the_card(run, whole, tmp_path):
    pixels = picture(tmp_path)
    assert run("card", whole, *FAKE, *RULES, "--size", "4x5").status == 0
    done = run("run", whole, "--json", *FAKE, "--colour", "rgb", "--input", tmp_path / "a.png")
    assert near(values_of(results(done)[0]), prepared(pixels[..., ::-1]))


def test_pair_with_a_card__takes_pictures(run, start_cloud, tmp_path):
    """The card travels with the head: the edge needs no rules."""
    pixels = picture(tmp_path)
    x, h = value("x", (-1, 3, 4, 5)), value("h", (-1, 60))
    see = put_model(tmp_path / "m", "see", model([x], [value("y", (1, 60))]))
    assert run("card", see, *FAKE, *RULES, "--task", "raw").status == 0
    card = json.loads((tmp_path / "m" / "see.kerf.json").read_text())
    tail = model([h], [value("y", (1, 60))])
    models = put_pair(tmp_path / "pair", "see", model([x], [h]), tail, card)
    cloud = start_cloud("--models", models, *FAKE)
    done = run(
        "edge", "--json", "--once", "--cloud_port", cloud.port, "--store", tmp_path / "store",
        *FAKE, "--input", tmp_path / "a.png",
    )  # fmt: skip
    assert done.status == 0, done.report()
    assert near(values_of(results(done)[0]).reshape(1, 3, 4, 5), prepared(pixels))


def test_card_of_another_model__the_pair_is_not_served(run, start_cloud, tmp_path):
    """Its probes do not agree with what the pair answers."""
    x, h = value("x", (-1, 3, 4, 5)), value("h", (-1, 60))
    see = put_model(tmp_path / "m", "see", model([x], [value("y", (1, 60), b=1)]))
    assert run("card", see, *FAKE, *RULES).status == 0
    card = json.loads((tmp_path / "m" / "see.kerf.json").read_text())
    tail = model([h], [value("y", (1, 60))])
    models = put_pair(tmp_path / "pair", "see", model([x], [h]), tail, card)
    cloud = start_cloud("--models", models, *FAKE)
    (told,) = [e for e in cloud.events() if e["event"] == "model"]
    assert not told["ok"] and "self-test" in told["why"]


def test_existing_card__is_kept_unless_forced(run, whole, tmp_path):
    args = ["card", whole, *FAKE, *RULES, "--size", "4x5"]
    assert run(*args).status == 0
    path = tmp_path / "m" / "see.kerf.json"
    path.write_text(path.read_text().replace('"see"', '"mine"'))
    again = run(*args)
    assert again.status == 1 and "--force" in error_lines(again)[0]
    assert '"mine"' in path.read_text()
    assert run(*args, "--out", tmp_path / "other.json").status == 0
    assert json.loads((tmp_path / "other.json").read_text())["kerf_card"] == 1
    assert run(*args, "--force", "--name", "new").status == 0
    assert json.loads(path.read_text())["name"] == "new"


@pytest.mark.parametrize("left_out", ["--resize", "--colour", "--size", "values"])
def test_missing_rule__is_named(run, whole, tmp_path, left_out):
    picture(tmp_path)
    flags = [*RULES, "--size", "4x5"]
    if left_out == "values":
        flags, words = flags[:4] + flags[10:], ["--scale", "--mean", "--std"]
    else:
        at = flags.index(left_out)
        flags, words = flags[:at] + flags[at + 2 :], [left_out]
    for command in (["card", whole], ["run", whole, "--input", tmp_path / "a.png"]):
        done = run(*command, *FAKE, *flags)
        assert done.status == 1
        (line,) = error_lines(done)
        assert "missing rule: " in line and all(word in line for word in words)
    assert not (tmp_path / "m" / "see.kerf.json").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--size", "8x8"], ["8x8", "4x5"]),
        (["--colour", "gray"], ["gray", "3 channels"]),
        (["--std", "0"], ["--std 0"]),
        (["--scale", "0"], ["--scale 0"]),
        (["--layout", "nhwc"], ["nhwc"]),
    ],
)
def test_contradiction__says_what_with_what(run, tmp_path, flags, words):
    graph = put_model(
        tmp_path, "see", model([value("x", (1, 3, 4, 5))], [value("y", (1, 3, 4, 5))])
    )
    done = run("card", graph, *FAKE, *RULES, *flags)
    assert done.status == 1, done.report()
    (line,) = error_lines(done)
    assert all(word in line for word in words), line


def test_tensor_card__takes_no_pictures(run, tmp_path):
    graph = put_model(tmp_path / "m", "t", model([value("x", (1, 6))], [value("y", (1, 2))]))
    assert run("card", graph, *FAKE).status == 1  # no input of it is an image
    assert run("card", graph, *FAKE, "--tensor").status == 0
    np.save(tmp_path / "x.npy", np.arange(6, dtype=np.float32))
    done = run("run", graph, "--json", *FAKE, "--input", tmp_path / "x.npy")
    assert done.status == 0 and results(done)[0]["outputs"][0]["values"] == [6, 9]
    picture(tmp_path)
    done = run("run", graph, "--json", *FAKE, "--input", tmp_path / "a.png")
    assert done.status == 1 and "a.png" in error_lines(done)[0]


def test_broken_card__is_named(run, whole, tmp_path):
    card = tmp_path / "m" / "see.kerf.json"
    for text in ("", "{", "[]", '{"kerf_card": 2}', '{"kerf_card": 1, "input": {"size": [-1, 3]}}'):
        card.write_text(text)
        done = run("run", whole, *FAKE, *RULES, "--size", "4x5", "--input", "random")
        assert done.status == 1, (text, done.report())
        (line,) = error_lines(done)
        assert "see.kerf.json" in line


def test_labels__every_class_keeps_its_own(run, whole, tmp_path):
    """A label that JSON cannot hold is refused, not dropped."""
    lines = [f"thing {i}".encode() for i in range(60)]
    flags = [*FAKE, *RULES, "--size", "4x5", "--labels", tmp_path / "labels.txt"]
    card = tmp_path / "m" / "see.kerf.json"
    (tmp_path / "labels.txt").write_bytes(b"\n".join([*lines[:7], "caf\xe9".encode("latin1")]))
    done = run("card", whole, *flags)
    assert done.status == 1 and "labels.txt: line 8 is not UTF-8" in error_lines(done)[0]
    assert not card.exists()
    numbered = [b"%d %s" % (i, line) for i, line in enumerate(lines)]
    (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbf" + b"\n".join(numbered) + b"\n\n")
    assert run("card", whole, *flags).status == 0
    assert json.loads(card.read_text())["labels"] == [line.decode() for line in lines]


def test_labels__as_many_as_classes(run, whole, tmp_path):
    picture(tmp_path)
    (tmp_path / "labels.txt").write_text("".join(f"thing {i}\n" for i in range(59)))
    flags = [*FAKE, *RULES, "--size", "4x5", "--labels", tmp_path / "labels.txt"]
    for command in (["card", whole], ["run", whole, "--input", tmp_path / "a.png"]):
        done = run(*command, *flags)
        assert done.status == 1, done.report()
        (line,) = error_lines(done)
        assert "59 labels" in line and "60 classes" in line
        assert run(*command, *flags, "--task", "raw").status == 0


def test_labels__mean_classify_whatever_the_card(run, whole, tmp_path):
    picture(tmp_path)
    assert run("card", whole, *FAKE, *RULES, "--size", "4x5").status == 0
    (tmp_path / "labels.txt").write_text("".join(f"thing {i}\n" for i in range(60)))
    labels = ["--labels", tmp_path / "labels.txt"]
    seen = ["run", whole, "--json", *FAKE, "--input", tmp_path / "a.png"]
    assert results(run(*seen))[0]["top"] == []  # the card says raw
    assert results(run(*seen, *labels))[0]["top"][0]["label"].startswith("thing ")
    assert results(run(*seen, *labels, "--task", "raw"))[0]["top"] == []


def test_card_of_a_neighbour__is_not_used(run, tmp_path):
    picture(tmp_path)
    x, y = value("x", (1, 3, 4, 5)), value("y", (1, 3, 4, 5))
    mine = put_model(tmp_path / "m", "mine", model([x], [y]))
    put_model(tmp_path / "m", "theirs", model([x], [y]))
    assert run("card", tmp_path / "m" / "theirs", *FAKE, *RULES).status == 0
    done = run("run", mine, *FAKE, "--input", tmp_path / "a.png")
    assert done.status == 1 and "missing rule" in error_lines(done)[0]
    for part in (tmp_path / "m").glob("theirs.pd*"):
        part.unlink()
    # Alone with a card, that card it is; a new card does not copy it.
    assert run("run", mine, *FAKE, "--input", tmp_path / "a.png").status == 0
    done = run("card", mine, *FAKE)
    assert done.status == 1 and "missing rule" in error_lines(done)[0]


def test_unfit_name__asks_for_one(run, tmp_path):
    x, y = value("x", (1, 3, 4, 5)), value("y", (1, 3, 4, 5))
    graph = put_model(tmp_path / "m", "my net", model([x], [y]))
    done = run("card", graph, *FAKE, *RULES)
    assert done.status == 1 and "--name" in error_lines(done)[0]
    for name in ("a b", "n" * 128, ".n", ""):
        done = run("card", graph, *FAKE, *RULES, "--name", name)
        assert done.status == 1 and "--name" in error_lines(done)[0], name
    assert run("card", graph, *FAKE, *RULES, "--name", "n" * 127).status == 0
    picture(tmp_path)
    assert run("run", graph, *FAKE, "--input", tmp_path / "a.png").status == 0


def test_tensor_card__takes_no_image_rules(run, tmp_path):
    graph = put_model(tmp_path / "m", "t", model([value("x", (1, 6))], [value("y", (1, 2))]))
    done = run("card", graph, *FAKE, "--tensor", "--size", "4x5")
    assert done.status == 2 and "--size" in error_lines(done)[0]


def test_engine_flags__are_the_same_everywhere(run):
    for command in (["cloud"], ["edge"], ["run", "m", "--input", "random"], ["card", "m"]):
        done = run(*command, "--engine", "none")
        assert done.status == 2 and "openvino|fake" in error_lines(done)[0], done.report()
        assert run(*command, "--log", "none").status == 2


def test_every_error__has_a_reason(run, tmp_path):
    """A folder whose card's path would be too long."""
    last = "n" * 120
    folder = tmp_path
    while len(str(folder)) + 1 + 40 + len(last) + len("/model.pdmodel") < 1000:
        folder = folder / ("d" * 39)
    folder = folder / last
    put_model(folder, "model", model([value("x", (1, 6))], [value("y", (1, 2))]))
    for command in (["card"], ["run", "--input", "random"]):
        done = run(command[0], folder / "model.pdmodel", *FAKE, *command[1:])
        (line,) = error_lines(done)
        assert done.status == 1 and line.removeprefix("kerf: error: ").strip(), done.report()

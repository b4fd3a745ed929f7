"""What `kerf run` and `kerf edge` take as inputs, and what they say about those
that they cannot take. The answers of the fake engine show what went in."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import termios
import time
from pathlib import Path

import exact
import numpy as np
import pytest
import wire
from nets import (
    X_SHAPE,
    error_lines,
    image_card,
    model,
    near,
    only,
    put,
    put_model,
    put_pair,
    random_floats,
    results,
    save_tensors,
    small_answer,
    small_pair,
    small_whole,
    some_tensors,
    splitmix,
    value,
    values_of,
)
from PIL import Image

FAKE = ["--engine", "fake"]
SIZE = (4, 5)  # of the pictures: height, width


@pytest.fixture(params=["run", "edge"])
def take(request, run, start_cloud, tmp_path):
    """take(args...) -> an ended `kerf run`, or `kerf edge --once`, of the small
    network on those inputs; take.picture: of one whose output is the picture."""
    made = {}

    def start_edge(models, args, more):
        if models not in made:
            made[models] = start_cloud("--models", models, *FAKE)
        return run(
            "edge", "--json", "--once", "--cloud_port", made[models].port,
            "--store", tmp_path / f"store-{models.name}", *FAKE, *args, **more,
        )  # fmt: skip

    def tensors(*args, **more):
        if request.param == "edge":
            return start_edge(small_pair(tmp_path / "small"), args, more)
        graph = small_whole(tmp_path / "small")
        return run("run", graph, "--json", *FAKE, *args, **more)

    def pictures(*args, **more):
        x = value("x", (1, 3, *SIZE))
        card = image_card(SIZE, "see")
        if request.param == "edge":
            h = value("h", (1, 3, *SIZE))
            y = value("y", (1, 3, *SIZE))
            models = put_pair(tmp_path / "see", "see", model([x], [h]), model([h], [y]), card)
            return start_edge(models, args, more)
        graph = put_model(tmp_path / "see", "see", model([x], [value("y", (1, 3, *SIZE))]), card)
        return run("run", graph, "--json", *FAKE, *args, **more)

    tensors.picture = pictures
    tensors.is_edge = request.param == "edge"
    return tensors


def some_pictures(seed, count):
    """RGB pixels, [height, width, 3] u8."""
    numbers = np.random.default_rng(seed)
    return [numbers.integers(0, 256, (*SIZE, 3), np.uint8) for _ in range(count)]


def check_tensors(done, tensors, status=0, first=0):
    assert done.status == status, done.report()
    found = results(done)
    assert sorted(found) == list(range(first, first + len(tensors))), done.report()
    for i, tensor in enumerate(tensors):
        assert near(values_of(found[first + i]), small_answer(tensor)), i


def check_pictures(done, pictures, status=0):
    """The output is the picture itself, as channels, rows, columns."""
    assert done.status == status, done.report()
    found = results(done)
    assert sorted(found) == list(range(len(pictures))), done.report()
    for i, picture in enumerate(pictures):
        assert np.array_equal(values_of(found[i])[0], picture.transpose(2, 0, 1)), i


def names(done):
    """Base names of the inputs, in order."""
    found = results(done)
    return [os.path.basename(found[i]["input"]) for i in sorted(found)]


# ---- images and folders -----------------------------------------------------


def test_png_files__keep_their_pixels(take, tmp_path):
    pictures = some_pictures(1, 3)
    files = [tmp_path / f"{n}.png" for n in "cab"]
    for file, picture in zip(files, pictures):
        Image.fromarray(picture).save(file)
    done = take.picture("--input", *files)
    check_pictures(done, pictures)
    assert names(done) == ["c.png", "a.png", "b.png"]  # as given


def test_folder__is_read_in_order(take, tmp_path):
    order = ["0.png", "1/a.png", "1/b.npy", "2.npy", "B.png", "b.PNG"]
    pictures = dict(zip(order, some_pictures(2, len(order))))
    (tmp_path / "in" / "1").mkdir(parents=True)
    for name in reversed(order):
        if name.endswith("npy"):
            np.save(tmp_path / "in" / name, pictures[name][None])
        else:
            Image.fromarray(pictures[name]).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("not an input")
    done = take.picture("--input", tmp_path / "in")
    check_pictures(done, list(pictures.values()))
    assert names(done) == [os.path.basename(n) for n in order]


def test_u8_tensor_with_and_without_batch__is_an_image(take, tmp_path):
    pictures = some_pictures(3, 2)
    np.save(tmp_path / "a.npy", pictures[0])
    np.save(tmp_path / "b.npy", pictures[1][None])
    check_pictures(take.picture("--input", tmp_path / "a.npy", tmp_path / "b.npy"), pictures)


def test_f32_tensors__go_in_as_they_are(take, tmp_path):
    tensors = some_tensors(4, 3)
    tensors[1] = tensors[1][0]  # without the batch
    folder = save_tensors(tmp_path / "in", tensors)
    check_tensors(take("--input", folder), tensors)
    check_tensors(take("--input", *sorted(folder.iterdir())), tensors)
    check_tensors(take("--input", folder / "002.npy", "--input", folder / "000.npy"), tensors[::-2])


def test_f32_tensor_for_a_model_with_a_card__needs_no_image_rules(take, tmp_path):
    tensor = np.random.default_rng(5).random((1, 3, *SIZE), np.float32)
    np.save(tmp_path / "x.npy", tensor)
    done = take.picture("--input", tmp_path / "x.npy")
    assert done.status == 0 and near(values_of(results(done)[0]), tensor)


# ---- random, repeat, rate ---------------------------------------------------


def test_seeded_random__is_splitmix(take):
    done = take("--input", "random:7", "--repeat", "3", "--rate", "1000")
    check_tensors(done, [random_floats(seed) for seed in (7, 8, 9)])
    assert [results(done)[i]["input"] for i in range(3)] == ["random:7", "random:8", "random:9"]
    assert splitmix(1234567, 1) == [6457827717110365317]  # its published test value


def test_random_pictures__are_bytes_of_splitmix(take, tmp_path):
    """Beside an image, the input is an image, and so are random ones."""
    picture = some_pictures(6, 1)[0]
    Image.fromarray(picture).save(tmp_path / "a.png")
    random = np.array([n >> 56 for n in splitmix(5, 3 * 4 * 5)], np.uint8).reshape(*SIZE, 3)
    done = take.picture("--input", tmp_path / "a.png", "random:5")
    check_pictures(done, [picture, random])


def test_repeat__goes_over_all_inputs_again(take, tmp_path):
    tensors = some_tensors(7, 3)
    folder = save_tensors(tmp_path / "in", tensors)
    check_tensors(take("--repeat", "4", "--input", folder), tensors * 4)


def test_rate__changes_nothing_but_the_pace(take, tmp_path):
    tensors = some_tensors(8, 3)
    folder = save_tensors(tmp_path / "in", tensors)
    check_tensors(take("--repeat", "2", "--rate", "50", "--input", folder), tensors * 2)


def test_window_wider_than_granted__is_cut(spawn, start_cloud, tmp_path):
    """An edge that asks for 64 at a cloud that grants 2 never has 3 there."""
    models = small_pair(tmp_path / "models", tail={"cost_us": 5000, "cost": "sleep"})
    cloud = start_cloud("--models", models, "--window", "2", "--queue", "2", *FAKE)
    tensors = some_tensors(9, 12)
    edge = spawn(
        "edge", "--json", "--once", "--cloud_port", cloud.port, "--store", tmp_path / "store",
        "--window", "64", "--input", save_tensors(tmp_path / "in", tensors), *FAKE,
    )  # fmt: skip
    edge.status = edge.wait()
    check_tensors(edge, tensors)
    assert cloud.term() == 0
    assert "refused" not in [e["event"] for e in cloud.events()]


# ---- deadline ---------------------------------------------------------------


def test_outputs_over_8_MiB__are_each_on_its_own(each_kerf, spawn, start_cloud, tmp_path):
    exact.put(tmp_path / "models", width=(9 << 20) // 4)
    cloud = start_cloud("--models", tmp_path / "models", "--batch", "1", *FAKE)
    edge = spawn(
        "edge", "--json", "--cloud_port", cloud.port, "--once", "--window", "2", "--codec", "raw",
        "--input", *exact.inputs(tmp_path / "in", 3), *FAKE, binary=each_kerf,
    )  # fmt: skip
    assert edge.wait() == 0
    assert len(results(edge)) == 3


def test_deadline__ends_in_an_error_that_says_so(spawn, start_cloud, tmp_path):
    models = small_pair(tmp_path / "models", tail={"cost_us": 1_000_000, "cost": "sleep"})
    cloud = start_cloud("--models", models, *FAKE)
    args = ["--once", "--cloud_port", cloud.port, "--store", tmp_path / "store", *FAKE]
    args += ["--input", save_tensors(tmp_path / "in", some_tensors(10, 2)), "--deadline", "20"]
    edge = spawn("edge", "--json", *args)
    assert edge.wait() == 1
    assert not results(edge)
    errors = [e for e in edge.events() if e["event"] == "error"]
    assert sorted(e["index"] for e in errors) == [0, 1]
    assert all("deadline" in e["why"] for e in errors)
    summary = only(edge, "summary")
    assert [summary[k] for k in ("asked", "answered", "failed", "skipped")] == [2, 0, 2, 0]
    plain = spawn("edge", *args)
    assert plain.wait() == 1
    assert plain.out.count("no answer: ") == 2 and "0 of 2 answered" in plain.out
    # Long enough, it changes nothing.
    long = spawn("edge", "--json", *args, "--deadline", "600000")
    long.status = long.wait(60)
    check_tensors(long, some_tensors(10, 2))


# ---- what cannot be taken ---------------------------------------------------


def broken_files(folder):
    """{name: words that the line about it must have}"""
    folder.mkdir()
    good = some_pictures(11, 1)[0]
    Image.fromarray(good).save(folder / "good.png")
    png = (folder / "good.png").read_bytes()
    (folder / "cut.png").write_bytes(png[: len(png) // 2])
    (folder / "head.png").write_bytes(png[:20])
    (folder / "text.png").write_text("I am not a picture\n")
    (folder / "empty.png").write_bytes(b"")
    np.save(folder / "shape.npy", np.zeros((1, 5, 4, 3), np.uint8))
    np.save(folder / "order.npy", np.asfortranarray(np.zeros((*SIZE, 3), np.uint8)))
    np.save(folder / "dtype.npy", np.zeros((*SIZE, 3), np.float64))
    (folder / "head.npy").write_bytes(b"\x93NUMPY\x01\x00")
    (folder / "text.npy").write_text("hello")
    return {
        "cut.png": "", "head.png": "", "text.png": "", "empty.png": "", "head.npy": "",
        "text.npy": "", "order.npy": "Fortran", "shape.npy": "(1, 5, 4, 3)", "dtype.npy": "f64",
    }  # fmt: skip


def test_broken_files__are_named_and_passed_over(take, tmp_path):
    words = broken_files(tmp_path / "in")
    Image.fromarray(some_pictures(11, 1)[0]).save(tmp_path / "in" / "z.png")
    done = take.picture("--input", tmp_path / "in")
    assert done.status == 1
    assert names(done) == ["good.png", "z.png"]
    for found in results(done).values():
        picture = some_pictures(11, 1)[0].transpose(2, 0, 1)
        assert np.array_equal(values_of(found)[0], picture)
    skipped = {os.path.basename(e["input"]): e for e in done.events() if e["event"] == "skipped"}
    assert sorted(skipped) == sorted(words)
    lines = error_lines(done)
    assert len(lines) == len(words)
    for name, word in words.items():
        (line,) = [text for text in lines if f"/{name}" in text]
        assert line.startswith("kerf: skipped: ") and word in line
        assert skipped[name]["why"] in line and len(line) < 400
    summary = only(done, "summary")
    counts = [summary[k] for k in ("asked", "answered", "failed", "skipped")]
    assert counts == [2 + len(words), 2, 0, len(words)]


def test_wrong_shape__says_both(take, tmp_path):
    tensors = some_tensors(12, 1)
    np.save(tmp_path / "a.npy", np.zeros((1, 4, 4, 3), np.float32))
    np.save(tmp_path / "b.npy", np.zeros(X_SHAPE, np.float64))
    np.save(tmp_path / "c.npy", tensors[0])
    done = take("--input", *[tmp_path / f"{n}.npy" for n in "abc"])
    check_tensors(done, tensors, status=1, first=2)
    first, second = error_lines(done)
    assert "a.npy" in first and "f32 (1, 4, 4, 3)" in first and "f32 (1, 3, 4, 4)" in first
    assert "b.npy" in second and "f64" in second


def test_missing_file_or_folder__fails_before_anything_runs(take, tmp_path):
    np.save(tmp_path / "a.npy", some_tensors(13, 1)[0])
    for missing in ("none.png", "no/folder", "a.npy/below"):
        done = take("--input", tmp_path / "a.npy", tmp_path / missing)
        assert done.status == 1 and not results(done)
        (line,) = error_lines(done)
        assert line.startswith("kerf: error: ") and f"{tmp_path}/{missing}" in line


def test_empty_folder__says_so(take, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no input")
    done = take.picture("--input", tmp_path / "in")
    assert done.status == 1 and not results(done)
    (line,) = error_lines(done)
    assert "no image and no .npy" in line


@pytest.mark.skipif(os.getuid() == 0, reason="permissions do not bind root")
def test_unreadable_folder__says_so(take, tmp_path):
    (tmp_path / "in").mkdir(mode=0)
    done = take.picture("--input", tmp_path / "in")
    (tmp_path / "in").chmod(0o700)
    (line,) = error_lines(done)
    assert done.status == 1 and str(tmp_path / "in") in line and "denied" in line.lower()


def test_image_without_rules__names_what_is_missing(run, tmp_path):
    Image.fromarray(some_pictures(14, 1)[0]).save(tmp_path / "a.png")
    graph = small_whole(tmp_path)
    done = run("run", graph, *FAKE, "--input", tmp_path / "a.png")
    assert done.status == 1
    (line,) = error_lines(done)
    assert "--resize" in line or "--colour" in line or "--scale" in line


def test_contradicting_rules__say_both(run, tmp_path):
    Image.fromarray(some_pictures(14, 1)[0]).save(tmp_path / "a.png")
    graph = small_whole(tmp_path)
    rules = ["--resize", "stretch", "--colour", "rgb", "--scale", "1/255", "--mean", "0"]
    rules += ["--std", "1", "--size", "8x8", "--input", tmp_path / "a.png"]
    done = run("run", graph, *FAKE, *rules)
    (line,) = error_lines(done)
    assert done.status == 1 and "8x8" in line and "4x4" in line


# ---- watched folders --------------------------------------------------------


@pytest.fixture(params=["run", "edge"])
def watch(request, spawn, start_cloud, tmp_path):
    """watch(folder) -> `kerf run --watch` or `kerf edge` that goes on."""

    def start(folder, **more):
        if request.param == "run":
            graph = small_whole(tmp_path / "small")
            card = ["--card", put(tmp_path / "raw.json", '{"kerf_card": 1, "name": "small"}')]
            args = ["run", graph, "--watch", *card]
        else:
            cloud = start_cloud("--models", small_pair(tmp_path / "small"), *FAKE)
            args = ["edge", "--cloud_port", cloud.port, "--store", tmp_path / "store"]
        return spawn(*args, "--json", *FAKE, "--input", folder, **more)

    return start


def test_watched_folder__new_files_are_taken_when_whole(watch, tmp_path):
    tensors = some_tensors(15, 5)
    folder = save_tensors(tmp_path / "in", tensors[:1])
    made = save_tensors(tmp_path / "made", tensors)
    process = watch(folder)
    assert near(values_of(process.wait_event("result")), small_answer(tensors[0]))

    whole = (made / "001.npy").read_bytes()
    with open(folder / "slow.npy", "wb") as file:
        for part in (whole[:50], whole[50:200], whole[200:]):
            file.write(part)
            file.flush()
            # Another file overtakes the one that is still written.
            put(folder / f"n{len(part)}.npy", (made / "002.npy").read_bytes())
            found = process.wait_event("result")
            assert found["input"].endswith(f"n{len(part)}.npy")
            assert near(values_of(found), small_answer(tensors[2]))
    found = process.wait_event("result")
    assert found["input"].endswith("slow.npy")
    assert near(values_of(found), small_answer(tensors[1]))
    (folder / "notes.txt").write_text("not an input")
    (made / "003.npy").rename(folder / "moved.npy")
    assert near(values_of(process.wait_event("result")), small_answer(tensors[3]))

    process.signal(signal.SIGINT)
    assert process.wait() == 0
    assert only(process, "summary")["answered"] == 6
    assert not error_lines(process)


# ---- stopping ---------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal__what_is_in_flight_is_answered(every_kerf, spawn, start_cloud, tmp_path, number):
    models = small_pair(tmp_path / "models", tail={"cost_us": 30_000, "cost": "sleep"})
    cloud = start_cloud("--models", models, *FAKE)
    tensors = some_tensors(16, 4)
    edge = spawn(
        "edge", "--json", "--cloud_port", cloud.port, "--store", tmp_path / "store", "--repeat",
        "0", "--window", "8", "--input", save_tensors(tmp_path / "in", tensors), *FAKE,
        binary=every_kerf,
    )  # fmt: skip
    edge.wait_event("result")
    edge.signal(number)
    assert edge.wait() == 0
    summary = only(edge, "summary")
    assert summary["failed"] == summary["skipped"] == 0
    assert summary["answered"] == summary["asked"] == len(results(edge)) >= 2
    for i, found in results(edge).items():
        assert near(values_of(found), small_answer(tensors[i % 4]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal__run_ends_with_a_summary(spawn, tmp_path, number):
    graph = small_whole(tmp_path)
    folder = save_tensors(tmp_path / "in", some_tensors(17, 2))
    process = spawn("run", graph, "--json", "--repeat", "0", *FAKE, "--input", folder)
    process.wait_event("result")
    process.signal(number)
    assert process.wait() == 0
    assert only(process, "summary")["answered"] == len(results(process))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_nobody_reads_the_output__loses_nothing(kerf, tmp_path, number):
    graph = small_whole(tmp_path)
    folder = save_tensors(tmp_path / "in", some_tensors(17, 2))
    command = [kerf, "run", graph, "--json", "--repeat", "0", *FAKE, "--input", folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def waiting():
        return fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4))

    def pending():
        status = Path(f"/proc/{process.pid}/status").read_text()
        return any(
            line.startswith(("SigPnd", "ShdPnd")) and int(line.split()[1], 16)
            for line in status.splitlines()
        )

    before = bytes(4)
    while waiting() != before or before == bytes(4):  # until it has filled the pipe
        before = waiting()
        time.sleep(0.1)
    process.send_signal(number)
    while pending():
        time.sleep(0.01)
    out, err = process.communicate(timeout=wire.PATIENCE)
    assert (process.returncode, err) == (0, b"")
    *lines, last = [json.loads(line) for line in out.splitlines()]
    assert last["event"] == "summary"
    assert last["answered"] == sum(line["event"] == "result" for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_before_any_cloud__ends_at_once(every_kerf, spawn, free_port, tmp_path, number):
    edge = spawn(
        "edge", "--json", "--cloud_port", free_port(), "--store", tmp_path / "store", *FAKE,
        binary=every_kerf,
    )  # fmt: skip
    edge.wait_event("state", connected=False)
    edge.signal(number)
    assert edge.wait() == 0


def test_second_signal__ends_at_once(spawn, start_cloud, tmp_path):
    """The cloud is slow and then frozen: what is in flight is not answered."""
    models = small_pair(tmp_path / "models", tail={"cost_us": 300_000, "cost": "sleep"})
    cloud = start_cloud("--models", models, "--heartbeat", "600000", "--workers", "1", *FAKE)
    edge = spawn(
        "edge", "--json", "--cloud_port", cloud.port, "--store", tmp_path / "store", "--repeat",
        "0", "--input", save_tensors(tmp_path / "in", some_tensors(18, 2)), *FAKE,
    )  # fmt: skip
    edge.wait_event("result")
    cloud.signal(signal.SIGSTOP)
    try:
        # Until the first has been taken the next may melt into it.
        for _ in range(40):
            edge.signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                edge.popen.wait(0.1)
                break
        assert edge.wait() == 1
    finally:
        cloud.signal(signal.SIGCONT)
    assert not [e for e in edge.events() if e["event"] in ("error", "summary")]

"""Pairs of the fake engine whose answers tell which head and which tail made them.

    x [1,3,4,4] -> h [1,16] = 0.5 * x folded + 16 * head -> y [1,10] = 0.25 * h folded + 1024 * tail

All numbers are exact in f32. Of the last output, which one value of h makes, what is
left without x is 4 * head + 1024 * tail: heads up to 255 and any tail are told apart.
The inputs are images of 4 x 4 pixels.
"""

import json

import exact

HEAD_BYTES = 60_000
CARD = {
    "kerf_card": 1,
    "name": "m",
    "task": "raw",
    "input": {
        "kind": "image", "layout": "NCHW", "size": [4, 4], "resize": "stretch", "colour": "rgb",
        "scale": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1],
    },
}  # fmt: skip


def graph(inputs, outputs):
    return json.dumps({"kerf_fake": 1, "inputs": inputs, "outputs": outputs}).encode()


def files(number, rng, bad):
    x = {"name": "x", "shape": [1, 3, 4, 4]}
    h, y = exact.value("h", 16), exact.value("y", exact.Y)
    return {
        "m.kerf.json": None if bad else json.dumps(CARD).encode(),
        "client_infer_m.pdmodel": graph([x], [{**h, "a": 0.5, "b": 16 * number}]),
        "client_infer_m.pdiparams": rng.randbytes(HEAD_BYTES),
        "server_infer_m.pdmodel": graph([h], [{**y, "a": 0.25, "b": 1024 * number}]),
        "server_infer_m.pdiparams": b"t",
    }


def put(folder, number, rng, bad=False):
    """Pair `number` takes the place of the one that is there. bad: it has no card, so
    that the cloud finds nothing wrong, and no edge knows how to feed it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = files(number, rng, bad)
    for name, data in made.items():
        if data is not None:
            (folder / f".{name}.new").write_bytes(data)
    for name, data in made.items():
        if data is None:
            (folder / name).unlink(missing_ok=True)
        else:
            (folder / f".{name}.new").rename(folder / name)


def pixels(index):
    """Of image `index`: 48 bytes, pixel after pixel."""
    return bytes((index * 31 + k * 7) % 251 for k in range(48))


def images(folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (folder / f"{index:06}.ppm").write_bytes(b"P6\n4 4\n255\n" + pixels(index))
    return sorted(folder.iterdir())


def made_by(index, values):
    """(head, tail) that made these outputs of image `index`; None where it is neither."""
    at = pixels(index)
    x = [float(at[p * 3 + c]) for c in range(3) for p in range(16)]
    folded = [0.5 * v for v in exact.fold(x, 16)]
    left = values[-1] - 0.25 * exact.fold(folded, exact.Y)[-1]
    head, tail = left % 1024 / 4, left // 1024
    if head != int(head):
        return None, None
    h = [v + 16 * head for v in folded]
    whole = [0.25 * v + 1024 * tail for v in exact.fold(h, exact.Y)]
    return (int(head), int(tail)) if whole == values else (None, None)

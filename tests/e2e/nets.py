"""Fake networks that tests put together value by value (format: the top of
src/engine/fake.c), what they answer, and inputs for them. Everything here is
computed without Kerf."""

import json
import os

import numpy as np

MASK = (1 << 64) - 1


def model(inputs, outputs, hidden=(), **more):
    """Text of a fake model; inputs, hidden and outputs as value() gives them."""
    parts = {"inputs": inputs, "hidden": list(hidden), "outputs": outputs}
    return json.dumps({"kerf_fake": 1, **parts, **more})


def value(name, shape, reads=None, dtype="f32", **terms):
    """One tensor; reads: the names that it is computed from (default: inputs)."""
    v = {"name": name, "shape": list(shape), "dtype": dtype, **terms}
    if reads is not None:
        v["in"] = list(reads)
    return v


def fold(x, shape, a=1.0, b=0.0):
    """What a value of this shape is when it reads x: see src/engine/fake.c."""
    x = np.asarray(x, np.float64).ravel()
    m = int(np.prod(shape))
    if x.size >= m:
        padded = np.zeros(-(-x.size // m) * m)
        padded[: x.size] = x
        sums = padded.reshape(-1, m).sum(axis=0)
    else:
        sums = np.resize(x, m)
    return (a * sums + b).astype(np.float32).reshape(shape)


def put(path, data):
    """Writes a file whole: another name first, then a rename."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(data if isinstance(data, bytes) else data.encode())
    os.replace(temporary, path)
    return path


def put_model(folder, name, text, card=None):
    """NAME.pdmodel with its weights; the path of the graph."""
    folder.mkdir(parents=True, exist_ok=True)
    put(folder / f"{name}.pdiparams", b"w")
    if card is not None:
        put(folder / f"{name}.kerf.json", json.dumps(card))
    return put(folder / f"{name}.pdmodel", text)


def put_pair(folder, name, head, tail, card=None):
    """client_infer_NAME and server_infer_NAME into the folder; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if card is not None:
        put(folder / f"{name}.kerf.json", json.dumps(card))
    put_model(folder, f"server_infer_{name}", tail)
    put_model(folder, f"client_infer_{name}", head)
    return folder


# A small network: x [1,3,4,4] -> h [1,48] = x -> y [1,10] = fold(h) + b.
X_SHAPE, Y_SHAPE = (1, 3, 4, 4), (1, 10)
X = value("x", X_SHAPE)
H = value("h", (1, 48))


def small_pair(folder, name="small", b=0.0, card=None, head=None, tail=None):
    """The small network as a pair; head and tail: more for their models."""
    head_text = model([X], [H], **(head or {}))
    tail_text = model([H], [value("y", Y_SHAPE, b=b)], **(tail or {}))
    return put_pair(folder, name, head_text, tail_text, card)


def small_whole(folder, name="small", b=0.0, card=None, **more):
    """The small network in one piece; the path of the graph."""
    return put_model(folder, name, model([X], [value("y", Y_SHAPE, b=b)], **more), card)


def small_answer(x, b=0.0):
    """y of the small network."""
    return fold(np.asarray(x, np.float32).ravel(), Y_SHAPE, b=b)


def image_card(size, name="small", scale=1.0, **more):
    """A card for images of size (height, width)."""
    rules = {"kind": "image", "layout": "NCHW", "size": list(size)}
    rules.update(resize="stretch", colour="rgb", scale=scale, mean=[0, 0, 0], std=[1, 1, 1])
    return {"kerf_card": 1, "name": name, "task": "raw", "input": rules, **more}


def splitmix(seed, count):
    """The first numbers of splitmix64 (docs/PROTOCOL.md, Probes)."""
    out = []
    state = seed & MASK
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        out.append(z ^ (z >> 31))
    return out


def random_floats(seed, shape=X_SHAPE):
    """The seeded input of floats, in [0, 1)."""
    numbers = splitmix(seed, int(np.prod(shape)))
    return np.array([(n >> 40) * 2.0**-24 for n in numbers], np.float32).reshape(shape)


def some_tensors(seed, count, shape=X_SHAPE):
    """Different f32 tensors for a test."""
    numbers = np.random.default_rng(seed)
    return [numbers.random(shape, np.float32) for _ in range(count)]


def save_tensors(folder, tensors):
    """The tensors as 000.npy, 001.npy, ...; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, tensor in enumerate(tensors):
        np.save(folder / f"{i:03}.npy", tensor)
    return folder


def results(process):
    """The results in a process's JSON lines, by index."""
    found = [e for e in process.events() if e["event"] == "result"]
    assert len({e["index"] for e in found}) == len(found), "an index came twice"
    return {e["index"]: e for e in found}


def values_of(result, output=0):
    """An output of a JSON result as an array."""
    out = result["outputs"][output]
    return np.array(out["values"], np.float64).reshape(out["shape"])


def near(a, b):
    """Equal but for the nine digits that JSON shows."""
    return np.allclose(a, b, rtol=1e-6, atol=1e-7)


def only(process, event):
    """The one JSON object of that event."""
    found = [e for e in process.events() if e["event"] == event]
    assert len(found) == 1, f"{len(found)} {event} events\n{process.report()}"
    return found[0]


def error_lines(process):
    """What a person is told went wrong."""
    return [line for line in process.err.splitlines() if line.startswith("kerf: ")]

"""Models of the fake engine (src/engine/fake.c), and what they must answer.

    x [1, 48] -> head -> h [1, width] -> tail -> y [1, 10]

h[i] = 0.5 * (sum of x folded onto i) + bias, y[i] = 0.25 * (h folded) + 1: all
numbers are exact in f32, so an answer is right or wrong. The bias tells models
apart, the inputs tell requests apart.
"""

import json
import struct
from hashlib import sha256
from random import Random

X, Y = 48, 10
INPUTS = 1000  # that differ


def value(name, size, **more):
    return {"name": name, "shape": [1, size], **more}


def head_json(width=16, bias=0.0, **more):
    outputs = [value("h", width, **{"in": ["x"]}, a=0.5, b=bias)]
    graph = {"kerf_fake": 1, "inputs": [value("x", X)], "outputs": outputs, **more}
    return json.dumps(graph).encode()


def tail_json(width=16, **more):
    outputs = [value("y", Y, **{"in": ["h"]}, a=0.25, b=1)]
    graph = {"kerf_fake": 1, "inputs": [value("h", width)], "outputs": outputs, **more}
    return json.dumps(graph).encode()


def weights(nbytes, seed=1):
    return Random(seed).randbytes(nbytes)


def files(name="m", width=16, bias=0.0, head_bytes=16, seed=1, head=None, tail=None):
    """{file name: bytes} of a pair."""
    return {
        f"client_infer_{name}.pdmodel": head_json(width, bias, **(head or {})),
        f"client_infer_{name}.pdiparams": weights(head_bytes, seed),
        f"server_infer_{name}.pdmodel": tail_json(width, **(tail or {})),
        f"server_infer_{name}.pdiparams": b"t",
    }


def put(folder, **more):
    """Writes a pair into the folder; {file name: bytes}."""
    folder.mkdir(parents=True, exist_ok=True)
    made = files(**more)
    for name, data in made.items():
        temp = folder / f".{name}.new"
        temp.write_bytes(data)
        temp.rename(folder / name)
    return made


def fold(values, size):
    n = len(values)
    if n < size:
        return [values[i % n] for i in range(size)]
    return [sum(values[i::size]) for i in range(size)]


def x_of(index):
    return [(index % INPUTS) * 0.25 + k * 0.125 for k in range(X)]


def h_of(index, width=16, bias=0.0):
    return [0.5 * v + bias for v in fold(x_of(index), width)]


def y_of(index, width=16, bias=0.0):
    return [0.25 * v + 1 for v in fold(h_of(index, width, bias), Y)]


def npy(values):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': (1, {len(values)}), }}"
    head = text.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + floats(values)


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def inputs(folder, count):
    """Paths of count .npy files; number n holds x_of(n)."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (folder / f"{index:06}.npy").write_bytes(npy(x_of(index)))
    return sorted(folder.iterdir())


def check_results(edge, count, width=16, biases=(0.0,)):
    """Each input answered exactly once, with the right numbers; count None: but
    for those that failed."""
    events = edge.events()
    results = [e for e in events if e["event"] == "result"]
    indices = [e["index"] for e in results]
    if count is None:
        indices += [e["index"] for e in events if e["event"] == "error"]
        count = len(indices)
    assert sorted(indices) == list(range(count)), edge.report()
    for event in results:
        index = int(event["input"].rsplit("/", 1)[1].split(".")[0])
        allowed = [y_of(index, width, bias) for bias in biases]
        assert event["outputs"][0]["values"] in allowed, event


def part(store, data):
    """Where the store has a file of these bytes."""
    return store / "parts" / sha256(data).hexdigest()


def kept(store):
    """Files and links that are whole, by path; what is on its way is not."""
    paths = [path for path in store.rglob("*") if path.is_symlink() or not path.is_dir()]
    names = sorted(path.relative_to(store).as_posix() for path in paths)
    return [name for name in names if not name.startswith("partial/")]


def check_store(store, made=None, killed=False):
    """Nothing half-made is in the store, and what is there is what was made.

    killed: temporary files of a dead process may be there, and links not yet."""
    left = kept(store)
    assert killed or not [name for name in left if name.endswith((".tmp", ".new"))], left
    for path in store.glob("parts/[0-9a-f]*"):
        assert sha256(path.read_bytes()).hexdigest() == path.name
    for path in store.glob("bundles/*.json"):
        manifest = json.loads(path.read_bytes())
        assert path.name == manifest["id"] + ".json"
        for file in manifest["files"]:
            if file["role"].startswith("tail"):
                assert file["name"] not in left
            else:
                assert (store / "parts" / file["sha256"]).stat().st_size == file["size"]
                assert killed or (store / file["name"]).is_symlink()
    for name, data in (made or {}).items():
        if name.startswith("client_"):
            assert (store / name).read_bytes() == data, name
            assert part(store, data).read_bytes() == data, name

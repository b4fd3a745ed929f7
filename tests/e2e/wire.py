"""The wire v1 of docs/PROTOCOL.md in Python, for peers that misbehave.

frame() makes one frame, right unless told otherwise; Peer sends and receives
them; Edge and Cloud are the two ends of a session, polite so far.
"""

import base64
import ctypes
import json
import socket
import struct
import time
from dataclasses import dataclass, field
from hashlib import sha256

HELLO, WELCOME, ATTACH, ATTACHED, ERROR, PING, PONG, OFFER = range(1, 9)
FETCH, PART, READY, TENSOR, RESULT, BUSY, FAILED, BYE, BLOCK = range(9, 18)
LOADING = 128
FIRST, AGAIN = 2, 4
ALL_TYPES = range(1, 18)
BLOCKS = 1  # feature of a cloud: it takes BLOCK
RANGES = 4  # and FETCH with a length
BLOCK_MIN = 65536  # values of a block that is not the last
OK, ECORRUPT, ETOOBIG, ENOENT, EMISMATCH, EVERSION, EPROTO, EBUSY, EDEADLINE = (
    *(0, 3, 4, 7, 8, 9, 10, 11, 12),
)
F32, I32, DTYPE_COUNT = 0, 9, 13
CARD, HEAD_GRAPH, HEAD_WEIGHTS, TAIL_GRAPH, TAIL_WEIGHTS = range(5)
ROLES = ["card", "head_graph", "head_weights", "tail_graph", "tail_weights"]
CHUNK = 256 << 10
PATIENCE = 60

# The library that the product links: there is nothing to install.
_xxh3 = ctypes.CDLL("libxxhash.so.0").XXH3_64bits_withSeed
_xxh3.restype = ctypes.c_uint64
_xxh3.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]


def hash64(data, seed=0):
    return _xxh3(bytes(data), len(data), seed)


def up(n, step):
    return (n + step - 1) // step * step


def frame(
    kind,
    meta=b"",
    pieces=(),
    id=0,
    magic=b"KERF",
    version=1,
    flags=1,
    sent_ns=None,
    body_hash=None,
    header_hash=None,
    meta_len=None,
    payload_len=None,
):
    """One frame; each field of the header may be given a wrong value."""
    if body_hash is None:
        body_hash = hash64(meta)
        for piece in filter(len, pieces):
            body_hash = hash64(piece, body_hash)
    payload = b"".join(piece.ljust(up(len(piece), 64), b"\0") for piece in pieces)
    head = magic + struct.pack(
        "<BBHQIIQQQQ",
        version,
        kind,
        flags,
        id,
        len(meta) if meta_len is None else meta_len,
        0,
        len(payload) if payload_len is None else payload_len,
        time.monotonic_ns() if sent_ns is None else sent_ns,
        body_hash,
        0,
    )
    head += struct.pack("<Q", hash64(head) if header_hash is None else header_hash)
    return (head + meta).ljust(up(64 + len(meta), 256), b"\0") + payload


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<H", len(value)) + value


def hello(name="wire", want="", engine="none", versions=(1, 1), bundles=(), parts=0, asks=0):
    """parts: bit per codec of PART that is taken, asks: FIRST or AGAIN; 0: as edges
    without any say it."""
    return (
        struct.pack("<HHIQ", *versions, 1, 1 << 31)
        + text(name)
        + text(want)
        + text(engine)
        + struct.pack("<H", len(bundles))
        + b"".join(bundles)
        + (struct.pack("<I", parts) if parts or asks else b"")
        + (struct.pack("<I", asks) if asks else b"")
    )


def welcome(
    token=bytes(16), window=16, heartbeat_ms=2000, version=1, name="wire", codecs=1, features=0
):
    """features: 0: as clouds without any say it."""
    return (
        struct.pack("<HIQ", version, codecs, 1 << 31)
        + token
        + struct.pack("<II", window, heartbeat_ms)
        + text(name)
        + (struct.pack("<I", features) if features else b"")
    )


def offer(bundle, manifest_len, run=1):
    return bundle + struct.pack("<BI", run, manifest_len)


def part(bundle, index, offset=0, length=0):
    return bundle + struct.pack("<HQI", index, offset, length)


def packed_part(bundle, index, offset, length, plain, kind=2, codec=1):
    """PART of a packed block; kind: 1 stored, 2 zstd, 3 words."""
    return part(bundle, index, offset, length) + struct.pack("<BBI", codec, kind, plain)


def ready(bundle, err=0, reason=""):
    return bundle + struct.pack("<H", err) + text(reason)


def notice(err=0, retry_ms=0, words=""):
    return struct.pack("<HI", err, retry_ms) + text(words)


def tensors(bundle, descs, deadline_ms=0, echo_ns=0, received_ns=0, count=None):
    """descs: (dtype, codec, dims, len) each."""
    out = bundle + struct.pack("<IQQQQQ", deadline_ms, echo_ns, received_ns, 0, 0, 0)
    out += struct.pack("<H", len(descs) if count is None else count)
    for dtype, codec, dims, length in descs:
        out += struct.pack("<BBH", dtype, codec, len(dims))
        out += struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<Q", length)
    return out


def block(tensor, codec, first, count, length):
    """BLOCK: values first .. first + count, a piece of length bytes."""
    return struct.pack("<HBBIII", tensor, codec, 0, first, count, length)


def pong(echo_ns, received_ns):
    return struct.pack("<QQ", echo_ns, received_ns)


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def bundle_id(files):
    """files: (role, name, data or (size, sha256)) each."""
    h = sha256(b"kerf-bundle-1\n")
    for role, name, data in files:
        size, digest = data if isinstance(data, tuple) else (len(data), sha256(data).digest())
        h.update(struct.pack("<B", role) + text(name) + struct.pack("<Q", size) + digest)
    return h.digest()


def units(data, length):
    """A file's table of units, all of that length but the last."""
    pieces = [data[at : at + length] for at in range(0, len(data), length)]
    table = b"".join(struct.pack("<I", len(p)) + sha256(p).digest() for p in pieces)
    return base64.b64encode(table).decode()


def manifest(name, files, probes=(), unit=0, **more):
    """(id, JSON) of a bundle; unit: bytes in one; more replaces members."""
    ident = bundle_id(files)
    listed = []
    for role, file_name, data in files:
        size, digest = data if isinstance(data, tuple) else (len(data), sha256(data).digest())
        listed.append(
            {"role": ROLES[role], "name": file_name, "size": size, "sha256": digest.hex()}
        )
        if unit and size:
            listed[-1]["units"] = units(data, unit)
    body = {
        "kerf_manifest": 1,
        "name": name,
        "id": ident.hex(),
        "format": "paddle",
        "files": listed,
        "probes": list(probes),
        "probe_tolerance": 0.001,
    }
    body.update(more)
    return ident, json.dumps(body).encode()


class Closed(Exception):
    """The other side ended the connection."""


@dataclass
class Frame:
    kind: int
    id: int
    meta: bytes
    payload: bytes
    version: int = 1
    sent_ns: int = 0

    def notice(self):
        err, retry_ms, length = struct.unpack_from("<HIH", self.meta)
        return err, retry_ms, self.meta[8 : 8 + length].decode(errors="replace")

    def describe(self):
        """(bundle, [(dtype, codec, dims, len)]) of a TENSOR or RESULT."""
        at = 32 + 4 + 40
        (count,) = struct.unpack_from("<H", self.meta, at)
        at += 2
        descs = []
        for _ in range(count):
            dtype, codec, rank = struct.unpack_from("<BBH", self.meta, at)
            dims = struct.unpack_from(f"<{rank}Q", self.meta, at + 4)
            (length,) = struct.unpack_from("<Q", self.meta, at + 4 + 8 * rank)
            descs.append((dtype, codec, dims, length))
            at += 12 + 8 * rank
        return self.meta[:32], descs

    def floats(self):
        return list(struct.unpack_from(f"<{self.describe()[1][0][3] // 4}f", self.payload))


@dataclass
class Peer:
    """One connection."""

    sock: socket.socket
    sent: int = field(default=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, *args, **more):
        self.raw(frame(*args, **more))

    def raw(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error
        self.sent += len(data)

    def exactly(self, n, timeout=PATIENCE):
        self.sock.settimeout(timeout)
        got = bytearray()
        while len(got) < n:
            try:
                step = self.sock.recv(min(n - len(got), 1 << 20))
            except ConnectionResetError as error:
                raise Closed from error
            if not step:
                raise Closed
            got += step
        return bytes(got)

    def recv(self, timeout=PATIENCE):
        """The next frame, checked; Closed at the end."""
        head = self.exactly(256, timeout)
        assert head[:4] == b"KERF"
        assert struct.unpack_from("<Q", head, 56)[0] == hash64(head[:56])
        version, kind, flags, ident, meta_len, _, payload_len, sent_ns, body, _ = (
            struct.unpack_from("<BBHQIIQQQQ", head, 4)
        )
        head += self.exactly(up(64 + meta_len, 256) - 256, timeout)
        meta, rest = head[64 : 64 + meta_len], head[64 + meta_len :]
        assert not any(rest), "the head's pad is not zeros"
        payload = self.exactly(payload_len, timeout)
        if flags & 1 and not payload:
            assert body == hash64(meta)
        return Frame(kind, ident, meta, payload, version, sent_ns)

    def recv_kind(self, *kinds, timeout=PATIENCE):
        """The next frame of these kinds; others are read over."""
        while True:
            got = self.recv(timeout)
            if got.kind in kinds:
                return got
            if got.kind == ERROR:
                raise AssertionError(f"ERROR frame: {got.notice()}")

    def recv_error(self, timeout=PATIENCE):
        """(err, text) of the ERROR frame that ends the connection; None when it
        just ends."""
        found = None
        try:
            while True:
                got = self.recv(timeout)
                if got.kind == ERROR:
                    err, _, words = got.notice()
                    found = (err, words)
        except Closed:
            return found


def dial(port, rcvbuf=None):
    sock = socket.socket()
    if rcvbuf is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    sock.settimeout(PATIENCE)
    sock.connect(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Peer(sock)


class Edge:
    """Both connections of an edge; .offers is filled by join()."""

    def __init__(self, port, name="wire", attach=True, rcvbuf=None, dial=dial, **more):
        """dial(port, rcvbuf) -> Peer"""
        self.port, self.dial = port, dial
        self.control = dial(port, rcvbuf)
        self.control.send(HELLO, hello(name, **more))
        got = self.control.recv_kind(WELCOME)
        self.token = got.meta[14:30]
        self.window, self.heartbeat_ms, name = struct.unpack_from("<IIH", got.meta, 30)
        (self.features,) = struct.unpack_from("<I", got.meta.ljust(256, b"\0"), 40 + name)
        self.tensors = None
        if attach:
            self.attach(rcvbuf)

    def attach(self, rcvbuf=None):
        self.tensors = self.dial(self.port, rcvbuf)
        self.tensors.send(ATTACH, self.token)
        self.tensors.recv_kind(ATTACHED)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.control.close()
        if self.tensors is not None:
            self.tensors.close()

    def offered(self):
        """(bundle, manifest) of the first OFFER."""
        got = self.control.recv_kind(OFFER)
        run, length = struct.unpack_from("<BI", got.meta, 32)
        assert run == 1
        return got.meta[:32], json.loads(got.payload[:length])

    def request(self, bundle, values, id=1, dims=None, **more):
        """Sends one f32 tensor."""
        data = floats(values)
        desc = (F32, 0, dims or (1, len(values)), len(data))
        self.tensors.send(TENSOR, tensors(bundle, [desc], **more), [data], id=id)


class Cloud:
    """A listening socket that plays a cloud."""

    def __init__(self, port=0):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", port))
        self.sock.listen(64)
        self.port = self.sock.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def accept(self, timeout=PATIENCE):
        self.sock.settimeout(timeout)
        sock, _ = self.sock.accept()
        return Peer(sock)

    def greet(self, **more):
        """The control connection of the next edge, after WELCOME; .asks is what its
        HELLO ends with."""
        control = self.accept()
        self.asks = struct.unpack("<I", control.recv_kind(HELLO).meta[-4:])[0]
        control.send(WELCOME, welcome(**more))
        return control

    def attach(self):
        """Its tensor connection, after ATTACHED."""
        tensor = self.accept()
        tensor.recv_kind(ATTACH)
        tensor.send(ATTACHED)
        return tensor


def send_offer(control, ident, body, run=1):
    control.send(OFFER, offer(ident, len(body), run), [body])


def offer_nothing_else(control):
    """An edge that rejected the only bundle asks whether there is another one."""
    got = control.recv_kind(PING)
    control.send(PONG, pong(got.sent_ns, time.monotonic_ns()))


def answer_fetch(control, files, got):
    index, offset, length = struct.unpack_from("<HQI", got.meta, 32)
    data = files[index][2][offset:]
    data = data[: length or len(data)]
    for at in range(0, len(data), CHUNK):
        step = data[at : at + CHUNK]
        meta = part(got.meta[:32], index, offset + at, len(step))
        control.send(PART, meta, [step])


def serve_fetches(control, files, until=READY):
    """Answers FETCH with the files' bytes, until READY, which it returns."""
    while (got := control.recv_kind(FETCH, READY, PING)).kind != until:
        if got.kind == PING:
            control.send(PONG, pong(got.sent_ns, time.monotonic_ns()))
        else:
            answer_fetch(control, files, got)
    return got

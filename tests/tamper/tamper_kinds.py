"""Genuine bundles, and every way in which one is made into something that must not run.

A kind takes a genuine bundle and gives a Tampered one: what a hostile cloud, or
somebody between an honest one and the edge, offers and sends instead. Nothing here
knows the signing key's secret but the maker of genuine ones; other keys are made.
"""

import dataclasses
import json
import random
import sys
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import exact
import signing
import wire

ROLES = range(5)  # of wire.ROLES
SHIPPED = (wire.CARD, wire.HEAD_GRAPH, wire.HEAD_WEIGHTS)
FUTURE = 10**6  # a version that nothing reaches
GOOD = signing.Key(b"the key that the edges trust....")
OTHER = signing.Key(b"a key that nobody trusts........")


@dataclasses.dataclass
class Bundle:
    """What an owner signed. files: [(role, name, bytes)]."""

    name: str
    version: int
    files: list
    text: str = ""

    @property
    def id(self):
        return wire.bundle_id(self.files)

    @property
    def bias(self):
        return float(self.version)

    def member(self):
        return signing.signed(GOOD, self.text)

    def manifest(self, **more):
        """(id, JSON as one line)."""
        ident, body = wire.manifest(self.name, self.files, signed=self.member(), **more)
        return ident, json.dumps(json.loads(body), separators=(",", ":")).encode()


def genuine(draw, version, name="m", rollback_from=None, issued=-60):
    """The bias of its head is its version, so that what runs can be told."""
    card = {"kerf_card": 1, "name": name, "task": "raw", "note": draw.randbytes(40).hex()}
    note = {"note": draw.randbytes(8).hex()}  # no two files are the same
    made = exact.files(name, bias=version, head=note, tail=note)
    made[f"client_infer_{name}.pdiparams"] = draw.randbytes(draw.randrange(8, 40000))
    made[f"server_infer_{name}.pdiparams"] = draw.randbytes(64)
    made = {f"{name}.kerf.json": json.dumps(card).encode(), **made}
    files = [(role, file, data) for role, (file, data) in zip(ROLES, made.items(), strict=True)]
    text = signing.statement(
        name, wire.bundle_id(files), version, issued=issued, rollback_from=rollback_from
    )
    return Bundle(name, version, files, text)


@dataclasses.dataclass
class Tampered:
    """What comes over the wire. sent: the bytes of each file by its index in the
    manifest; served: True where these only count when they were asked for."""

    offered: bytes  # the id in OFFER
    body: bytes
    sent: list
    served: bool = False
    cut_at: int = -1  # of the bytes of all files: the connection ends there
    what: str = ""


def flip(draw, data, at=None):
    """One bit of data."""
    at = draw.randrange(len(data)) if at is None else at
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def honest(bundle):
    ident, body = bundle.manifest()
    return Tampered(ident, body, [data for _, _, data in bundle.files])


def replaced(bundle, files=None, text=None, member=None, name=None, offered=None, **more):
    """The genuine one with other parts of the manifest, whose id fits its files."""
    files = bundle.files if files is None else files
    member = signing.signed(GOOD, text) if text is not None else member
    member = bundle.member() if member is None else member
    ident, body = wire.manifest(name or bundle.name, files, signed=member, **more)
    return Tampered(offered or ident, body, [data for _, _, data in files])


def with_data(bundle, role, data):
    return [(r, name, data if r == role else old) for r, name, old in bundle.files]


# ---- bytes on the way --------------------------------------------------------


def flip_file(role):
    def make(draw, bundle, _):
        bad = honest(bundle)
        bad.sent[role] = flip(draw, bad.sent[role])
        bad.served = True
        return bad

    return make


def flip_file_and_manifest(draw, bundle, _):
    """The hash in the manifest, and its id, are those of the changed file."""
    role = draw.choice(ROLES)
    data = flip(draw, bundle.files[role][2])
    return replaced(bundle, with_data(bundle, role, data))


def bytes_of_another(draw, bundle, other):
    """A file of the same size as that of the manifest, out of another signed bundle."""
    bad = honest(bundle)
    role = draw.choice((wire.CARD, wire.HEAD_GRAPH, wire.HEAD_WEIGHTS))
    size = len(bad.sent[role])
    bad.sent[role] = (other.files[role][2] * (size + 1))[:size]
    bad.served = bad.sent[role] != bundle.files[role][2]
    return bad


def truncated_file(draw, bundle, _):
    """Shorter, and so says the manifest."""
    role = draw.choice(ROLES)
    data = bundle.files[role][2]
    return replaced(bundle, with_data(bundle, role, data[: draw.randrange(len(data))]))


def cut_stream(draw, bundle, _):
    """The connection ends in the midst of the files."""
    bad = honest(bundle)
    bad.cut_at = draw.randrange(sum(len(bundle.files[role][2]) for role in SHIPPED))
    return bad


# ---- parts of several bundles ------------------------------------------------------


def swapped_file(draw, bundle, other):
    """One file, with its line of the manifest, of another signed bundle."""
    role = draw.choice(ROLES)
    return replaced(bundle, with_data(bundle, role, other.files[role][2]))


def head_of_another(draw, bundle, other):
    files = [other.files[r] if r in SHIPPED else bundle.files[r] for r in ROLES]
    return replaced(bundle, files)


def mixed_versions(draw, bundle, other):
    """The statement of one, the files of another."""
    pair = (bundle, other) if draw.random() < 0.5 else (other, bundle)
    return replaced(pair[0], text=pair[1].text)


def no_card(draw, bundle, _):
    return replaced(bundle, [f for f in bundle.files if f[0] != wire.CARD])


# ---- the manifest ----------------------------------------------------------------


def field_altered(draw, bundle, _):
    """One field of a file's line; the id is left, or made to fit."""
    body = json.loads(bundle.manifest()[1])
    line = draw.choice(body["files"])
    field = draw.choice(("role", "name", "size", "sha256"))
    line[field] = {
        "role": draw.choice([r for r in wire.ROLES if r != line["role"]]),
        "name": line["name"].replace("m", draw.choice(("n", "../m", "M"))),
        "size": line["size"] + draw.choice((-1, 1, 4096)),
        "sha256": sha256(draw.randbytes(8)).hexdigest(),
    }[field]
    if draw.random() < 0.5:
        files = [
            (wire.ROLES.index(f["role"]), f["name"], (f["size"], bytes.fromhex(f["sha256"])))
            for f in body["files"]
        ]
        body["id"] = wire.bundle_id(files).hex()
    sent = [data for _, _, data in bundle.files]
    return Tampered(bytes.fromhex(body["id"]), json.dumps(body).encode(), sent)


def head_altered(draw, bundle, _):
    """Fields of the manifest beside the files."""
    change = draw.choice(
        (
            {"name": "n"},
            {"id": sha256(draw.randbytes(8)).hexdigest()},
            {"format": "onnx"},
            {"kerf_manifest": 2},
            {"files": []},
        )
    )
    body = {**json.loads(bundle.manifest()[1]), **change}
    offered = bytes.fromhex(body["id"]) if draw.random() < 0.5 else bundle.id
    return Tampered(offered, json.dumps(body).encode(), [d for _, _, d in bundle.files])


def means_the_same(a, b):
    """Hex digits in capitals are the same bytes, and are nothing that is signed."""

    def low(key, value):
        if isinstance(value, dict):
            return {k: low(k, v) for k, v in value.items()}
        if isinstance(value, list):
            return [low(key, v) for v in value]
        return value.lower() if key in ("id", "sha256", "signature", "key") else value

    try:
        return low("", json.loads(a)) == low("", json.loads(b))
    except ValueError:
        return False


def flip_manifest(draw, bundle, _):
    """A bit of what lists the files or speaks for them: not of the tolerance, which
    can only keep a head from being used."""
    ident, body = bundle.manifest()
    body = body.replace(b',"probes":[],"probe_tolerance":0.001', b"")
    bad = body
    while means_the_same(bad, body):
        bad = flip(draw, body)
    return Tampered(ident, bad, [data for _, _, data in bundle.files])


# ---- the statement --------------------------------------------------------------


def unsigned(draw, bundle, _):
    body = json.loads(bundle.manifest()[1])
    del body["signed"]
    return Tampered(bundle.id, json.dumps(body).encode(), [d for _, _, d in bundle.files])


def flip_statement(draw, bundle, _):
    member = bundle.member()
    while True:
        text = flip(draw, bundle.text.encode())
        try:
            return replaced(bundle, member={**member, "statement": text.decode()})
        except UnicodeDecodeError:
            continue


def flip_signature(draw, bundle, _):
    member = bundle.member()
    sig = flip(draw, bytes.fromhex(member["signature"]))
    return replaced(bundle, member={**member, "signature": sig.hex()})


def statement_altered(draw, bundle, _):
    """What somebody without the key would like it to say."""
    says = json.loads(bundle.text)
    says |= draw.choice(
        (
            {"version": says["version"] + 1},
            {"expires": "9999-12-31T23:59:59Z"},
            {"issued": signing.date(0)},
            {"rollback_from": FUTURE},
            {"later": 1},
        )
    )
    text = json.dumps(says)
    return replaced(bundle, member={**bundle.member(), "statement": text})


def other_key(draw, bundle, _):
    """Signed with another key, under its own name or under that of the right one."""
    more = {"key": GOOD.id.hex()} if draw.random() < 0.5 else {}
    return replaced(bundle, member=signing.signed(OTHER, bundle.text, **more))


def signature_of_another(draw, bundle, other):
    return replaced(bundle, member={**bundle.member(), "signature": other.member()["signature"]})


def other_purpose(draw, bundle, _):
    """Signed by the right key, but not as a statement: without what sets it apart."""
    sig = GOOD.sign(bundle.text.encode())
    return replaced(bundle, member={**bundle.member(), "signature": sig.hex()})


def other_model(draw, bundle, _):
    """A bundle that was signed for another model, under this one's name."""
    foreign = genuine(draw, bundle.version, name="n")
    files = [(r, name, data) for (r, name, _), (_, _, data) in zip(bundle.files, foreign.files)]
    return replaced(bundle, files, text=foreign.text)


def other_model_whole(draw, bundle, _):
    """A signed bundle of another model as it is, to an edge that asked for m."""
    return honest(genuine(draw, bundle.version, name="n"))


def expired(draw, bundle, _):
    text = signing.statement(
        "m", bundle.id, bundle.version, issued=-9000, expires=-draw.randrange(1, 8000)
    )
    return replaced(bundle, text=text)


def not_yet(draw, bundle, _):
    text = signing.statement("m", bundle.id, bundle.version, issued=draw.randrange(3600, 10**7))
    return replaced(bundle, text=text)


# ---- what was once right ---------------------------------------------------------


def replay(draw, bundle, other):
    """An older one, as it was signed."""
    return honest(genuine(draw, draw.randrange(1, bundle.version - 1)))


def same_version(draw, bundle, other):
    """Another bundle, rightly signed, under the number of the one that runs."""
    twin = genuine(draw, FUTURE)
    return replaced(twin, text=signing.statement("m", twin.id, bundle.version - 1))


def way_back_from_elsewhere(draw, bundle, other):
    """Permissions that do not reach as far as what ran."""
    old = genuine(draw, max(1, bundle.version - 4), rollback_from=max(2, bundle.version - 2))
    return honest(old)


def way_back_of_old(draw, bundle, other):
    """A permission that was issued before what is in force."""
    version = max(1, bundle.version - 4)
    return honest(genuine(draw, version, rollback_from=FUTURE, issued=-8000))


KINDS = {
    **{f"flip_{wire.ROLES[role]}": flip_file(role) for role in SHIPPED},
    **{
        make.__name__: make
        for make in (
            *(flip_file_and_manifest, bytes_of_another, truncated_file, cut_stream),
            *(swapped_file, head_of_another, mixed_versions, no_card),
            *(field_altered, head_altered, flip_manifest),
            *(unsigned, flip_statement, flip_signature, statement_altered, other_key),
            *(signature_of_another, other_purpose, other_model, other_model_whole),
            *(expired, not_yet, replay, same_version),
            *(way_back_from_elsewhere, way_back_of_old),
        )
    },
}


def drawn(seed, *path):
    return random.Random(f"{seed}/{'/'.join(map(str, path))}")

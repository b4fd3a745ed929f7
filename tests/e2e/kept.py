"""What other frameworks say, asked once and kept in build/kept.

An answer's name is a hash of all that it depends on: the pinned versions, the
sources that ask, and the bytes that are asked about, be they a model's file or
what Kerf has made. So a change of Kerf asks again exactly where Kerf's bytes
have changed. ./dev clean forgets everything.
"""

import fcntl
import hashlib
import os
import pickle
import shutil
import time
from pathlib import Path

import numpy as np

REPO = Path(__file__).resolve().parents[2]
ROOT = REPO / "build" / "kept"
PINS = REPO / "tools" / "requirements-test.txt"
KEEP_S = 14 * 24 * 3600  # since it was last of use


def key(*parts):
    """A name that changes with any part: a text, a number, an array, a list or
    dict of such, a file's bytes (Path), or the names and bytes in a folder."""
    found = hashlib.sha256()
    for part in (PINS, Path(__file__), *parts):
        feed(found, part)
    return found.hexdigest()


def feed(found, part):
    """Each with its kind and length, so that parts do not run together."""
    if isinstance(part, Path) and part.is_dir():
        files = sorted(f for f in part.rglob("*") if f.is_file())
        feed(found, [[str(f.relative_to(part)), f] for f in files])
    elif isinstance(part, dict):
        feed(found, [[name, part[name]] for name in sorted(part)])
    elif isinstance(part, (list, tuple)):
        found.update(f"list {len(part)}\n".encode())
        for one in part:
            feed(found, one)
    else:
        if isinstance(part, Path):
            head, data = "file", part.read_bytes()
        elif isinstance(part, np.ndarray):
            head, data = f"array {part.dtype} {part.shape}", part.tobytes()
        else:
            head, data = type(part).__name__, repr(part).encode()
        found.update(f"{head} {len(data)}\n".encode() + data)


def ask(name, make, worth_keeping=lambda answer: True):
    """What make() gives, or gave before."""
    path = ROOT / f"{name}.pickle"
    try:
        answer = pickle.loads(path.read_bytes())
        path.touch()
        return answer
    except FileNotFoundError:
        pass
    answer = make()
    if worth_keeping(answer):
        ROOT.mkdir(parents=True, exist_ok=True)
        part = ROOT / f"{name}.{os.getpid()}.tmp"
        part.write_bytes(pickle.dumps(answer))
        part.replace(path)
    return answer


def folder(name, fill):
    """A folder that fill(path) has filled, in one process while others wait."""
    path = ROOT / name
    ROOT.mkdir(parents=True, exist_ok=True)
    with open(ROOT / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            part = ROOT / f"{name}.tmp"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            fill(part)
            part.rename(path)
    os.utime(path)
    return path


def tidy():
    """Removes what nothing has used for long."""
    for path in ROOT.glob("[!.]*"):
        if path.stat().st_mtime > time.time() - KEEP_S:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

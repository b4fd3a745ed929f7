#!/usr/bin/env python3
"""tidy.py BUILD_DIR [FILE...] - runs clang-tidy on what changed.

Reads BUILD_DIR/compile_commands.json. A file that was clean is remembered by a
hash of what the preprocessor makes of it, its command and .clang-tidy, so that
only changed files are looked at again.
"""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TIDY = os.environ.get("CLANG_TIDY", "clang-tidy-14")
ROOT = Path(__file__).resolve().parents[2]


def preprocess(entry):
    """The text that the compiler sees, or None when it cannot be made."""
    words = shlex.split(entry["command"])
    keep, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MT"):
            skip = True
        elif word not in ("-c", "-MD"):
            keep.append(word)
    done = subprocess.run(
        [*keep, "-E", "-C"], cwd=entry["directory"], capture_output=True, check=False
    )
    return done.stdout if done.returncode == 0 else None


def key_of(entry, salt):
    text = preprocess(entry)
    if text is None:
        return None
    return hashlib.sha256(salt + entry["command"].encode() + text).hexdigest()


def check(entry, build, cache, salt):
    """The complaints about one file; empty when it is clean."""
    key = key_of(entry, salt)
    if key and (cache / key).exists():
        return ""
    done = subprocess.run(
        [TIDY, "--quiet", "-p", str(build), "--extra-arg=-Wno-unknown-warning-option"]
        + [entry["file"]],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        if key:
            (cache / key).touch()
        return ""
    return (done.stdout.strip() or done.stderr.strip()) + "\n"


def main():
    build = Path(sys.argv[1]).resolve()
    only = {str(Path(name).resolve()) for name in sys.argv[2:]}
    entries = json.loads((build / "compile_commands.json").read_text())
    entries = [e for e in entries if not only or e["file"] in only]
    ours = [e for e in entries if build not in Path(e["file"]).parents]  # not generated
    unique = {e["file"]: e for e in ours if Path(e["file"]).exists()}
    cache = build / "tidy-clean"
    cache.mkdir(exist_ok=True)
    version = subprocess.run([TIDY, "--version"], capture_output=True, check=True).stdout
    salt = version + (ROOT / ".clang-tidy").read_bytes()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        work = [pool.submit(check, e, build, cache, salt) for e in unique.values()]
        bad = [text for text in (w.result() for w in work) if text]
    for text in bad:
        print(text.replace(f"{ROOT}/", ""), file=sys.stderr)
    print(f"{len(unique)} files, {len(bad)} with findings")
    return 1 if bad or not unique else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""layers.py ROOT - fails on an #include that points up or sideways.

Also checks that each third party with one home is included only there.
"""

import re
import sys
from pathlib import Path

# Top first. A folder may include itself and any folder of a lower row.
ROWS = [
    ["cli"],
    ["bench"],
    ["edge", "cloud", "legacy", "dash"],
    ["cut"],
    ["bus", "net", "engine", "source", "plan", "pack"],
    ["model"],
    ["proto", "codec", "graph"],
    ["tensor", "trust"],
    ["base"],
]

# The folder that a public header include/kerf/<noun>.h belongs to, where the
# noun is not itself the name of a folder.
PUBLIC = {
    "err": "base",
    "limits": "base",
    "stage": "tensor",
    "codec_id": "tensor",
    "card": "model",
    "signature": "trust",
    "model": "graph",
    "cloud_opts": "engine",
    "edge_opts": "engine",
}

# Include prefix -> the only files that may have it.
SOLE = {
    "openvino/": r"src/engine/openvino\w*\.[ch]",
    "gst/": r"src/source/gst\w*\.[ch]",
    "archive": r"src/pack/archive\.c",
    "openssl/ssl": r"src/net/tls(_say)?\.c|src/net/tls_own\.h",
    "openssl/": r"src/base/hash\.c|src/net/tls(_say)?\.c|src/net/tls_own\.h|src/trust/\w+\.[ch]",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
ROW_OF = {name: i for i, row in enumerate(ROWS) for name in row}


def folder_of_include(path):
    """The folder an included path of ours belongs to, or None."""
    first, _, rest = path.partition("/")
    if first == "kerf":
        noun = rest.removesuffix(".h")
        return PUBLIC.get(noun, noun)
    return first if rest else None


def check_ours(name, folder, target, path):
    if target not in ROW_OF:
        return f"{name}: {path}: unknown layer {target!r}; add it to layers.py"
    if target == folder or ROW_OF[target] > ROW_OF[folder]:
        return None
    return f"{name}: {folder} must not include {path} (of {target})"


def check_file(root, file, folder, public):
    name = file.relative_to(root).as_posix()
    wrong = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        quote, path = found.groups()
        where = f"{name}:{number}"
        for prefix, homes in SOLE.items():
            if path.startswith(prefix) and not re.fullmatch(homes, name):
                wrong.append(f"{where}: only {homes} may include {path}")
        if quote != '"':
            continue
        if public and not path.startswith("kerf/"):
            wrong.append(f"{where}: a public header must not include {path}")
            continue
        target = folder_of_include(path)
        problem = check_ours(where, folder, target or folder, path)
        if problem:
            wrong.append(problem)
    return wrong


def check_tree(root):
    wrong, count = [], 0
    for file in sorted((root / "src").glob("*/**/*.[ch]")):
        folder = file.relative_to(root / "src").parts[0]
        count += 1
        if folder not in ROW_OF:
            wrong.append(f"src/{folder}: no such layer; add it to layers.py")
            continue
        wrong += check_file(root, file, folder, public=False)
    for file in sorted((root / "include" / "kerf").glob("*.h")):
        count += 1
        noun = file.stem
        folder = PUBLIC.get(noun, noun)
        if folder not in ROW_OF:
            wrong.append(f"include/kerf/{noun}.h: add its layer to layers.py")
            continue
        wrong += check_file(root, file, folder, public=True)
    return wrong, count


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    wrong, count = check_tree(root)
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{count} files, {len(wrong)} wrong includes")
    return 1 if wrong or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())

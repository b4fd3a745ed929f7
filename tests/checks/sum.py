#!/usr/bin/env python3
"""sum.py DIR - adds up the results of all test parts: `N passed, N failed`.

DIR holds JUnit files from ctest and pytest, and `failed-parts` with the names
of the parts that ended badly. A cmocka program counts as its cases. The exit
status is 0 only when something ran and nothing failed.
"""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

RUN = re.compile(r"^\[ RUN      \] (\S+)", re.M)
OK = re.compile(r"^\[       OK \] (\S+)", re.M)
SKIPPED = re.compile(r"^\[  SKIPPED \] (\S+)", re.M)


class Sum:
    def __init__(self):
        self.passed = 0
        self.skipped = 0
        self.failed = []
        self.reasons = {}

    def skip(self, reason):
        self.skipped += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


def add_cmocka(total, name, text, ok):
    """One cmocka program; its cases are the tests."""
    run, good = RUN.findall(text), OK.findall(text)
    # The list at the end of the output names the skipped ones again.
    skipped = set(SKIPPED.findall(text)) & set(run)
    bad = [case for case in run if case not in good and case not in skipped]
    total.passed += len(good)
    for case in sorted(skipped):
        total.skip(f"{name} {case}")
    total.failed += [f"{name}: {case}" for case in bad]
    if not ok and not bad:
        total.failed.append(f"{name}: ended badly after its cases")


def add_case(total, part, case):
    name = f"{part} {case.get('name')}"
    if case.get("classname") not in (None, case.get("name")):
        name = f"{part} {case.get('classname')}::{case.get('name')}"
    text = case.findtext("system-out") or ""
    ok = case.find("failure") is None and case.find("error") is None
    ok = ok and case.get("status", "run") in ("run", "disabled", "notrun")
    skipped = case.find("skipped")
    if ok and skipped is not None:
        total.skip(skipped.get("message") or name)
    elif ok and case.get("status") in ("disabled", "notrun"):
        total.failed.append(f"{name}: not run")
    elif RUN.search(text):
        add_cmocka(total, name, text, ok)
    elif ok:
        total.passed += 1
    else:
        total.failed.append(name)


def add_file(total, path):
    """Returns how many failures the file showed."""
    before = len(total.failed)
    try:
        tree = ET.parse(path)
    except ET.ParseError as error:
        total.failed.append(f"{path.stem}: results not readable: {error}")
        return 1
    for case in tree.iter("testcase"):
        add_case(total, path.stem, case)
    return len(total.failed) - before


def main():
    folder = Path(sys.argv[1])
    total = Sum()
    failures = {p.stem: add_file(total, p) for p in sorted(folder.glob("*.xml"))}
    parts = folder / "failed-parts"
    for part in parts.read_text().split() if parts.exists() else []:
        if not failures.get(part):
            total.failed.append(f"{part}: ended badly, see build/logs/test-{part}.log")
    for reason, count in sorted(total.reasons.items()):
        print(f"skipped: {count} x {reason}")
    for name in total.failed:
        print(f"failed: {name}")
    line = f"{total.passed} passed, {len(total.failed)} failed"
    if total.skipped:
        line += f", {total.skipped} skipped"
    print(line)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())

"""A disk that hangs, for one process: slowdisk.c, and what tells it when."""

import subprocess
import time
from pathlib import Path

PATIENCE = 60


def until(ready):
    end = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < end, "nothing comes"
        time.sleep(0.02)


class Disk:
    def __init__(self, tmp_path, folder):
        library = tmp_path / "slowdisk.so"
        source = Path(__file__).with_name("slowdisk.c")
        subprocess.run(["cc", "-fPIC", "-shared", "-o", library, source, "-ldl"], check=True)
        self.log, self.gate = tmp_path / "disk.log", tmp_path / "gate"
        self.env = {
            "LD_PRELOAD": library, "SLOWDISK_DIR": folder, "SLOWDISK_LOG": self.log,
            "SLOWDISK_GATE": self.gate,
        }  # fmt: skip

    def calls(self):
        """[(call, path)] so far, whole lines."""
        text = self.log.read_text() if self.log.exists() else ""
        return [tuple(line.split(" ", 1)) for line in text.split("\n")[:-1]]

    def hang(self, call):
        """All such calls, from now on."""
        new = self.gate.with_suffix(".new")
        new.write_text(call)
        new.rename(self.gate)

    def wait_hanging(self):
        until(lambda: "hangs" in dict(self.calls()))

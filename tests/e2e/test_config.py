"""--config: flags out of a file."""

import os
import re

import pytest

FLAG = re.compile(r"^  --([a-z0-9-]+)(?: ([^ ]\S*))?(?: [^ ]\S*)*(?:  +|\n {10,})(\S.*)$", re.M)


def wrong(done, says):
    """The one line, after exit status 2."""
    assert done.status == 2, done.report()
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("kerf: error: ") and says in line, line


def value_of(value, text):
    """Something that the flag takes."""
    if not value:
        return "no"
    if "|" in value:
        return value.split("|")[0]
    if default := re.search(r"\(default ([^ )]+)\)", text):
        return default[1]
    return {"N": "1", "X": "1", "MS": "1000", "SECONDS": "1", "HxW": "8x8"}.get(value, "1")


@pytest.mark.parametrize("command", ["cloud", "edge"])
def test_config__takes_every_flag_by_its_name(run, tmp_path, command):
    """All parse: what is wrong is the last line, and only that."""
    flags = FLAG.findall(run(command, "--help").out)
    lines = [
        f"{name.replace('-', '_')} = {value_of(value, text)}"
        for name, value, text in flags
        if name not in ("config", "help")
    ]
    assert len(lines) > 25
    file = tmp_path / "kerf.conf"
    file.write_text("\n".join([*lines, "no-such-flag = 1"]))
    wrong(run(command, "--config", file), f"{file}:{len(lines) + 1}: unknown name no-such-flag")


def test_config__serves_and_words_win(start_cloud, run, digits, tmp_path):
    cloud_file, edge_file = tmp_path / "cloud.conf", tmp_path / "edge.conf"
    cloud_file.write_text(f"# cloud\r\nmodels = {digits}\r\ncloud-port = 1\r\njson = yes\r\n")
    cloud = start_cloud("--config", cloud_file)  # --cloud_port 0 is among its words
    assert cloud.port > 1
    pictures = [digits / "images" / name for name in ("3_011.png", "7_005.png", "0_002.png")]
    edge_file.write_text(
        f"cloud-port = {cloud.port}\nstore = {tmp_path / 'a store'}\njson = yes\nonce = yes\n"
        f"input = {pictures[0]}\ninput = {pictures[1]}\n"
    )
    done = run("edge", "--config", edge_file)
    assert done.status == 0, done.report()
    inputs = [e["input"] for e in done.events() if e["event"] == "result"]
    assert sorted(inputs) == sorted(str(p) for p in pictures[:2])
    done = run("edge", f"--config={edge_file}", "--json=no", "--input", pictures[2])
    assert done.status == 0, done.report()
    assert "0_002.png" in done.out and "3_011.png" not in done.out and "{" not in done.out
    assert cloud.term() == 0


def test_config__hostile_files__one_line(each_kerf, run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "huge").open("wb").truncate(1 << 40)
    (tmp_path / "zeros").write_bytes(bytes(4096))
    (tmp_path / "binary").write_bytes(bytes(range(255, 0, -1)) * 16)
    (tmp_path / "long").write_bytes(b"x" * (1 << 20))
    (tmp_path / "name").write_bytes(b"a\x1b[2Jb = 1\n")
    cases = {
        tmp_path: "not a regular file",
        tmp_path / "pipe": "not a regular file",
        "/dev/zero": "not a regular file",
        "/dev/stdin": "",
        tmp_path / "loop": "",
        tmp_path / "none": "none",
        tmp_path / "huge": "the limit is 1048576",
        tmp_path / "zeros": ":1: a 0 byte",
        tmp_path / "binary": ":1: this is not UTF-8",
        tmp_path / "long": ":1: expected name = value",
        tmp_path / "name": "a\\x1b[2Jb",
    }
    for path, says in cases.items():
        for command in ("cloud", "edge"):
            wrong(run(command, "--config", path, binary=each_kerf), says)
    wrong(run("cloud", "--config", binary=each_kerf), "--config needs a value")


def test_config__what_does_not_go_together_is_told(run, digits, tmp_path):
    file = tmp_path / "kerf.conf"
    file.write_text(f"models = {digits}\n")
    wrong(run("cloud", "--config", file, "--model", "m.onnx", "--cut", "1"), "not both")

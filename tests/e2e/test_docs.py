"""The documents say what the program does: flags and JSON in the man pages,
flags and files in README."""

import json
import re

import pytest

NAMES = ["cloud", "edge", "run", "cut", "card", "sign", "store", "pack", "unpack", "keygen"]
COMMANDS = {name: [name] for name in NAMES}
COMMANDS["link"] = ["link"]
COMMANDS["top"] = ["top"]
COMMANDS["rollout"] = ["rollout"]
COMMANDS["bench"] = ["bench", "split"]
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "JSON"]
SECTIONS += ["FILES", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
# Where a document writes what somebody may type: `...`, indented, or ```sh.
TYPED = re.compile(r"`[^`\n]*`|^ +kerf .*(?:\\\n.*)*|^```sh\n.*?^```", re.M | re.S)
FLAG = re.compile(r"^  --([a-z0-9-]+)( \S.*?)?(?:  +|\n {10,})(\S.*)$", re.M)


def help_of(run, words):
    done = run(*words, "--help")
    assert done.status == 0 and done.err == ""
    return {name: (value.strip(), text) for name, value, text in FLAG.findall(done.out)}


def words_of(lines):
    """mdoc lines as plain words, without macros and what holds them together."""
    text = []
    for line in lines:
        if line.startswith("."):
            parts = line[1:].split()
            line = " ".join(p for p in parts[1:] if not re.fullmatch("Ns|Op|Ar|Cm|Fl|Pa|Va|Li", p))
        text.append(line)
    return re.sub(r" ([),.;:])", r"\1", " ".join(text))


def items_of(page, section):
    """[(head, body lines)] of the .It items of a section."""
    text = re.search(rf"^\.Sh {section}\n(.*?)(?=^\.Sh |\Z)", page, re.M | re.S)[1]
    blocks = re.split(r"^\.It ", text, flags=re.M)[1:]
    return [(b.splitlines()[0], b.splitlines()[1:]) for b in blocks]


@pytest.fixture(params=COMMANDS)
def command(request):
    return request.param


@pytest.fixture
def page(repo, command):
    return (repo / "man" / f"kerf-{command}.1").read_text()


def test_man__has_the_flags_of_help(run, command, page):
    flags = help_of(run, COMMANDS[command])
    listed = {head.split()[1][1:]: (head, body) for head, body in items_of(page, "OPTIONS")}
    assert len(flags) >= 5 and list(listed) == list(flags)
    for name, (value, text) in flags.items():
        head, body = listed[name]
        takes = [w for w in head.split()[2:] if w not in ("Ar", "Cm", "Ns", "Op", "...", ",")]
        assert bool(takes) == bool(value), f"--{name}: {value!r} is {head!r} in the page"
        if "|" in value:
            assert [w for w in takes if w != "|"] == value.split("|"), name
        if default := re.search(r"\(default[ :][^)]*\)", text):
            assert default[0].rstrip(")") in words_of(body), f"--{name}: {default[0]}"
        # ... and no default that is none.
        assert ("(default" in words_of(body)) == bool(default), name


def test_man__names_every_command(run, repo):
    page = (repo / "man" / "kerf.1").read_text()
    top = run("--help")
    commands = re.findall(r"^  ([a-z]+) {2,}\S", top.out, re.M)
    described = [head.split()[1] for head, _ in items_of(page, "DESCRIPTION")]
    assert described == commands == list(COMMANDS)
    for name in commands:
        assert f".Xr kerf-{name} 1" in page


@pytest.mark.parametrize("name", ["kerf", *(f"kerf-{c}" for c in COMMANDS)])
def test_man__has_its_sections(repo, name):
    page = (repo / "man" / f"{name}.1").read_text()
    sections = re.findall(r"^\.Sh (.*)$", page, re.M)
    if name == "kerf":
        sections[sections.index("ENVIRONMENT")] = "FILES"
    assert sections == SECTIONS


def documented(repo, command):
    """{event: member names} of a page's JSON section."""
    page = (repo / "man" / f"kerf-{command}.1").read_text()
    return {
        head.split()[1]: set(re.findall(r"^\.Va (\w+)", "\n".join(body), re.M))
        for head, body in items_of(page, "JSON")
    }


def inner_edges(event):
    edges = event.get("edge", [])
    return edges if isinstance(edges, list) else []


def check_events(process, pages):
    """Every event that came has exactly members of its page."""
    seen = set()
    for event in process.events():
        kind = event.pop("event")
        seen.add(kind)
        assert kind in pages, f"{kind} is in no page"
        assert event.keys() <= pages[kind], f"{kind}: {event.keys() - pages[kind]} not in the page"
        for inner in [*event.get("top", []), *event.get("outputs", []), *inner_edges(event)]:
            assert inner.keys() <= pages[kind], kind
    return seen


def test_man__has_the_json_of_cloud_and_edge(repo, run, start_cloud, digits, tmp_path):
    cloud = start_cloud("--models", digits)
    bad = tmp_path / "bad.png"
    bad.write_text("not an image")
    done = run(
        "edge", "--cloud_port", cloud.port, "--store", tmp_path / "store", "--once", "--json",
        "--truth", "name", "--input", digits / "images" / "3_011.png", bad,
        digits / "images" / "7_005.png", timeout=120,
    )  # fmt: skip
    assert done.status == 1  # one was skipped
    late = run(
        "edge", "--cloud_port", cloud.port, "--store", tmp_path / "store", "--once", "--json",
        "--deadline", "1", "--repeat", "2", "--input", digits / "images", timeout=120,
    )  # fmt: skip
    top = run("top", "--cloud-port", cloud.port, "--json", "--once")
    cloud.wait_event("edge", joined=False)
    assert cloud.term() == 0
    assert check_events(top, documented(repo, "top")) == {"top"}
    pages = documented(repo, "edge")
    seen = check_events(done, pages) | check_events(late, pages)
    assert {"state", "received", "model", "result", "skipped", "summary"} <= seen
    seen = check_events(cloud, documented(repo, "cloud"))
    assert {"listening", "model", "edge", "shipped", "answer"} <= seen


def test_man__has_the_json_of_run(repo, run, digits, tmp_path):
    flags = ["--json", "--truth", "name", "--input", digits / "images" / "3_011.png"]
    assert run("run", digits / "digits", *flags, "--save", tmp_path / "out").status == 0
    done = run("run", digits / "digits", *flags, "--against", tmp_path / "out")
    assert done.status == 0
    assert check_events(done, documented(repo, "run")) == {"result", "summary", "against"}


def test_readme__has_flags_and_files_that_exist(repo, run):
    flags = {name for words in COMMANDS.values() for name in help_of(run, words)}
    for document in ["README.md", "CONTRIBUTING.md", "docs/MODELS.md", "docs/ARCHITECTURE.md"]:
        text = (repo / document).read_text()
        for block in TYPED.findall(text):
            if "./dev" in block or "tools/" in block or "git clone" in block:
                continue
            for name in re.findall(r"(?<!\S)`?--([a-z][a-z_-]*)", block):
                assert name.replace("_", "-") in flags, (document, name)
        for link in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
            assert ((repo / document).parent / link).exists(), (document, link)


def test_models__has_every_member_of_a_card(repo, digits):
    text = (repo / "docs" / "MODELS.md").read_text()
    card = json.loads((digits / "digits.kerf.json").read_text())
    for member in card.keys() - {"about"}:
        assert f"`{member}`" in text or f"`{member}." in text, member
    for member in card["input"]:
        assert f"`input.{member}`" in text, member

#!/usr/bin/env python3
"""A picture of what a command shows on a terminal, as SVG.

    tools/term_svg.py --out docs/demo.svg --columns 124 --fold '^ +[0-9]+  ' 4 -- ./dev demo

The command runs on a terminal of its own. Lines, colours and what redraws a
line (carriage return, erase to the end) are understood; a screen program is
not. Of a block of lines that match --fold only the first and the last ones
stay. Needs nothing but Python.
"""

import argparse
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from xml.sax.saxutils import escape

SIZE = 13  # font, pixels
CELL = SIZE * 0.602  # width of a character: DejaVu Sans Mono
LINE = 17.5  # pixels from row to row
PAD = 16
BAR = 30  # the window's title bar
STYLE = """
text { font: 13px 'DejaVu Sans Mono', 'Menlo', 'Consolas', 'Liberation Mono', monospace;
       fill: #d8dee9; white-space: pre }
.b { font-weight: bold; fill: #f4f6fa } .d { fill: #8a94a6 }
.g { fill: #8fd694 } .r { fill: #ff8a80 } .p { fill: #7fb4ff; font-weight: bold }
"""
CLASSES = {"1": "b", "2": "d", "31": "r", "32": "g"}
TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n\t])|([^\x00-\x1f\x7f])")


def record(command, columns):
    """What the command wrote on a terminal of that many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
        env={**env, "TERM": "xterm-256color"}, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the last writer has closed it
            break
        if not part:
            break
        shown += part
    os.close(master)
    if process.wait() != 0:
        sys.exit(f"{' '.join(command)}: exit status {process.returncode}")
    return shown.decode(errors="replace")


def rows_of(shown):
    """Rows of (character, class) cells, as they stood in the end."""
    rows, column, style = [[]], 0, ""
    for code, final, control, character in TOKEN.findall(shown):
        row = rows[-1]
        if final == "m":
            style = "".join(CLASSES.get(one, "") for one in code.split(";"))
        elif final == "K":
            del row[column:]
        elif control == "\n":
            rows.append([])
        elif control == "\r":
            column = 0
        elif character:
            row.extend([(" ", "")] * (column + 1 - len(row)))
            row[column] = (character, style)
            column += 1
    while rows and not rows[-1]:
        rows.pop()
    return rows


def fold(rows, pattern, keep):
    """Leaves `keep` rows of each block of rows that match, the last among them."""
    out, block = [], []
    for row in [*rows, None]:
        if row is not None and re.search(pattern, "".join(c for c, _ in row)):
            block.append(row)
            continue
        if len(block) > keep + 1:
            note = f"      ... {len(block) - keep} more ..."
            block[keep - 1 : -1] = [[(c, "d") for c in note]]
        out += block
        block = []
        if row is not None:
            out.append(row)
    return out


def runs(row):
    """(column, text, class) of each run of one style, without outer blanks."""
    start = 0
    while start < len(row):
        end = start
        while end < len(row) and row[end][1] == row[start][1]:
            end += 1
        text = "".join(c for c, _ in row[start:end])
        if text.strip():
            yield start + len(text) - len(text.lstrip()), text.strip(), row[start][1]
        start = end


def draw(rows, title):
    width = max(len(row) for row in rows) * CELL + 2 * PAD
    height = BAR + len(rows) * LINE + PAD
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#1d222b"/>',
    ]
    for i, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        out.append(f'<circle cx="{PAD + 4 + i * 18}" cy="16" r="5.5" fill="{colour}"/>')
    for n, row in enumerate(rows):
        y = BAR + n * LINE + SIZE + 2
        for column, text, style in runs(row):
            kind = f' class="{style}"' if style else ""
            out.append(
                f'<text x="{PAD + column * CELL:.1f}" y="{y:.1f}"{kind} '
                f'textLength="{len(text) * CELL:.1f}" lengthAdjust="spacingAndGlyphs" '
                f'xml:space="preserve">{escape(text)}</text>'
            )
    return "\n".join([*out, "</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, metavar="FILE")
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--fold", nargs=2, metavar=("REGEX", "KEEP"))
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    rows = rows_of(record(args.command, args.columns))
    if args.fold:
        rows = fold(rows, args.fold[0], int(args.fold[1]))
    line = " ".join(args.command)
    rows.insert(0, [(c, "p" if i == 0 else "b") for i, c in enumerate(f"$ {line}")])
    with open(args.out, "w", encoding="utf-8") as file:
        file.write(draw(rows, line))


if __name__ == "__main__":
    main()

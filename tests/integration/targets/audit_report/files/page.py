# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at a page of the audit report, in its file and in Chromium.

page.py PAGE DIRECTORY      print the contents of the page as JSON, and write screenshots into the directory
"""

from __future__ import annotations

import html.parser
import json
import re
import subprocess
import sys
import typing as t
import zlib
from pathlib import Path

VOID = ("meta", "br", "link", "img", "hr", "input")


class Page(html.parser.HTMLParser):
    """Tags, text and the order of the sections."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sections: list[str] = []
        self.rows: dict[str, int] = {}
        self.bars = 0
        self.open: list[str] = []
        self.problems: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.sections.append(given.get("id") or "")
        kind = (given.get("class") or "").split()
        if tag == "tr" and kind:
            self.rows[kind[0]] = self.rows.get(kind[0], 0) + 1
        self.bars += "bar" in kind
        for name, value in attrs:
            if name.startswith("on") or name in ("src", "action"):
                self.problems.append(f"{tag} has {name}={value}")
            if name == "href" and not (tag == "a" and (value or "").startswith("#")):
                self.problems.append(f"{tag} has {name}={value}")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        self.words += data

    def result(self) -> dict[str, t.Any]:
        return {
            "problems": self.problems + [f"{tag} is open" for tag in self.open],
            "scripts": self.tags.count("script"),
            "sections": self.sections,
            "rows": self.rows,
            "bars": self.bars,
            "words": " ".join(self.words.split()),
        }


def brightness(path: Path) -> float:
    """Return the mean of a PNG's bytes, 0 to 255."""
    data, position, packed = path.read_bytes(), 8, b""
    width = height = channels = 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        kind, body = data[position + 4 : position + 8], data[position + 8 :][:size]
        if kind == b"IHDR":
            width, height = (int.from_bytes(body[at : at + 4], "big") for at in (0, 4))
            channels = {2: 3, 6: 4}[body[9]]
        elif kind == b"IDAT":
            packed += body
        position += size + 12
    raw, stride = zlib.decompress(packed), width * channels
    above, total = bytearray(stride), 0
    for row in range(height):
        method, line = raw[row * (stride + 1)], bytearray(
            raw[row * (stride + 1) + 1 : (row + 1) * (stride + 1)]
        )
        for at in range(stride):
            left = line[at - channels] if at >= channels else 0
            corner = above[at - channels] if at >= channels else 0
            up = above[at]
            near = min(
                (left, up, corner), key=lambda one: abs(left + up - corner - one)
            )
            line[at] = (line[at] + (0, left, up, (left + up) // 2, near)[method]) & 255
        total += sum(line[::channels])
        above = line
    return total / (width * height)


def chromium(page: Path, *options: str) -> str:
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
    ]
    done = subprocess.run(
        [*command, "--window-size=400,300", *options, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def main(page: Path, directory: Path) -> None:
    text = page.read_text(encoding="utf-8")
    result: dict[str, t.Any] = {
        "written": Page(text).result(),
        "fetched": re.findall(r"url\(|@import|https?://[^\s<]*", text),
        "shown": Page(chromium(page, "--dump-dom")).result(),
        "screens": [],
    }
    # blink::mojom::PreferredColorScheme: 0 is dark, 1 is light
    for scheme in (1, 0):
        picture = directory / f"scheme{scheme}.png"
        chromium(
            page,
            f"--screenshot={picture}",
            f"--blink-settings=preferredColorScheme={scheme}",
        )
        result["screens"].append(brightness(picture))
    print(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

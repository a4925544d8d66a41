# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Follows pages of the documentation: writes their files, and runs their commands.

    examples.py DIRECTORY REPLACEMENTS PAGE...

A PAGE is Markdown, reStructuredText, or the output of ``ansible-doc --json`` for modules, whose examples become plays.

A block of YAML or INI is a file, and must have a name: its caption, or in Markdown the code at the end of the line
before it. In a block ``console`` the script runs each line with a prompt. It accepts no other block except ``text``.
REPLACEMENTS is JSON, [[pattern, replacement], ...]. It replaces the names of the page by those of this machine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
import typing as t
from pathlib import Path

from antsibull_docutils.rst_code_finder import find_code_blocks
from markdown_it import MarkdownIt

# Commands of the pages that this script does not run, with the pages that have them.
ELSEWHERE = {
    "ansible-galaxy collection install": "this run has installed the artefact that it built",
    "ansible-navigator": "it needs a container engine",
    "git clone": "this is a checkout",
    "make demo": "a layer of its own",
    "make test": "this is a part of it",
    "xdg-open": "it needs a desktop",
}


# YAML takes it for a number. The addresses that replace it have letters, so running would not show that.
NUMBER = re.compile(r"[ :-] [0-5]\d(:[0-5]\d){5}$", re.M)


class Block(t.NamedTuple):
    """A block of code. If it is a file, ``name`` is the name of the file."""

    line: int
    language: str
    name: str | None
    text: str


class Command(t.NamedTuple):
    """A command that was run, with its output."""

    command: str
    code: int
    seconds: float
    output: str


def read_rst(text: str) -> t.Iterator[Block]:
    lines = text.splitlines()
    for block in find_code_blocks(text, path="page.rst", root_prefix="."):
        row, name = block.row_offset - 1, None
        while row >= 0 and ".. code-block::" not in lines[row]:
            if found := re.fullmatch(r"\s+:caption: (\S+)", lines[row]):
                name = found[1]
            row -= 1
        yield Block(block.row_offset + 1, block.language or "", name, block.content)


def read_markdown(text: str) -> t.Iterator[Block]:
    before = ""
    for token in MarkdownIt().parse(text):
        if token.type == "inline":
            before = token.content
        elif token.type == "fence":
            found = re.search(r"`([^`\s]+)`:$", before)
            line = (token.map or [0])[0] + 2
            yield Block(line, token.info, found and found[1], token.content)
            before = ""


PLAY = """\
- name: What {name} shows
  hosts: hypervisors
  become: true
  gather_facts: false
  module_defaults:
    virtaudit.qemu.vm_net_audit_info:
      since: "{{{{ audit_report_since }}}}"
  tasks:
"""


def read_modules(text: str) -> t.Iterator[Block]:
    """Yield one playbook with a play for each module, in the order of their names, and the command that runs it."""
    plays = [
        PLAY.format(name=name)
        + textwrap.indent(told["examples"].replace("---\n", "", 1), "    ")
        for name, told in sorted(json.loads(text).items())
    ]
    yield Block(1, "yaml", "modules.yml", "\n".join(plays))
    yield Block(1, "console", None, "$ ansible-playbook -i inventory.yml modules.yml\n")


def commands_of(block: Block) -> list[str]:
    text = block.text.replace("\\\n", "")
    return [line[2:] for line in text.splitlines() if line.startswith(("$ ", "# "))]


def environment(pipelining: bool) -> dict[str, str]:
    """Return the environment of a reader's shell. ansible-test's configuration would hide that of the page, so it is left out.

    With ``pipelining`` Ansible makes no directory and copies no file for each task.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ANSIBLE_") or name == "ANSIBLE_COLLECTIONS_PATH"
    }
    # ansible-runner and ansible-builder are in the directory of this Python. ansible-core may be in another one.
    kept["PATH"] = f"{kept['PATH']}:{Path(sys.executable).parent}"
    return {**kept, "ANSIBLE_PIPELINING": str(pipelining)}


class Page:
    """Follows a page, block by block."""

    # Commands that change nothing, with the files that they name.
    checked: t.ClassVar[set[tuple[str, ...]]] = set()

    def __init__(
        self, directory: Path, replacements: list[tuple[str, str]], pipelining: bool
    ) -> None:
        self.directory, self.replacements = directory, replacements
        self.pipelining = pipelining
        self.files: list[str] = []
        self.ran: list[Command] = []
        self.elsewhere: list[str] = []

    def replaced(self, text: str) -> str:
        for pattern, replacement in self.replacements:
            text = re.sub(pattern, replacement, text, flags=re.M)
        return text

    def do(self, block: Block) -> None:
        if block.language in ("yaml", "ini"):
            if block.name is None:
                raise SystemExit(
                    f"line {block.line}: {block.language} without a name is run by nobody"
                )
            if NUMBER.search(block.text):
                raise SystemExit(f"line {block.line}: a MAC without quotes")
            path = self.directory / self.replaced(block.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.replaced(block.text), encoding="utf-8")
            self.files.append(block.name)
        elif block.language == "console":
            for command in commands_of(block):
                self.call(command)
        elif block.language != "text":
            raise SystemExit(
                f"line {block.line}: a block of {block.language or 'nothing'}"
            )

    def call(self, command: str) -> None:
        if any(command.startswith(prefix) for prefix in ELSEWHERE):
            self.elsewhere.append(command)
            return
        replaced = self.replaced(command)
        if self.was_checked(replaced):
            # Another page has the same command. With the same files it would print the same.
            self.elsewhere.append(command)
            return
        started = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", replaced],
            cwd=self.directory,
            env=environment(self.pipelining),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        seconds = round(time.monotonic() - started, 1)
        self.ran.append(Command(command, done.returncode, seconds, done.stdout))
        if done.returncode:
            raise SystemExit(
                f"{command!r} ended with {done.returncode}:\n{done.stdout}"
            )

    def was_checked(self, command: str) -> bool:
        """Tell whether a command that changes nothing was run before, with the same files."""
        if "--check" not in command:
            return False
        named = [self.directory / word for word in command.split()]
        texts = [path.read_text() for path in named if path.is_file()]
        key = (command, *texts)
        known = key in self.checked
        self.checked.add(key)
        return known


def work_off(path: Path, page: Page) -> dict[str, t.Any]:
    """Follow a page, and return what was done."""
    text = path.read_text(encoding="utf-8")
    read = {".md": read_markdown, ".rst": read_rst, ".json": read_modules}[path.suffix]
    try:
        for block in read(text):
            page.do(block)
    except SystemExit as exc:
        raise SystemExit(f"{path.name}: {exc}") from exc
    ran = [command._asdict() for command in page.ran]
    return {"files": page.files, "ran": ran, "elsewhere": page.elsewhere}


def main(directory: Path, replacements: str, *paths: str) -> None:
    given = json.loads(replacements)
    # By default Ansible does not use pipelining, so one page runs without it. The other pages run faster with it.
    done = [
        work_off(Path(path), Page(directory, given, not path.endswith("first_vm.rst")))
        for path in paths
    ]
    print(json.dumps(done))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.tools.messages.check import compare
from ansible_collections.virtaudit.qemu.tests.tools.messages.sites import Sites
from ansible_collections.virtaudit.qemu.tests.tools.messages.tasks import (
    read_shell,
    read_tasks,
)
from ansible_collections.virtaudit.qemu.tests.tools.messages.words import (
    Found,
    first_words,
)

ERRORS = """
class BaseError(Exception):
    pass

class OptionError(BaseError):
    def __init__(self, option, problem):
        super().__init__(f"{option}: {problem}")
"""

PYTHON = [
    (
        "raise BaseError(f'the daemon {pid} has died')",
        ["the daemon ... has died"],
    ),
    (
        "raise OptionError('mtu', f'{mtu} is too large. Lower it')",
        ["mtu: ... is too large"],
    ),
    (
        "def fail(why) -> OptionError:\n    return OptionError(f'x.{why}', 'is not there')",
        ["x....: is not there"],
    ),
    ("raise BaseError(f'it failed: {reason}')", ["it failed"]),
    (
        "def f(gone):\n    raise BaseError('it is gone' if gone else 'it is busy')",
        ["it is busy", "it is gone"],
    ),
    (
        "def f():\n    said = f'no link {x}'\n    raise BaseError(said)",
        ["no link ..."],
    ),
    (
        "def _why(x) -> str:\n    return f'{x} has no port'\n\ndef f(x):\n    raise BaseError(_why(x))",
        ["... has no port"],
    ),
    (
        "_WHY = 'the log is gone; copy it'\nraise BaseError(_WHY)",
        ["the log is gone"],
    ),
    ("_PATH = '/a'\nraise BaseError(f'{_PATH} is not there')", ["... is not there"]),
    (
        "def _cut(x) -> str:\n    return f'CUT  {x}: it is cut'\n\ndef f(x):\n"
        "    if cut := None if x is None else _cut(x):\n        return Verdict(1, cut)",
        ["CUT ...: it is cut"],
    ),
    ("report.warnings.append('the log is short')", ["the log is short"]),
    ("warnings += [f'{each} is empty' for each in logs]", ["... is empty"]),
    ("raise ValueError('no message for an operator')", []),
    ("raise BaseError(str(exc))", []),
]


@pytest.mark.parametrize(("code", "expected"), PYTHON)
def test_the_messages_that_python_raises(code: str, expected: list[str]) -> None:
    sites = Sites()
    sites.add(Path("errors.py"), ERRORS)
    sites.add(Path("code.py"), code)

    assert sorted({found.text for found in sites.find()}) == expected


def test_a_function_of_another_file() -> None:
    sites = Sites()
    sites.add(Path("errors.py"), ERRORS)
    sites.add(
        Path("words.py"),
        "def doubts(logs) -> list[str]:\n    yield f'{logs} are too old'",
    )
    sites.add(Path("code.py"), "warnings += doubts(logs)")

    assert [found.text for found in sites.find()] == ["... are too old"]


def test_the_messages_of_tasks_and_scripts() -> None:
    tasks = """
- ansible.builtin.assert:
    that: x
    fail_msg: >-
      {{ name }} is not
      there: install it.
- ansible.builtin.fail:
    msg: "{{ 'no host of ' ~ group ~ ' answers' }}"
- ansible.builtin.debug:
    msg: this is not a failure
"""
    found = read_tasks(Path("main.yml"), tasks)
    assert [each.text for each in found] == [
        "... is not there: install it",
        "no host of ... answers",
    ]
    assert found[0].line == 4

    script = 'echo "$1" >&2\nx || echo "the kernel has no $name" >&2\n'
    assert read_shell(Path("prepare"), script) == [
        Found("the kernel has no ...", "prepare", 2)
    ]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("a\n  b  see below; do that", "a b see below"),
        ("\0\0 is gone: \0", "... is gone"),
        ("\0: \0", None),
        ("one", None),
        ("word " * 40, ("word " * 22).strip()),
    ],
)
def test_first_words(template: str, expected: str | None) -> None:
    assert first_words(template) == expected


def test_the_difference_names_the_line_to_add_and_the_one_to_remove() -> None:
    page = "Title\n=====\n\n``the old one``, ``it is gone``\n    Why.\n"
    found = [Found("it is gone", "a.py", 1), Found("it is new", "b.py", 7)]

    missing, stale = compare(found, page)

    assert "b.py:7" in missing
    assert missing.endswith("\n``it is new``")
    assert ":4 " in stale
    assert stale.endswith("\n``the old one``")
    assert compare(found[:1], page.replace("``the old one``, ", "")) == []

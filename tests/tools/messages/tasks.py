# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the messages with which tasks of roles and playbooks fail, and those of the scripts that roles run on hosts."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import jinja2
import yaml
from jinja2 import nodes

from ansible_collections.virtaudit.qemu.tests.tools.messages.words import (
    ANY,
    Found,
    first_words,
)

# The keys of a task, or of a list of problems, whose value is a message.
_KEYS = {"fail_msg", "msg", "say"}
_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.S)
_ECHO = re.compile(
    r"""^\s*(?:\S.*\|\| )?echo (?P<quote>['"])(?P<text>.+)(?P=quote)(?: >&2)?(?: ;;)?$""",
    re.M,
)


def read_tasks(path: Path, text: str) -> list[Found]:
    """Return the messages of a file of tasks or plays."""
    found: list[Found] = []
    for key, value, line in _scalars(yaml.compose(text), ""):
        texts = [_EXPRESSION.sub(ANY, value)] if key in _KEYS else []
        for each in [*texts, *_texts_of_jinja(value)]:
            words = first_words(each)
            if words is not None:
                found.append(Found(words, str(path), line))
    return found


def read_shell(path: Path, text: str) -> list[Found]:
    """Return the messages of a shell script."""
    return [
        Found(words, str(path), text[: match.start()].count("\n") + 1)
        for match in _ECHO.finditer(text)
        if (
            words := first_words(
                re.sub(r"\$\(.*?\)|\$\{.*?\}|\$\w+", ANY, match["text"])
            )
        )
    ]


def _scalars(node: yaml.Node | None, key: str) -> t.Iterator[tuple[str, str, int]]:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            # The texts of ansible.builtin.debug are not messages.
            if name.value != "ansible.builtin.debug":
                yield from _scalars(value, str(name.value))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _scalars(value, key)
    elif isinstance(node, yaml.ScalarNode):
        yield key, str(node.value), node.start_mark.line + 1


def _texts_of_jinja(text: str) -> t.Iterator[str]:
    """Yield the texts that an expression puts together with ``~``."""
    if "~" not in text or "{" not in text:
        return
    try:
        tree = jinja2.Environment(autoescape=True).parse(text)
    except jinja2.TemplateError:
        return
    for concat in tree.find_all(nodes.Concat):
        yield "".join(
            str(part.value) if isinstance(part, nodes.Const) else ANY
            for part in concat.nodes
        )

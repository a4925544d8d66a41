# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the messages that Python files raise or give as warnings.

A message is the text of one of the collection's exceptions or of a verdict on a trail, a text that is appended to a list
named warnings, problems or hints, or a text for fail_json. If a function of the collection makes the text, the texts that it
returns are the messages.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.tools.messages.texts import (
    Scope,
    Texts,
    last_name,
)
from ansible_collections.virtaudit.qemu.tests.tools.messages.words import (
    ANY,
    Found,
    first_words,
)

_BASES = {"AnsibleError", "Exception", "OSError"}
_LISTS = {"warnings", "problems", "hints"}
# Functions that give a message, and which of their arguments is the message.
_CALLS = {
    "_complain": 0,
    "_gap": -1,
    "_warn": 0,
    "problem": -1,
    "Step": 1,
    "Verdict": 1,
    "warn": 0,
    "warning": 0,
}
# Attributes that keep a message for later.
_KEPT = {"writes_none"}


class Sites:
    """Collects files, and then searches all of them together, because they use one another's exceptions and functions."""

    def __init__(self) -> None:
        self._files: list[tuple[str, ast.Module]] = []
        self._texts = Texts()
        # For each exception: its parameters, and the text that it makes of them, if any.
        self._errors: dict[str, tuple[list[str], ast.expr | None]] = {
            "OSError": ([], None)
        }

    def add(self, path: Path, source: str) -> None:
        """Add a file."""
        tree = ast.parse(source)
        self._files.append((str(path), tree))
        self._texts.add(str(path), tree)

    def find(self) -> list[Found]:
        """Return all messages."""
        self._find_errors()
        return [
            Found(words, scope.path, getattr(node, "lineno", 1))
            for path, tree in self._files
            for node, scope in _walk(tree, Scope(path))
            for text in self._said(node, scope)
            if (words := first_words(text)) is not None
        ]

    def _find_errors(self) -> None:
        classes = [
            node
            for _path, tree in self._files
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
        ]
        for _round in classes:
            for each in classes:
                bases = {last_name(base) for base in each.bases}
                if bases & (_BASES | self._errors.keys()):
                    self._errors[each.name] = _made_of(each)

    def _said(self, node: ast.AST, scope: Scope) -> Iterator[str]:
        """Yield the messages that one node of a file has by itself."""
        if isinstance(node, ast.Call):
            yield from self._said_by_call(node, scope)
        elif (isinstance(node, ast.AugAssign) and last_name(node.target) in _LISTS) or (
            isinstance(node, ast.Assign) and last_name(node.targets[0]) in _KEPT
        ):
            yield from self._texts.of(node.value, scope)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values):
                if isinstance(key, ast.Constant) and key.value in {"msg", *_LISTS}:
                    yield from self._texts.of(value, scope)
        elif isinstance(node, ast.Return) and node.value is not None:
            # A function whose name says that it returns problems.
            name = scope.function.name if scope.function else ""
            yield from (
                self._texts.of(node.value, scope) if name.endswith("problems") else ()
            )

    def _said_by_call(self, call: ast.Call, scope: Scope) -> Iterator[str]:
        name = last_name(call.func)
        given = [self._texts.of(arg, scope) for arg in call.args]
        if name in self._errors and given:
            yield from self._said_by_error(name, given, scope)
        elif name == "error" and len(given) == 2:  # Interface.error
            for option, problem in itertools.product(*given):
                yield f"interfaces[{ANY}].{option}: {problem}"
        elif (name == "error" and given) or (
            name == "append" and _is_list(call.func) and given
        ):  # Display.error
            yield from given[0]
        elif name in _CALLS and given:
            yield from self._said_through(name, given, scope)
        for keyword in call.keywords:
            if keyword.arg == "refused" and isinstance(keyword.value, ast.Dict):
                yield from self._refused(keyword.value, scope)
            elif keyword.arg == "foreseen" or (keyword.arg, name) == (
                "msg",
                "fail_json",
            ):
                yield from self._texts.of(keyword.value, scope)

    def _refused(self, options: ast.Dict, scope: Scope) -> Iterator[str]:
        """Yield the messages with which a type of interface refuses options."""
        for option, problem in zip(options.keys, options.values):
            if isinstance(option, ast.Constant) and isinstance(option.value, str):
                for text in self._texts.of(problem, scope):
                    yield f"interfaces[{ANY}].{option.value}: {text}"

    def _said_by_error(
        self, name: str, given: list[list[str]], scope: Scope
    ) -> list[str]:
        names, text = self._errors[name]
        if text is not None:
            values = dict(zip(names, given))
            return self._texts.of(text, Scope(scope.path, None, values))
        # OSError(errno, text, path)
        return given[1 if name == "OSError" and len(given) > 1 else -1]

    def _said_through(
        self, name: str, given: list[list[str]], scope: Scope
    ) -> list[str]:
        """Return what a function of the same file makes of the message that it gets, or the message itself."""
        for path, function in self._texts.functions.get(name, []):
            values = dict(zip([arg.arg for arg in function.args.args[1:]], given))
            for node in ast.walk(function):
                if (
                    path == scope.path
                    and isinstance(node, ast.Call)
                    and last_name(node.func) == "append"
                    and _is_list(node.func)
                ):
                    return self._texts.of(node.args[0], Scope(path, function, values))
        return given[_CALLS[name]]


def _made_of(error: ast.ClassDef) -> tuple[list[str], ast.expr | None]:
    """Return the parameters of an exception, and the text that it makes of them."""
    for node in ast.walk(error):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            names = [arg.arg for arg in node.args.args[1:]]
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and last_name(call.func) == "__init__":
                    return names, call.args[0]
    return [], None


def _is_list(func: ast.expr) -> bool:
    return isinstance(func, ast.Attribute) and last_name(func.value) in _LISTS


def _walk(node: ast.AST, scope: Scope) -> Iterator[tuple[ast.AST, Scope]]:
    """Yield each node with the function that it stands in."""
    for child in ast.iter_child_nodes(node):
        yield child, scope
        inside = (
            Scope(scope.path, child) if isinstance(child, ast.FunctionDef) else scope
        )
        yield from _walk(child, inside)

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Works out from the syntax tree which texts a Python expression can give."""

from __future__ import annotations

import ast
import itertools
import typing as t
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ansible_collections.virtaudit.qemu.tests.tools.messages.words import ANY

_MOST = 64  # how many texts one expression can give at most
_DEEPEST = 4  # how many names and calls are followed at most
_SAME_NAME = 6  # how many functions a call can mean at most


@dataclass(frozen=True)
class Scope:
    """The place of an expression: its file, its function, and what is known about the function's parameters."""

    path: str
    function: ast.FunctionDef | None = None
    values: dict[str, list[str]] = field(default_factory=dict)
    depth: int = 0

    def deeper(self) -> Scope:
        return Scope(self.path, self.function, self.values, self.depth + 1)


def last_name(node: ast.AST) -> str:
    """Return the last part of a name: ``warnings`` of ``report.warnings``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


class Texts:
    """Knows the functions of all files, because they call one another."""

    def __init__(self) -> None:
        self.functions: dict[str, list[tuple[str, ast.FunctionDef]]] = defaultdict(list)
        # The texts that a file keeps under names, by the file and the name.
        self._kept: dict[tuple[str, str], ast.expr] = {}

    def add(self, path: str, tree: ast.Module) -> None:
        """Add the functions and the texts of a file."""
        for each in tree.body:
            if isinstance(each, ast.Assign) and _is_text(each.value):
                self._kept[path, last_name(each.targets[0])] = each.value
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                self.functions[node.name].append((path, node))

    def of(self, node: ast.AST, scope: Scope) -> list[str]:
        """Return the texts that an expression can give, with :data:`ANY` for each unknown part."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [node.value]
        if isinstance(node, ast.JoinedStr):
            return self._joined(_parts(node, scope), scope)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._of_sum(node, scope)
        if isinstance(node, ast.IfExp):
            return self._of_each([node.body, node.orelse], scope)
        if isinstance(node, (ast.List, ast.Tuple)):
            return self._of_each(node.elts, scope)
        if isinstance(node, ast.Starred):
            return self.of(node.value, scope)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            return self.of(node.elt, scope)
        if isinstance(node, ast.Name):
            return self._of_name(node.id, scope)
        if isinstance(node, ast.Call):
            return self._of_call(node, scope)
        return [ANY]

    def _of_each(self, nodes: Sequence[ast.AST], scope: Scope) -> list[str]:
        return [text for node in nodes for text in self.of(node, scope)]

    def _joined(self, parts: Iterable[ast.AST], scope: Scope) -> list[str]:
        products = itertools.product(*(self.of(part, scope) for part in parts))
        return ["".join(each) for each in itertools.islice(products, _MOST)]

    def _of_sum(self, node: ast.BinOp, scope: Scope) -> list[str]:
        if isinstance(node.left, (ast.List, ast.ListComp)) or isinstance(
            node.right, (ast.List, ast.ListComp)
        ):
            return self._of_each([node.left, node.right], scope)
        return self._joined([node.left, node.right], scope)

    def _of_name(self, name: str, scope: Scope) -> list[str]:
        """Return the known value of a parameter, or what its function assigns to a variable."""
        if name in scope.values:
            return scope.values[name]
        if scope.depth == _DEEPEST:
            return [ANY]
        values = list(_assigned(name, scope.function)) if scope.function else []
        if not values and (scope.path, name) in self._kept:
            values = [self._kept[scope.path, name]]
        return self._of_each(values, scope.deeper()) or [ANY]

    def _of_call(self, call: ast.Call, scope: Scope) -> list[str]:
        """Return the texts that a function of the collection returns, yields or lists."""
        known = self.functions.get(last_name(call.func), [])
        known = [each for each in known if each[0] == scope.path] or known
        if scope.depth == _DEEPEST or not 0 < len(known) <= _SAME_NAME:
            return [ANY]
        # Each back end has such a function.
        return [
            text
            for path, function in known
            for text in self._of_function(path, function, scope.depth + 1)
        ]

    def _of_function(
        self, path: str, function: ast.FunctionDef, depth: int
    ) -> list[str]:
        if function.returns is None or "str" not in ast.unparse(function.returns):
            return [ANY]
        inside = Scope(path, function, {}, depth)
        return self._of_each(list(_answers(function)), inside) or [ANY]


def _parts(node: ast.JoinedStr, scope: Scope) -> Iterator[ast.AST]:
    """Yield the parts of an f-string.

    A value counts as itself if it gives the message's first words, or is a known parameter.
    """
    for part in node.values:
        value = part.value if isinstance(part, ast.FormattedValue) else part
        looked_at = part is node.values[0] or last_name(value) in scope.values
        plain = isinstance(part, ast.FormattedValue) and part.conversion == -1
        yield value if plain and looked_at else part


def _is_text(node: ast.expr) -> bool:
    """Tell whether a value is a sentence, and not a name or a path."""
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and " " in node.value
    )


def _assigned(name: str, function: ast.FunctionDef) -> Iterator[ast.AST]:
    for node in ast.walk(function):
        targets: list[t.Any] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        if name in map(last_name, targets):
            yield node.value  # type: ignore[attr-defined]
        if isinstance(node, ast.NamedExpr) and node.target.id == name:
            yield node.value
        if isinstance(node, (ast.For, ast.comprehension)) and name in map(
            last_name, ast.walk(node.target)
        ):
            yield node.iter


def _answers(function: ast.FunctionDef) -> Iterator[ast.AST]:
    for node in ast.walk(function):
        if isinstance(node, (ast.Return, ast.Yield)) and node.value is not None:
            yield node.value
        elif isinstance(node, ast.Call) and last_name(node.func) == "append":
            yield from node.args

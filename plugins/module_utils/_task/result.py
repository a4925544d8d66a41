# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task has done so far. The module returns it at its end, or with its error."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

if t.TYPE_CHECKING:
    from .._audit.auditor import Auditor


@dataclasses.dataclass
class Report:
    """The result of a task while it grows."""

    auditor: Auditor
    changed: bool = False
    vm: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    interfaces: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    diff: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)

    def result(self) -> dict[str, t.Any]:
        """Return the result in the module's form."""
        return {
            # A record counts as a change, because it stays in the host's log.
            "changed": self.changed or bool(self.auditor.records),
            "vm": self.vm,
            "interfaces": self.interfaces,
            "audit": self.auditor.result(),
            "diff": self.diff,
            "warnings": [*self.warnings, *self.auditor.warnings],
        }


def printable(value: t.Any) -> t.Any:
    """Return a result with each byte that is not UTF-8 written as ``\\xff``, in keys and values."""
    if isinstance(value, str):
        # Nearly all texts are ASCII, which Python knows without reading them.
        if value.isascii():
            return value
        # A character that does not stand for a byte is written as it is.
        data = value.encode("utf-8", "backslashreplace")
        with contextlib.suppress(UnicodeEncodeError):
            data = value.encode("utf-8", "surrogateescape")
        return data.decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {printable(key): printable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [printable(each) for each in value]
    return value

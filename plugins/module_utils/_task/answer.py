# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of a module that only reads."""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass
class Answer:
    """The values that a module has read, and the question that it was asked."""

    asked: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    grants: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    findings: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    sessions: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    events: list[dict[str, t.Any]] | None = None
    history: list[dict[str, t.Any]] | None = None
    stats: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)

    def result(self) -> dict[str, t.Any]:
        """Return the result in the module's form."""
        # dataclasses.asdict() would copy everything.
        result = {"changed": False, **vars(self)}
        for name in ("events", "history"):
            if result[name] is None:
                del result[name]
        return result

    def name_host(self, host: str | None) -> None:
        """Fill in a host's name if the records have none."""
        if host is None:
            return
        for part in (
            self.grants,
            self.findings,
            self.sessions,
            self.events or (),
            self.history or (),
        ):
            for each in part:
                if each["node"] is None:
                    each["node"] = host

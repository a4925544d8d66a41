# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that only reads: what it answers, and how it ends."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .edge import end, failure_of


@dataclasses.dataclass
class Answer:
    """What a module has read, and what it was asked."""

    asked: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    grants: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    findings: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    sessions: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    events: list[dict[str, t.Any]] | None = None
    stats: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)

    def result(self) -> dict[str, t.Any]:
        """Return it as the module does."""
        # dataclasses.asdict() would copy all of it.
        result = {"changed": False, **vars(self)}
        if self.events is None:
            del result["events"]
        return result


Read = t.Callable[[t.Mapping[str, t.Any], Answer], None]


def run_reader(module: AnsibleModule, read: Read) -> t.NoReturn:
    """Run the flow of a module that changes and records nothing, and needs no more rights than what it reads."""
    answer = Answer()
    failure = failure_of(lambda: read(module.params, answer), answer)
    end(module, answer.result(), failure)

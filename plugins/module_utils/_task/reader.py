# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs and ends a module that only reads."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule

from .answer import Answer
from .edge import end, failure_of

Read = t.Callable[[t.Mapping[str, t.Any], Answer], None]


def run_reader(module: AnsibleModule, read: Read) -> t.NoReturn:
    """Run the flow of a module that changes and records nothing. It needs only the rights to read its files."""
    answer = Answer()
    failure = failure_of(lambda: read(module.params, answer), answer)
    end(module, answer.result(), failure)

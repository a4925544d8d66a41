# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the records of a task say about the task: the ticket, and the run of Ansible that it is a part of."""

from __future__ import annotations

import os
import re

from .._text import check_text

MAX_TICKET_BYTES = 256
# The callback audit_trail sets it. It is the id of the run in the trail's file.
_RUN = "VIRTAUDIT_RUN"
_RUN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def parse_ticket(text: str | None) -> str | None:
    """Check the option ``ticket``. Return it, or ``None`` if it is empty, which is what an unset variable gives.

    Raises :class:`OptionError`.
    """
    return check_text("ticket", text, MAX_TICKET_BYTES) if text else None


def run_of_environment() -> str | None:
    """Return the id of the run of Ansible from the environment, or ``None`` if the text there is not such an id."""
    run = os.environ.get(_RUN, "")
    return run if _RUN_ID.fullmatch(run) else None

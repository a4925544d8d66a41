# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records that libvirt 9.0 wrote on a host, in the enriched format of auditd."""

from __future__ import annotations

import re
from pathlib import Path

LIBVIRT_LOG = Path(__file__).parents[1] / "fixtures" / "libvirt-9.0.0-records.log"
_LINE = re.compile(r"type=(\w+) msg=audit\([0-9.:]+\): pid=.* msg='([^']*)'")


def libvirt_records() -> list[tuple[str, str]]:
    """Return the type and the text of every record."""
    matches = [
        _LINE.match(line) for line in LIBVIRT_LOG.read_text("ascii").splitlines()
    ]
    return [(match[1], match[2]) for match in matches if match is not None]


def keys_of(text: str) -> list[str]:
    """Return the names of a record's fields in order. This does not use the code under test."""
    return [word.partition("=")[0] for word in text.split(" ")]

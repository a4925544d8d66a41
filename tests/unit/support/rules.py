# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit rules of the role auditd."""

from __future__ import annotations

from pathlib import Path

import jinja2

_TEMPLATE = Path(__file__).parents[3] / "roles/auditd/templates/50-virtaudit.rules.j2"


def render_rules(machine: str, watchable: str = "", **majors: int) -> str:
    """Return the rules as the role writes them on such a machine."""
    text = jinja2.Template(_TEMPLATE.read_text(), trim_blocks=True)
    host = {"arch": f"{machine}\n", "watchable": watchable}
    return text.render(__auditd_host=host, __auditd_majors=majors)

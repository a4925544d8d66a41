# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opens logs in the way in which the module opens them."""

from __future__ import annotations

import typing as t

from ansible_collections.virtaudit.qemu.plugins.module_utils._log.boot import Host
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.files import LogFile
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.names import Names
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.recall import Logs
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.unread import Unread


def logs_of(
    files: t.Sequence[LogFile], unread: Unread, host: Host | None = None
) -> Logs:
    """Return open logs, with the names of their host."""
    return Logs(files, unread, Names.of(files, host), host)

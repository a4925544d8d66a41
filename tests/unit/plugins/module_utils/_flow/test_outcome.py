# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    LinkError,
    PendingError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow.outcome import (
    Outcome,
    require_gone,
    still_shown,
)

FREE = Outcome("52:54:00:00:00:01", "detached")
KEPT = Outcome("52:54:00:00:00:02", "pending", pending=True)
LEFT = Outcome("52:54:00:00:00:03", "detached", left="its macvtap va1 is still there")
# Its host side is closed, and only the guest still shows it.
SHOWN = Outcome("52:54:00:00:00:04", "revoked", pending=True)


def test_nothing_to_report() -> None:
    require_gone("web01", 5, False, [FREE, SHOWN])


def test_a_nic_that_only_the_guest_has_is_said() -> None:
    (said,) = still_shown("web01", [FREE, KEPT, LEFT, SHOWN])
    assert f"of {SHOWN.mac} is closed, and the guest of VM web01 still shows" in said


@pytest.mark.parametrize(
    ("force", "advice"), [(False, "use force: true"), (True, "Stop the VM")]
)
def test_the_message_names_a_kept_nic_and_a_macvtap_that_is_left(
    force: bool, advice: str
) -> None:
    with pytest.raises(PendingError, match=advice) as caught:
        require_gone("web01", 5, force, [FREE, LEFT, KEPT, SHOWN])
    text = str(caught.value)
    assert KEPT.mac in text
    assert "va1 is still there; " in text
    assert FREE.mac not in text
    assert SHOWN.mac not in text


def test_a_macvtap_alone() -> None:
    with pytest.raises(LinkError, match=r"^its macvtap va1 is still there$"):
        require_gone("web01", 5, False, [LEFT, FREE])


def test_qemu_does_not_ask_the_guest() -> None:
    refused = Outcome("52:54:00:00:00:05", "pending", True, refused="no hotplugging")
    with pytest.raises(PendingError) as caught:
        require_gone("web01", 5, False, [refused, KEPT])
    text = str(caught.value)
    assert f"did not release {KEPT.mac} within 5 s" in text
    assert "does not unplug 52:54:00:00:00:05 from VM web01: no hotplugging" in text
    with pytest.raises(PendingError, match="cannot be closed"):
        require_gone("web01", 5, True, [refused])

# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happened to the NICs that a task takes from a VM, and what it says about those that are not free. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from .._device import Device
from .._errors import LinkError, PendingError
from .._net.holdings import Holding

Action = t.Literal["detached", "revoked", "absent", "pending"]


@dataclasses.dataclass
class Outcome:
    """What happened to one NIC. ``pending`` tells that the guest still has its side.

    ``released`` are the devices that qemu gave up. If the macvtap could not be removed, ``left`` is the reason.
    If qemu refused to ask the guest, ``refused`` is the reason. If a process other than the VM's qemu still holds
    the NIC's link, ``holding`` names it.
    """

    mac: str
    action: Action
    pending: bool = False
    released: list[Device] = dataclasses.field(default_factory=list)
    left: str | None = None
    refused: str | None = None
    holding: Holding | None = None

    def result(self) -> dict[str, t.Any]:
        """Return the module's value for the NIC."""
        return {
            "mac": self.mac,
            "action": self.action,
            "pending": self.pending,
            "released": [opened.result() for opened in self.released],
        }


def closed_words(name: str, mac: str) -> str:
    """Say that qemu has given up a NIC that the guest of VM ``name`` still has."""
    return (
        f"the host side of {mac} is closed, and the guest of VM {name} still shows the NIC, without a network. The NIC "
        "disappears when the guest releases it or is reset"
    )


def still_shown(name: str, outcomes: t.Iterable[Outcome]) -> list[str]:
    """Say which NICs the guest of VM ``name`` still has after qemu has given them up."""
    return [
        closed_words(name, outcome.mac)
        for outcome in outcomes
        if outcome.pending and outcome.action != "pending"
    ]


def held_elsewhere(name: str, outcome: Outcome) -> str:
    """Say that a process other than the qemu of VM ``name`` still holds the device of a NIC."""
    return (
        f"VM {name} has given up {outcome.mac}, but its device is not free: {outcome.holding}. So the task recorded no "
        "detach and no close for it. End that process, or find out how it got the device, and run the task again"
    )


def require_gone(
    name: str, timeout: float, force: bool, outcomes: t.Sequence[Outcome]
) -> None:
    """Require that qemu gave up every NIC that the task takes from VM ``name``, and that nothing is left of any NIC.

    Raises :class:`PendingError` if qemu still had one after ``timeout`` seconds or will never give it up, and
    :class:`LinkError` if only a macvtap is left.
    """
    problems = [outcome.left for outcome in outcomes if outcome.left is not None]
    problems += [
        held_elsewhere(name, outcome)
        for outcome in outcomes
        if outcome.holding is not None
    ]
    kept = [
        outcome
        for outcome in outcomes
        if outcome.action == "pending" and outcome.holding is None
    ]
    asked = ", ".join(outcome.mac for outcome in kept if force or not outcome.refused)
    if asked and force:
        problems.append(
            f"the host side of {asked} cannot be closed, because this qemu keeps it as long as the guest of VM {name} "
            "has the NIC, and the task cannot remove the NIC from this machine. qemu still holds the devices, and the "
            "VM still has its network. Stop the VM (stop_vm: destroy) if it must not keep it"
        )
    elif asked:
        problems.append(
            f"the guest of VM {name} did not release {asked} within {timeout:g} s. qemu still holds the devices, and "
            "the VM still has its network. The request stays pending. Run the task again when the guest is up, or use "
            "force: true to close the host side at once"
        )
    problems += [
        f"qemu does not unplug {outcome.mac} from VM {name}: {outcome.refused}. It still holds the devices, and the VM "
        "still has its network. Use force: true to close the host side, or stop the VM"
        for outcome in kept
        if outcome.refused and not force
    ]
    if problems:
        pending = any(outcome.action == "pending" for outcome in outcomes)
        raise (PendingError if pending else LinkError)("; ".join(problems))

# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes the network of an attached NIC in place, without its guest's help: applies it, reads it back, records it."""

from __future__ import annotations

import typing as t

from .._audit.auditor import Auditor
from .._audit.messages import Messages
from .._audit.network import Network
from .._errors import LinkError, VirtauditError
from .._net.backends import backend_of
from .._vm.differences import Move
from .._vm.nic_network import put_back, put_on
from .._vm.note import NicNote, Note
from .._vm.vm import Vm
from .plan import Step, updated


def update(
    vm: Vm, note: Note, step: Step, auditor: Auditor, messages: Messages
) -> dict[str, t.Any]:
    """Put a NIC on the network that the task asks for. Return the module's value for it.

    Write one record for each value that changes. If the change fails half way, take it back, and write these
    records as failed. Raises :class:`VirtauditError`.
    """
    nic, move = step.nic, step.move
    if nic is None or move is None or nic.ifname is None:
        raise LinkError(f"{step.interface.mac} has no link that the task could update")
    entry = nic.noted_in(note)
    entry.ifname = nic.ifname
    if entry.updating is not None:
        # First take away what an interrupted update has set.
        put_on(vm, entry, entry.link.on(entry.updating), entry.former)
    if not entry.made:
        # No note tells the network on which another program, or a task before, has put its NIC.
        entry.put_on(move.before)
    entry.begin_update(move.before, move.after)
    vm.state.save(note)
    try:
        put_on(vm, entry, entry.link, move.after)
        _require(entry, move.after)
    except VirtauditError:
        problems = put_back(vm, entry, entry.link.on(move.after), entry.former)
        if problems:
            # The link may be down, or on the new network.
            auditor.warnings.append(
                f"the update of {nic.mac} failed, and {' and '.join(problems)}. The next task tries again"
            )
        else:
            entry.end_update()
        _record(auditor, messages, entry, move, success=False)
        raise
    _record(auditor, messages, entry, move, success=True)
    entry.put_on(move.after)
    vm.state.save(note)
    return updated(nic.result(), move)


def _require(entry: NicNote, network: Network) -> None:
    """Require that the kernel has a link on a network, and on its former network no more. Raises :class:`LinkError`."""
    backend, link = backend_of(entry.type), entry.link.on(network)
    wrong = Move(backend.observe(link), network).differences
    wrong += backend.left_of(link, entry.link)
    if wrong:
        raise LinkError(
            f"the task put {entry.ifname} on its network, and the kernel shows another one: {'; '.join(wrong)}"
        )


def _record(
    auditor: Auditor, messages: Messages, entry: NicNote, move: Move, success: bool
) -> None:
    records = messages.net_updates(
        entry.mac, entry.ifname, move.before, move.after, success
    )
    for record in records:
        if success:
            auditor.write(record)
        else:
            auditor.write_anyway(record)

# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors, worded for an operator. Helpers raise these and never end the module themselves.

Only the edge (``_task/edge.py``) calls ``fail_json``.
"""

from __future__ import annotations

import typing as t


class VirtauditError(Exception):
    """Something failed. The text says what failed, on which device, what this means for the VM, and what to do.

    ``partial`` is the module's result up to the failure, so that the caller learns what was done and recorded
    before it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.partial: dict[str, t.Any] = {}


class OptionError(VirtauditError):
    """The module refuses an option before it opens anything. The text starts with the option's name."""

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(f"{option}: {problem}")
        self.option = option


class RecordError(VirtauditError):
    """A record cannot be written, or a text is not a record."""


class AuditError(VirtauditError):
    """The kernel's audit system cannot prove that a record was kept."""


class AuditPermissionError(AuditError):
    """This process has no right to talk to the kernel's audit system."""


class AuditNamespaceError(AuditError):
    """This process does not run in the namespaces in which the kernel answers it and echoes records."""


class AuditLogError(AuditError):
    """Records are missing in the audit daemon's log, or nobody can see whether they are there."""


class LogError(VirtauditError):
    """No audit log can be read."""


class DeviceError(VirtauditError):
    """A network device could not be opened or is not what it should be."""


class LinkError(VirtauditError):
    """A network link could not be made, changed or removed."""


class StateError(VirtauditError):
    """The notes of this host about its VMs cannot be used."""


class BusyError(StateError):
    """Another task works on the same VM."""


class ProcessError(VirtauditError):
    """qemu did not start, or is not the process that it should be."""


class MonitorError(VirtauditError):
    """The QMP monitor cannot be reached, or does not behave as one."""


class UnreachableError(MonitorError):
    """The socket does not exist, or nobody listens on it."""


class StuckError(MonitorError):
    """Devices whose hand-over or end is not finished are held by a qemu that does not answer, or by another process."""


class QmpError(MonitorError):
    """qemu answered a command with an error.

    ``error_class`` is QMP's ``error.class`` (``GenericError``, ``DeviceNotFound``, ...),
    ``desc`` qemu's own sentence.
    """

    def __init__(self, command: str, error_class: str, desc: str) -> None:
        super().__init__(f"qemu refused {command}: {desc}")
        self.error_class = error_class
        self.desc = desc


class MismatchError(VirtauditError):
    """The VM has a NIC with the MAC already, and the NIC has other settings than the task asks for."""


class PendingError(VirtauditError):
    """The guest did not release an interface in time. qemu still holds its devices."""


class StopError(VirtauditError):
    """The VM did not stop in time, and still runs."""

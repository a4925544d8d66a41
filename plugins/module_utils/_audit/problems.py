# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the problems with auditing mean, and how to mend them, in words. Pure."""

from __future__ import annotations

from .._errors import (
    AuditError,
    AuditLogError,
    AuditNamespaceError,
    AuditPermissionError,
)

_MEND = (
    "Start the audit daemon ('systemctl start auditd') and enable auditing ('auditctl -e 1'),"
    " or run the task with audit: best_effort if it may go on without proof."
)
_MENDS: dict[type[AuditError], str] = {
    AuditPermissionError: "Run the task as root on the host itself (become: true), or with audit: best_effort.",
    AuditNamespaceError: "Run the task on the host itself and not in a container, or with audit: best_effort.",
    AuditLogError: (
        "Make room on the disk of its log, or restart the daemon ('systemctl restart auditd', or 'service auditd restart'),"
        " or run the task with audit: best_effort if it may go on without proof."
    ),
}


def with_mend(message: str, problem: AuditError) -> str:
    """Return the message of a task that a problem ends, with what to do about it."""
    return f"audit: {message}. {_MENDS.get(type(problem), _MEND)}"


def elsewhere(kind: str) -> AuditNamespaceError:
    """Return the error for a task that runs in a namespace of a container."""
    cannot = "there the kernel takes no record"
    if kind == "network":
        cannot = (
            "there the kernel takes records, but sends no echo that would prove them"
        )
    return AuditNamespaceError(
        f"this task does not run in the host's {kind} namespace: {cannot}"
    )

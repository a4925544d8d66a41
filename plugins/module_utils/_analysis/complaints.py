# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words the findings about one VM's NICs for an operator. Pure."""

from __future__ import annotations

import typing as t

from .._log.items import Forged
from .._log.parse import Logged
from .._time import iso
from .findings import Code, Finding, Findings, Severity
from .grants import Opened
from .witness import kind_of

# What to do about a record that a user other than root sent, to the audit log or to the journal.
_FIND_SENDER = (
    "Find out which process of that user sent it. A process needs CAP_AUDIT_WRITE to send a record to the audit log, so "
    "take this capability from it. To send a line to the journal, it needs none."
)


class Complaints:
    """Adds findings about one VM."""

    def __init__(self, node: str | None, uuid: str, findings: Findings) -> None:
        self._node, self._uuid, self._findings = node, uuid, findings

    def failed_open(self, logged: Logged, mac: str, path: str) -> None:
        """A device could not be opened."""
        vhost = kind_of(path) == "vhost"
        self._add(
            "failed_open",
            "low" if vhost else "medium",
            f"{path} could not be opened for {mac} of VM {_vm(logged)} at {iso(logged.time)}. "
            + (
                "The NIC works without vhost-net, but more slowly. Load the module vhost_net, or set vhost: off."
                if vhost
                else "The VM did not get this device. The task's result tells the reason."
            ),
            logged,
            mac=mac,
            path=path,
            dev=logged.record.fields.get("dev"),
        )

    def failed_start(self, logged: Logged, events: list[str], macs: list[str]) -> None:
        """The start of the VM failed as a whole."""
        nics = f" (with {', '.join(macs)})" if macs else ""
        self._add(
            "failed_start",
            "medium",
            f"VM {_vm(logged)} did not start at {iso(logged.time)}{nics}. It holds no device of that start. The task's "
            "result or the log of qemu tells the reason.",
            logged,
            events=[*events, logged.event],
        )

    def not_started(self, logged: Logged, mac: str) -> None:
        """A NIC was not handed over, and nothing more is known about the start."""
        self._add(
            "failed_start",
            "medium",
            f"{mac} was not handed to VM {_vm(logged)} at {iso(logged.time)}, because its start failed or was cut off. "
            "The task's result tells the reason.",
            logged,
            mac=mac,
        )

    def not_attached(self, logged: Logged, mac: str) -> None:
        """A NIC was not handed to a VM that runs."""
        self._add(
            "failed_start",
            "medium",
            f"{mac} was not handed to VM {_vm(logged)} at {iso(logged.time)}, and the VM holds none of the NIC's "
            "devices. The task's result tells the reason. Run the task again.",
            logged,
            mac=mac,
        )

    def failed_detach(self, logged: Logged, mac: str) -> Finding:
        """A detach of a NIC failed."""
        return self._add(
            "failed_detach",
            "medium",
            f"A task tried to take {mac} from VM {_vm(logged)} at {iso(logged.time)}, and the VM still holds its "
            "devices. Run the detach again when the guest is up, or with force: true.",
            logged,
            mac=mac,
        )

    def failed_prepare(self, logged: Logged, mac: str) -> Finding:
        """A filter, a VLAN or a port's flag could not be set before the hand-over."""
        return self._add(
            "failed_prepare",
            "medium",
            f"The network of {mac} of VM {_vm(logged)} could not be prepared at {iso(logged.time)}: its VLAN, filter "
            "or isolation is not in place. The task's result tells the reason. Run the task again.",
            logged,
            mac=mac,
            dev=logged.record.fields.get("dev"),
        )

    def unclaimed(self, mac: str, opened: Opened, how: str) -> None:
        """A device was opened and never handed over, and no failed hand-over explains that."""
        if opened.failed:
            return
        logged, device = opened.logged, opened.device
        self._add(
            "unclaimed_open",
            "medium",
            f"{device.path} was opened for {mac} of VM {_vm(logged)} at {iso(logged.time)} and never handed over: "
            f"{how}. Something between the open and the hand-over failed. Look into the log of the program that opened "
            f"the device, and check whether {logged.record.fields.get('exe')} still holds the device.",
            logged,
            mac=mac,
            path=device.path,
            dev=device.dev,
        )

    def untrusted(self, logged: Logged) -> None:
        """A user other than root sent a record."""
        self._findings.add(
            Finding(
                code="untrusted_record",
                severity="high",
                message=f"User {logged.uid} (pid {logged.pid}), who is not root, sent a {logged.record.type} record "
                f"about VM {_vm(logged)} at {iso(logged.time)}. The record proves nothing, and no grant rests "
                f"on it. {_FIND_SENDER}",
                time=logged.time,
                events=[logged.event],
                node=self._node,
                vm=_vm(logged),
                uuid=self._uuid,
                auid=logged.auid,
            )
        )

    @staticmethod
    def forged(mark: Forged, findings: Findings) -> None:
        """Report a record of a boot or a shutdown that a user other than root sent. It concerns all VMs of the host."""
        findings.add(
            Finding(
                code="untrusted_record",
                severity="high",
                message=f"User {mark.user} (pid {mark.pid}), who is not root, sent a {mark.type} record at "
                f"{iso(mark.time)}. The record proves nothing, and it ends no grant. {_FIND_SENDER}",
                time=mark.time,
                events=[mark.event],
                node=mark.node,
                auid=mark.auid,
            )
        )

    def _add(
        self,
        code: Code,
        severity: Severity,
        message: str,
        logged: Logged,
        events: list[str] | None = None,
        **known: t.Any,
    ) -> Finding:
        return self._findings.add(
            Finding(
                code=code,
                severity=severity,
                message=message,
                time=logged.time,
                events=events or [logged.event],
                node=self._node,
                vm=_vm(logged),
                uuid=self._uuid,
                exe=logged.record.fields.get("exe"),
                auid=logged.auid,
                **known,
            )
        )


def _vm(logged: Logged) -> str | None:
    return logged.record.fields.get("vm")

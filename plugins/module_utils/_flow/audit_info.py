# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""vm_net_audit_info: read the logs, combine the records, compare them with the host."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import typing as t

from .._analysis.findings import Finding
from .._analysis.history import History
from .._analysis.sessions import Session
from .._analysis.trail import Trail
from .._errors import AuditError, LogError, OptionError
from .._log.boot import Host
from .._log.copies import Copies
from .._log.files import LogFile, host_logs
from .._log.given import given_logs
from .._log.items import HeaderHost, Item
from .._log.names import Names, hosts_of
from .._log.nodes import OwnNodes
from .._log.order import in_order
from .._log.recall import Logs, Recalled, read_all, recall
from .._log.unread import Unread
from .._log.wanted import Wanted
from .._net.mac import parse_mac
from .._time import iso, parse_time
from .._vm.target import parse_name, parse_uuid
from .counted import Counted
from .extent import Extent, unread_findings, warnings_of

if t.TYPE_CHECKING:
    from .._task.answer import Answer
    from .host_view import Look


def run(params: t.Mapping[str, t.Any], answer: Answer, keep_index: bool = True) -> None:
    """Read the trail back. Raises :class:`VirtauditError`.

    ``keep_index`` allows the module to write an index of a large log for the next time.
    """
    started = time.monotonic()
    wanted = _parse(params)
    answer.asked = _asked(wanted, params["logs"] is None)
    verify, details = params["verify"], params["events"]
    if verify and os.geteuid() != 0:
        raise OptionError(
            "verify",
            "verify looks into the processes of other users, which needs root; use become: true",
        )
    history = History(wanted.since, wanted.until) if params["history"] else None
    trail = Trail(wanted.since, details, history)
    host = Host.this() if params["logs"] is None else None
    before = _look() if verify else None
    with _logs(params["logs"]) as (files, unread):
        _refuse_nothing(files, unread)
        if verify and host is None:
            _check_host(files, answer)
        logs = Logs(files, unread, Names.of(files, host), host, keep_index)
        counted = Counted(_copies(logs), wanted, details)
        doubts: list[Item] = []
        # Only all of the logs together show what else a VM holds, and the history.
        if wanted.any_vm() or verify or history:
            found = Recalled(counted.of(_everything(logs, wanted, details, counted)))
        elif logs.in_a_row():
            recalled = recall(logs, wanted, details)
            found = dataclasses.replace(recalled, items=counted.of(recalled.items))
        else:
            whole = counted.of(_everything(logs, wanted, details, counted))
            found = recall(logs, wanted, details, [*in_order(whole, doubts)])
        now = time.time()
        until = now if wanted.until is None else min(now, wanted.until)
        trail.read(found.items, until, doubts)
        begin = min((log.first_event()[0] for log in files if log.size), default=now)
        unread.count_lines()
        extent = Extent.of(files, counted.first, counted.last)
        answer.stats = {
            "files": [log.path for log in files],
            "unread": [each.result() for each in unread],
            "bytes": sum(log.size for log in files),
            "records": counted.records,
            **extent.result(),
        }
        answer.warnings += warnings_of(logs, extent, wanted, found, counted, doubts)
        if found.since_boot and wanted.since is None:
            # Without the time of the boot, the answer proves no absence.
            answer.asked["boot"] = iso(now if found.mark is None else found.mark.time)
    unread_findings(trail.findings, unread, now)
    if before is not None:
        _compare(trail, before, begin, answer)
    _fill(answer, trail, wanted, details)
    if history is not None:
        answer.history = [
            held.result()
            for held in history.all(trail.grants())
            if _matches(wanted, held.grant.vm, held.grant.uuid, held.grant.mac)
        ]
    answer.events = counted.events if details else None
    answer.name_host(logs.names.header())
    answer.stats["elapsed"] = round(time.monotonic() - started, 3)


def _everything(
    logs: Logs, wanted: Wanted, details: bool, counted: Counted
) -> t.Iterator[Item]:
    copies = counted.copies
    return read_all(logs, wanted, details, copies.log_ends if copies else lambda: None)


def _copies(logs: Logs) -> Copies | None:
    """Return the object that finds copies of records, or ``None`` if the logs have no copies, as is usual for auditd's own logs."""
    if len(logs.files) == 1 and logs.files[0].plain:
        return None
    if logs.host is not None and not logs.has_copies():
        return None
    return Copies(mixed=not all(log.plain for log in logs.files))


def _parse(params: t.Mapping[str, t.Any]) -> Wanted:
    name, uuid, mac, since, until = (
        params[key] for key in ("name", "uuid", "mac", "since", "until")
    )
    wanted = Wanted(
        name=None if name is None else parse_name(name),
        uuid=None if uuid is None else parse_uuid(uuid),
        mac=None if mac is None else parse_mac("mac", mac),
        since=None if since is None else parse_time("since", since),
        until=None if until is None else parse_time("until", until),
    )
    if (
        wanted.since is not None
        and wanted.until is not None
        and wanted.since > wanted.until
    ):
        raise OptionError("since", f"{since} is after until ({until})")
    if params["verify"] and wanted.until is not None and wanted.until < time.time():
        raise OptionError(
            "verify",
            "the module can compare only the present trail with the host, and until ends the trail earlier; leave one "
            "of them out",
        )
    if params["logs"] is not None and not params["logs"]:
        raise OptionError("logs", "is empty; leave it out for the host's own logs")
    return wanted


def _asked(wanted: Wanted, own_logs: bool) -> dict[str, t.Any]:
    """Return what the answer covers.

    From ansible-core 2.21 on, results do not have the arguments, and times may be in the host's time zone.
    """
    return {
        "name": wanted.name,
        "uuid": wanted.uuid,
        "mac": wanted.mac,
        "since": None if wanted.since is None else iso(wanted.since),
        "until": None if wanted.until is None else iso(wanted.until),
        "own_logs": own_logs,
        # The kernel's times are those of its last tick, which can be 10 ms old.
        "as_of": iso(time.time() - 0.01),
    }


def _look() -> Look:
    # The import is here because a task that only reads the logs does not need the code for the
    # host.
    from .host_view import look

    return look()


def _check_host(logs: t.Sequence[LogFile], answer: Answer) -> None:
    """The devices that this host holds tell nothing about the logs of another host."""
    hosts, own = hosts_of(logs), OwnNodes()
    others = [host for host in hosts if host is not None and host not in own]
    # The records without a name belong to the first host that a header names.
    in_headers = any(isinstance(host, HeaderHost) for host in others)
    if others and (in_headers or len(others) == len(hosts)):
        raise OptionError(
            "verify",
            f"the logs are of {', '.join(sorted(others))} and not of this host; leave verify out",
        )
    if None in hosts:
        answer.warnings.append(
            "logs: they name no host, and verify compares them with this one; do not use verify for the logs of "
            "another host"
        )


def _compare(trail: Trail, before: Look, begin: float, answer: Answer) -> None:
    from .compare import add_lost, compare, unchecked_filters, unchecked_places

    after = _look()
    compare(trail, before, after, begin, time.time())
    unplaced = unchecked_places(trail, after)
    if unplaced:
        answer.warnings.append(
            "verify: Open vSwitch's database does not answer, so the module could not check on which bridge these NICs "
            f"are: {', '.join(unplaced)}"
        )
    unchecked = unchecked_filters(trail, after)
    if unchecked:
        answer.warnings.append(
            f"verify: the module could not check whether these NICs have their packet filter: {', '.join(unchecked)}"
        )
    try:
        add_lost(trail.findings, time.time())
    except AuditError as exc:
        answer.warnings.append(
            f"audit: the module could not ask how many records the kernel lost: {exc}"
        )


def _logs(
    paths: t.Sequence[str] | None,
) -> contextlib.AbstractContextManager[tuple[list[LogFile], Unread]]:
    return host_logs() if paths is None else given_logs(paths)


def _refuse_nothing(logs: t.Sequence[LogFile], unread: Unread) -> None:
    if not logs:
        which = ", ".join(f"{each.path} ({each.problem})" for each in unread)
        raise LogError(
            f"logs: the module could read none of them: {which}. So there is no answer. Start auditd, use become: "
            "true, or give the right paths"
        )


def _fill(answer: Answer, trail: Trail, wanted: Wanted, details: bool) -> None:
    answer.grants = [
        grant.result()
        for grant in trail.grants()
        if _matches(wanted, grant.vm, grant.uuid, grant.mac)
    ]
    answer.findings = [
        finding.result()
        for finding in trail.findings.all()
        if _is_of_all(finding) or _concerns(wanted, finding)
    ]
    answer.sessions = [
        session.result(details)
        for session in sorted(trail.sessions.values(), key=lambda each: each.start)
        if _matches(wanted, session.vm, session.uuid, None)
        and (wanted.mac is None or _had(session, wanted.mac))
    ]


def _is_of_all(finding: Finding) -> bool:
    """Tell whether a finding is about all VMs in the host's logs, and not about one VM."""
    if finding.code == "untrusted_record":
        return finding.uuid is None
    return finding.code in ("audit_lost", "unread_records")


def _matches(wanted: Wanted, vm: str | None, uuid: str | None, mac: str | None) -> bool:
    return (
        wanted.name in (None, vm)
        and wanted.uuid in (None, uuid)
        and (mac is None or wanted.mac in (None, mac))
    )


def _concerns(wanted: Wanted, finding: Finding) -> bool:
    """Tell whether a finding is about what the task asks for.

    A finding about a VM as a whole is also about its NICs.
    """
    if wanted.mac is not None and finding.uuid is None:
        return False
    return _matches(wanted, finding.vm, finding.uuid, finding.mac)


def _had(session: Session, mac: str) -> bool:
    return any((each.resource or "").lower() == mac for each in session.resources)

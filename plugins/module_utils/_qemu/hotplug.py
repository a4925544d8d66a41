# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plugs a NIC into a running qemu and takes it out again, with rollback.

Sources: QMP ``getfd``, ``netdev_add``, ``device_add``, ``device_del``, ``netdev_del``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from .._device import Device
from .._errors import MonitorError, ProcessError, QmpError, StuckError
from .._net import holdings
from .._net.interface import Interface, compact
from .._proc import Process
from . import command, ids
from .monitor import Monitor

# The guest loses a device_del that comes before it is up, so the command is repeated.
_REPEAT_SECONDS = 1.0
# If the guest drives PCIe's own hot-plug, qemu answers this for some seconds after a plug and during an unplug.
_BUSY = "guest is busy"


def plug(
    monitor: Monitor,
    process: Process,
    interface: Interface,
    devices: t.Sequence[Device],
    port: str | None,
) -> list[Device]:
    """Give open devices to qemu and make a NIC of them. Return them with their fd numbers in qemu.

    If something fails, all is rolled back, and qemu holds none of the devices. Raises
    :class:`MonitorError` or :class:`ProcessError`; :class:`StuckError` when qemu does not
    answer any more and holds some of them, or may get one that is on its way to it.
    """
    names = _names(interface.mac, devices)
    held: list[Device] = []
    adding = False
    try:
        for opened, name in zip(devices, names):
            held.append(_send(monitor, process, opened, name))
        queues = [name for name, opened in zip(names, devices) if not opened.is_vhost]
        vhosts = [name for name, opened in zip(names, devices) if opened.is_vhost]
        monitor.execute("netdev_add", command.netdev(interface, queues, vhosts))
        adding = True
        monitor.execute("device_add", command.nic(interface, port))
        lost = [opened for opened in held if not holdings.still_at(process, opened)]
        if lost:
            raise ProcessError(
                f"qemu took {interface.mac} and does not hold {lost[0].path} as fd {lost[0].fd}"
                + process.fate()
            )
    except BaseException as exc:
        # qemu may have done a device_add though it did not answer, and a paused guest would keep the NIC.
        settled = False
        if not (adding and _is_unanswered(exc)):
            with contextlib.suppress(MonitorError):
                roll_back(monitor, interface.mac, len(devices))
                settled = True
        left = holdings.kept(process, held)
        if left and isinstance(exc, (MonitorError, ProcessError, OSError)):
            raise StuckError(
                f"{exc}. qemu (pid {process.pid}) still holds {_words(left)} of {interface.mac}, whose hand-over is"
                " not finished. Run the task again when qemu answers: it will be finished or taken back"
            ) from exc
        if _is_unanswered(exc) and not settled and not process.fate():
            # qemu gets a descriptor that was sent as soon as it reads its socket again.
            raise StuckError(
                f"{exc}. qemu (pid {process.pid}) may still get what was sent to it of {interface.mac}, whose hand-over"
                " is not finished. Run the task again when qemu answers: it will be taken back"
            ) from exc
        raise
    return held


def _is_unanswered(exc: BaseException) -> bool:
    return isinstance(exc, MonitorError) and not isinstance(exc, QmpError)


def _words(devices: t.Sequence[Device]) -> str:
    return ", ".join(f"{opened.path} as fd {opened.fd}" for opened in devices)


def roll_back(monitor: Monitor, mac: str, count: int) -> None:
    """Take back what :func:`plug` has left, at whichever point it ended."""
    names = [*_queue_names(mac, count), *_vhost_names(mac, count)]
    monitor.try_all(
        [
            ("device_del", {"id": ids.device_id(mac)}),
            ("netdev_del", {"id": ids.netdev_id(mac)}),
            *(("closefd", {"fdname": name}) for name in names),
        ]
    )


@dataclasses.dataclass
class Unplugged:
    """Front ends, by QOM path, that are ``gone``, and those that qemu ``refused`` to unplug, with its reason."""

    gone: set[str] = dataclasses.field(default_factory=set)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)


def unplug(monitor: Monitor, paths: t.Iterable[str], deadline: float) -> Unplugged:
    """Ask the guest to let go of front ends, by QOM path. Return what became of them until ``deadline``.

    ``deadline`` is in ``time.monotonic()``'s seconds. The back ends stay.
    """
    waiting = set(paths)
    done = Unplugged()
    asked: set[str] = set()
    busy: dict[str, str] = {}
    while waiting:
        busy = _request_unplug(monitor, sorted(waiting), done)
        waiting -= {*done.gone, *done.refused}
        asked |= waiting - {*busy}
        repeat = min(deadline, time.monotonic() + _REPEAT_SECONDS)
        while waiting:
            event = monitor.wait_event(repeat)
            if event is None:
                break
            # A virtio NIC sends a second event, for the device inside it.
            path = event.get("data", {}).get("path")
            if event["event"] == "DEVICE_DELETED" and path in waiting:
                done.gone.add(path)
                waiting.discard(path)
        if time.monotonic() >= deadline:
            break
    # qemu never asked the guest for a front end whose slot was busy all the time.
    done.refused.update({path: busy[path] for path in waiting - asked if path in busy})
    return done


def _request_unplug(
    monitor: Monitor, paths: t.Sequence[str], done: Unplugged
) -> dict[str, str]:
    """Send one device_del for each front end, and add what became of it to ``done``.

    Returns those that qemu refuses for the moment, with its reason: the slot is busy with an earlier plug or unplug.
    """
    answers = monitor.try_all([("device_del", {"id": path}) for path in paths])
    busy = {}
    for path, answer in zip(paths, answers):
        if not isinstance(answer, QmpError):
            continue
        if answer.error_class == "DeviceNotFound":
            done.gone.add(path)
        elif _BUSY in answer.desc:
            busy[path] = answer.desc
        elif "already in the process of unplug" not in answer.desc:
            done.refused[path] = answer.desc
    return busy


def close_backend(
    monitor: Monitor, process: Process, netdev: str, devices: t.Sequence[Device]
) -> list[Device]:
    """Delete a back end and wait until /proc shows that its fds are closed.

    Returns the devices that qemu still holds: none when the front end is gone, and with an
    older qemu none even when it is not.
    """
    try:
        monitor.execute("netdev_del", {"id": netdev})
    except QmpError as exc:
        if exc.error_class != "DeviceNotFound" and "not found" not in exc.desc:
            raise
    return holdings.wait_released(process, devices)


def revoke(
    monitor: Monitor,
    process: Process,
    netdev: str,
    path: str | None,
    devices: t.Sequence[Device],
) -> list[Device]:
    """Take the devices of a NIC away, whatever the guest does. Return those that qemu still holds.

    ``path`` is the front end's QOM path, ``None`` when the guest has let go of it.
    """
    if path is not None and any(opened.is_vdpa for opened in devices):
        # qemu loses a back end of this kind that is deleted under its card, and keeps the device until it ends.
        _request_unplug(monitor, [path], Unplugged())
        if not pull_out(monitor, path):
            return holdings.kept(process, devices)
        path = None
    held = close_backend(monitor, process, netdev, devices)
    if held and path is not None:
        # This qemu keeps the devices as long as the card is in the machine.
        _request_unplug(monitor, [path], Unplugged())
        held = holdings.wait_released(process, devices)
    if held and path is not None:
        pull_out(monitor, path)
        held = holdings.wait_released(process, devices)
    return held


def pull_out(monitor: Monitor, path: str) -> bool:
    """Pull a card out of a machine whose guest does not let go of it; tell whether it is out.

    ``path`` is the front end's QOM path. The guest's CPUs stand still meanwhile.
    """
    from . import eject

    with contextlib.suppress(MonitorError):
        eject.eject(monitor, path)
    done = Unplugged()
    _request_unplug(monitor, [path], done)
    return path in done.gone


def _send(monitor: Monitor, process: Process, opened: Device, name: str) -> Device:
    """Pass one fd to qemu. Learn its number there from /proc, the only place that has it for vhost-net."""
    before = process.fds()
    monitor.execute("getfd", {"fdname": name}, fd=opened.fd)
    for fd in sorted(process.fds() - before):
        found = holdings.at(process, fd)
        if found is not None and found.rdev == opened.rdev:
            return dataclasses.replace(opened, fd=fd)
    raise ProcessError(
        f"{opened.path} was passed to qemu (pid {process.pid}) and is not among its open files"
        + process.fate()
    )


def _names(mac: str, devices: t.Sequence[Device]) -> list[str]:
    queues = iter(_queue_names(mac, len(devices)))
    vhosts = iter(_vhost_names(mac, len(devices)))
    return [next(vhosts if opened.is_vhost else queues) for opened in devices]


def _queue_names(mac: str, count: int) -> list[str]:
    # A name that starts with a digit would mean one of qemu's own fds.
    return [f"vt{compact(mac)}-queue{number}" for number in range(count)]


def _vhost_names(mac: str, count: int) -> list[str]:
    return [f"vt{compact(mac)}-vhost{number}" for number in range(count)]

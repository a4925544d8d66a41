# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes NICs out of a running qemu. Sources: QMP ``device_del``, ``netdev_del``, ``closefd``."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from .._device import Device
from .._errors import MonitorError, QmpError
from .._net import holdings
from .._proc import Process
from . import ids
from .monitor import Monitor

# The guest loses a device_del that comes before it is up, so the command is repeated.
_REPEAT_SECONDS = 1.0
# If the guest drives PCIe's own hot-plug, qemu answers this for some seconds after a plug and during an unplug.
_BUSY = "guest is busy"


def roll_back(monitor: Monitor, mac: str, count: int) -> None:
    """Take back what a hot-plug has left, at whichever point it ended."""
    names = [*ids.queue_names(mac, count), *ids.vhost_names(mac, count)]
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


def close_backends(
    monitor: Monitor, process: Process, backends: t.Mapping[str, t.Sequence[Device]]
) -> dict[str, list[Device]]:
    """Delete back ends, each with its devices, and wait until /proc shows that their fds are closed.

    Returns the devices that qemu still holds, by back end: none when the front end is gone, and with an
    older qemu none even when it is not.
    """
    answers = monitor.try_all([("netdev_del", {"id": netdev}) for netdev in backends])
    for answer in answers:
        if isinstance(answer, QmpError) and not _is_missing(answer):
            raise answer
    return holdings.wait_all_released(process, backends)


def _is_missing(refusal: QmpError) -> bool:
    return refusal.error_class == "DeviceNotFound" or "not found" in refusal.desc


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
    if path is not None and loses_its_back_end(devices):
        _request_unplug(monitor, [path], Unplugged())
        if not pull_out(monitor, path):
            return holdings.kept(process, devices)
        path = None
    held = close_backends(monitor, process, {netdev: devices})[netdev]
    return take_away(monitor, process, path, devices) if held and path else held


def loses_its_back_end(devices: t.Sequence[Device]) -> bool:
    """Tell whether qemu loses the back end of a NIC that is deleted under its card, and keeps the devices until it ends."""
    return any(opened.is_vdpa for opened in devices)


def take_away(
    monitor: Monitor, process: Process, path: str, devices: t.Sequence[Device]
) -> list[Device]:
    """Take the devices away that a qemu keeps as long as their card is in the machine. Return those that it still holds.

    ``path`` is the front end's QOM path. The guest's CPUs may stand still meanwhile.
    """
    _request_unplug(monitor, [path], Unplugged())
    held = holdings.wait_released(process, devices)
    if held:
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

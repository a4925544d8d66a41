# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes NICs from a running qemu. Sources: QMP ``device_del``, ``netdev_del``, ``closefd``."""

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

# A guest that is not up yet misses a device_del, so the command is repeated.
_REPEAT_SECONDS = 1.0
# If the guest uses PCIe's own hot-plug, qemu gives this answer for some seconds after a plug and
# during an unplug.
_BUSY = "guest is busy"


def roll_back(monitor: Monitor, mac: str, count: int) -> None:
    """Take back what a hot-plug has left, whichever point it had reached."""
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
    """Front ends, by QOM path: those that are ``gone``, and those that qemu ``refused`` to unplug, with its reason."""

    gone: set[str] = dataclasses.field(default_factory=set)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)


def unplug(monitor: Monitor, paths: t.Iterable[str], deadline: float) -> Unplugged:
    """Ask the guest to release front ends, by QOM path. Return what became of them until ``deadline``.

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
            path = str(event.get("data", {}).get("path"))
            if event["event"] == "DEVICE_DELETED" and path in waiting:
                done.gone.add(path)
                waiting.discard(path)
        if time.monotonic() >= deadline:
            break
    # qemu never asked the guest about a front end whose slot was busy all the time.
    done.refused.update({path: busy[path] for path in waiting - asked if path in busy})
    return done


def _request_unplug(
    monitor: Monitor, paths: t.Sequence[str], done: Unplugged
) -> dict[str, str]:
    """Send one device_del for each front end, and add the result to ``done``.

    Return the front ends that qemu refuses for the moment, with its reason. Their slots are busy with an
    earlier plug or unplug.
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
    monitor: Monitor,
    process: Process,
    backends: t.Mapping[str, t.Sequence[Device]],
    cards: t.Mapping[str, str] | None = None,
    pulling: t.Callable[[], t.ContextManager[None]] = contextlib.nullcontext,
) -> dict[str, list[Device]]:
    """Delete back ends, each with its devices, and wait until /proc shows that their fds are closed.

    ``cards`` are the QOM paths of the front ends that may be pulled out of the machine, by back end, if qemu gives up
    the devices only then. ``pulling`` is the context for that, because the guest's CPUs are stopped meanwhile.

    Return the devices that qemu still holds, by back end. There are none if the front end is removed, and with
    an older qemu there are none in any case.
    """
    cards = cards or {}
    first = [netdev for netdev in cards if _must_lose_its_card(backends[netdev])]
    stay = []
    if first:
        with pulling():
            stay = [each for each in first if not _take_out(monitor, cards[each])]
    closing = {netdev: backends[netdev] for netdev in backends if netdev not in stay}
    answers = monitor.try_all([("netdev_del", {"id": netdev}) for netdev in closing])
    for answer in answers:
        if isinstance(answer, QmpError) and not _is_missing(answer):
            raise answer
    held = holdings.wait_all_released(process, closing)
    held.update({netdev: holdings.kept(process, backends[netdev]) for netdev in stay})
    late = [netdev for netdev in cards if held[netdev] and netdev not in first]
    if late:
        with pulling():
            for netdev in late:
                held[netdev] = _take_away(
                    monitor, process, cards[netdev], backends[netdev]
                )
    return held


def _is_missing(refusal: QmpError) -> bool:
    return refusal.error_class == "DeviceNotFound" or "not found" in refusal.desc


def _must_lose_its_card(devices: t.Sequence[Device]) -> bool:
    """Tell whether the card of a back end must go first.

    qemu forgets a vdpa back end that is deleted before its card, and keeps the devices until it ends.
    """
    return any(opened.is_vdpa for opened in devices)


def _take_out(monitor: Monitor, path: str) -> bool:
    """Ask the guest to release a NIC, and then remove it from the machine. Tell whether it is removed."""
    _request_unplug(monitor, [path], Unplugged())
    return pull_out(monitor, path)


def _take_away(
    monitor: Monitor, process: Process, path: str, devices: t.Sequence[Device]
) -> list[Device]:
    """Take the devices away that a qemu keeps as long as their NIC is in the machine. Return those that it still holds."""
    _request_unplug(monitor, [path], Unplugged())
    held = holdings.wait_released(process, devices)
    if held:
        pull_out(monitor, path)
        held = holdings.wait_released(process, devices)
    return held


def pull_out(monitor: Monitor, path: str) -> bool:
    """Remove a NIC from a machine whose guest does not release it. Tell whether it is removed.

    ``path`` is the front end's QOM path. The guest's CPUs are stopped meanwhile.
    """
    from . import eject

    with contextlib.suppress(MonitorError):
        eject.eject(monitor, path)
    done = Unplugged()
    _request_unplug(monitor, [path], done)
    return path in done.gone

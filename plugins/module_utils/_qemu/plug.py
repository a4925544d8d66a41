# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plugs NICs into a running qemu in one pass, with rollback.

The code sends commands that qemu carries out at once without waiting for each answer. qemu makes one front end after
the other. Sources: QMP ``getfd``, ``netdev_add``, ``device_add``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from .._device import Device
from .._errors import (
    MonitorError,
    ProcessError,
    QmpError,
    StuckError,
    VirtauditError,
)
from .._net import holdings
from .._net.interface import Interface
from .._proc import Process
from . import command, ids
from .hotplug import roll_back
from .monitor import Monitor

# By MAC.
Devices = dict[str, list[Device]]


class Offer(t.NamedTuple):
    """A NIC for qemu: its open devices and, if the machine has PCIe ports, the port for it."""

    interface: Interface
    devices: list[Device]
    port: str | None

    @property
    def mac(self) -> str:
        """Return the MAC of the NIC."""
        return self.interface.mac

    @property
    def names(self) -> list[str]:
        """Return the names of its fds in qemu, in the order of the devices."""
        queues = iter(ids.queue_names(self.mac, len(self.devices)))
        vhosts = iter(ids.vhost_names(self.mac, len(self.devices)))
        return [next(vhosts if each.is_vhost else queues) for each in self.devices]

    def names_of(self, vhost: bool) -> list[str]:
        """Return the names of its vhost-net devices, or of its queues."""
        both = zip(self.names, self.devices)
        return [name for name, opened in both if opened.is_vhost is vhost]


@dataclasses.dataclass
class Plugged:
    """The NICs that qemu has completely, with its numbers for their devices, and the error that ended the pass."""

    held: Devices
    failure: BaseException | None = None


def plug(
    monitor: Monitor,
    process: Process,
    offers: t.Sequence[Offer],
    note: t.Callable[[Devices], None],
) -> Plugged:
    """Give open devices to qemu and make NICs of them. Call ``note`` with qemu's numbers before qemu uses them.

    The first NIC that qemu refuses ends the pass. Then this NIC and all later ones are rolled back. A failure
    before the first front end rolls all of them back. The failure is a :class:`MonitorError`, a
    :class:`ProcessError` or an error from ``note``. It is :class:`StuckError` if qemu no longer answers and
    holds some of the devices, or may still get one that is on its way.
    """
    given: Devices = {}
    done = Plugged({})
    adding = False
    try:
        _give(monitor, process, offers, given)
        note(given)
        _add_backends(monitor, offers)
        for offer in offers:
            adding = True
            monitor.execute("device_add", command.nic(offer.interface, offer.port))
            adding = False
            _require_held(process, offer.mac, given[offer.mac])
            done.held[offer.mac] = given[offer.mac]
    except BaseException as exc:
        rest = [offer for offer in offers if offer.mac not in done.held]
        done.failure = _take_back(monitor, process, rest, given, adding, exc)
    return done


def _give(
    monitor: Monitor, process: Process, offers: t.Sequence[Offer], given: Devices
) -> None:
    """Pass all fds to qemu. Read their numbers in qemu from /proc, which alone shows all of them."""
    before = process.fds()
    queues = [
        (name, opened)
        for offer in offers
        for name, opened in zip(offer.names, offer.devices)
        if not opened.is_vhost
    ]
    answers = monitor.try_all(
        [("getfd", {"fdname": name}) for name, _opened in queues],
        [opened.fileno() for _name, opened in queues],
    )
    now = process.fds()
    found = [holdings.at(process, fd) for fd in sorted(now - before)]
    new = [opened for opened in found if opened is not None]
    for offer in offers:
        mine = [opened for opened in offer.devices if not opened.is_vhost]
        given[offer.mac] = [
            dataclasses.replace(opened, fd=match.fd)
            for opened, match in zip(mine, _matches(mine, new))
        ]
    for answer in answers:
        if isinstance(answer, QmpError):
            raise answer
    for offer in offers:
        if len(given[offer.mac]) < len(offer.names_of(vhost=False)):
            raise _lost(process, offer.devices[len(given[offer.mac])])
        _give_vhosts(monitor, process, offer, given[offer.mac])


def _matches(mine: t.Sequence[Device], new: t.Sequence[Device]) -> list[Device]:
    """Return which of qemu's new files are queues of an interface. The queues are alike, so any order is right."""
    known = {(opened.rdev, opened.dev) for opened in mine}
    return [opened for opened in new if (opened.rdev, opened.dev) in known]


def _give_vhosts(
    monitor: Monitor, process: Process, offer: Offer, given: list[Device]
) -> None:
    """Pass the vhost-net devices of an interface to qemu.

    Nothing tells them apart, so the code passes one after the other and sees each arrive.
    """
    vhosts = [opened for opened in offer.devices if opened.is_vhost]
    before = process.fds() if vhosts else set()
    for name, opened in zip(offer.names_of(vhost=True), vhosts):
        monitor.execute("getfd", {"fdname": name}, fd=opened.fd)
        now = process.fds()
        found = [holdings.at(process, fd) for fd in sorted(now - before)]
        fd = next((each.fd for each in found if each and each.is_vhost), None)
        if fd is None:
            raise _lost(process, opened)
        given.append(dataclasses.replace(opened, fd=fd))
        before = now


def _add_backends(monitor: Monitor, offers: t.Sequence[Offer]) -> None:
    answers = monitor.try_all(
        [
            (
                "netdev_add",
                command.netdev(
                    offer.interface, offer.names_of(False), offer.names_of(True)
                ),
            )
            for offer in offers
        ]
    )
    for answer in answers:
        if isinstance(answer, QmpError):
            raise answer


def _require_held(process: Process, mac: str, devices: t.Sequence[Device]) -> None:
    for opened in devices:
        if not holdings.still_at(process, opened):
            raise ProcessError(
                f"qemu accepted {mac} and does not hold {opened.path} as fd {opened.fd}"
                + process.fate()
            )


def _lost(process: Process, opened: Device) -> ProcessError:
    return ProcessError(
        f"the task passed {opened.path} to qemu (pid {process.pid}), and it is not among qemu's open files"
        + process.fate()
    )


def _take_back(
    monitor: Monitor,
    process: Process,
    rest: t.Sequence[Offer],
    given: Devices,
    adding: bool,
    failure: BaseException,
) -> BaseException:
    """Roll back the NICs that qemu does not have completely.

    Return the error, which is :class:`StuckError` if qemu keeps some devices.
    """
    # qemu may have carried out a device_add although it did not answer, and a paused guest would
    # keep the NIC.
    settled = False
    unanswered = _is_unanswered(failure)
    if not (adding and unanswered):
        with contextlib.suppress(MonitorError):
            for offer in rest:
                roll_back(monitor, offer.mac, len(offer.devices))
            settled = True
    left = holdings.kept(
        process, [each for mine in _known(rest, given) for each in mine]
    )
    macs = ", ".join(offer.mac for offer in rest)
    stuck: StuckError | None = None
    if left and isinstance(failure, (VirtauditError, OSError)):
        stuck = StuckError(
            f"{failure}. qemu (pid {process.pid}) still holds {_words(left)} of {macs}, whose hand-over is not "
            "finished. Run the task again when qemu answers. It will finish the hand-over or take it back"
        )
    elif unanswered and not settled and not process.fate():
        # qemu gets a descriptor in its socket as soon as it reads the socket again.
        stuck = StuckError(
            f"{failure}. qemu (pid {process.pid}) may still get devices of {macs} that are on their way to it, and "
            "their hand-over is not finished. Run the task again when qemu answers. It will take the hand-over back"
        )
    if stuck is None:
        return failure
    stuck.__cause__ = failure
    return stuck


def _known(offers: t.Sequence[Offer], given: Devices) -> t.Iterator[list[Device]]:
    """Yield the devices of each NIC that qemu may hold. The link's name identifies a queue, whatever its number."""
    for offer in offers:
        queues = [opened for opened in offer.devices if not opened.is_vhost]
        yield given.get(offer.mac) or queues


def _is_unanswered(exc: BaseException) -> bool:
    return isinstance(exc, MonitorError) and not isinstance(exc, QmpError)


def _words(devices: t.Sequence[Device]) -> str:
    return ", ".join(f"{opened.path} as fd {opened.fd}" for opened in devices)

# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes a NIC from a running machine whose guest does not release it.

Before 10.0, and before some updates of 8.2 and 9.x, ``netdev_del`` closes a back end at once, whatever the
guest does. Since then (qemu commit "net: move backend cleanup to NIC cleanup") it gives the same answer, but
keeps the fds until the NIC itself is removed. So the NIC has to be removed, through the register that the
guest's ACPI code writes when it releases a card. qemu then does what it does for an ordinary unplug. Source:
qemu's ``docs/specs/acpi_pci_hotplug``.
"""

from __future__ import annotations

import contextlib
import re
import typing as t

from .._errors import MonitorError
from .answers import cards_of, entries_of
from .monitor import Monitor
from .process import is_running

# docs/specs/acpi_pci_hotplug: offsets from acpi-pcihp-io-base
_EJECT = 0x08
_SELECT = 0x10
_VALUE = re.compile(r"=\s*(0x[0-9a-f]+)\s*$", re.IGNORECASE)


def eject(monitor: Monitor, path: str) -> None:
    """Remove the front end at a QOM path from the machine.

    The guest's CPUs are stopped meanwhile, because qemu would crash if a CPU were inside the card's code.
    Raises :class:`MonitorError` if this machine has no such register, and then changes nothing.
    """
    bus, select = _bus_of(monitor, path)
    base = _io_base(monitor)
    if select is None or base is None or not _is_alone(monitor, bus):
        raise MonitorError(
            "this machine has no ACPI hot-plug register for the NIC's PCI slot"
        )
    with _frozen(monitor):
        before = _read(monitor, base + _SELECT)
        _write(monitor, base + _SELECT, select)
        try:
            if _read(monitor, base + _SELECT) != select:
                raise MonitorError(
                    "the ACPI hot-plug register does not accept the NIC's bus"
                )
            # A root port has one place, slot 0.
            _write(monitor, base + _EJECT, 1)
        finally:
            _write(monitor, base + _SELECT, before)


def _bus_of(monitor: Monitor, path: str) -> tuple[str, int | None]:
    bus = str(monitor.execute("qom-get", {"path": path, "property": "parent_bus"}))
    answer = monitor.try_all(
        [("qom-get", {"path": bus, "property": "acpi-pcihp-bsel"})]
    )[0]
    return bus, answer if isinstance(answer, int) else None


def _is_alone(monitor: Monitor, bus: str) -> bool:
    """Tell whether the bus has only one card, because an eject removes all cards of a slot."""
    listing = monitor.execute("qom-list", {"path": bus})
    return cards_of(listing) == 1


def _io_base(monitor: Monitor) -> int | None:
    listing = monitor.execute("qom-list", {"path": "/machine/unattached"})
    for name, kind in entries_of(listing):
        if kind == "child<ICH9-LPC>":
            where = {
                "path": f"/machine/unattached/{name}",
                "property": "acpi-pcihp-io-base",
            }
            answer = monitor.try_all([("qom-get", where)])[0]
            return answer if isinstance(answer, int) else None
    return None


@contextlib.contextmanager
def _frozen(monitor: Monitor) -> t.Iterator[None]:
    if not is_running(monitor):
        yield
        return
    try:
        # Also after a stop that qemu has not answered in time, because qemu may have carried it out.
        monitor.execute("stop")
        yield
    finally:
        monitor.execute("cont")


def _read(monitor: Monitor, port: int) -> int:
    text = _human(monitor, f"i /w {port:#x}")
    match = _VALUE.search(text)
    if match is None:
        raise MonitorError(f"qemu's monitor does not read I/O port {port:#x}: {text}")
    return int(match.group(1), 16)


def _write(monitor: Monitor, port: int, value: int) -> None:
    text = _human(monitor, f"o /w {port:#x} {value:#x}")
    if text:
        raise MonitorError(f"qemu's monitor does not write I/O port {port:#x}: {text}")


def _human(monitor: Monitor, line: str) -> str:
    return str(monitor.execute("human-monitor-command", {"command-line": line})).strip()

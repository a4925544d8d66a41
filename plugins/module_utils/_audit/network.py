# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network that a NIC is on, as records carry it. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

Fields = dict[str, t.Optional[str]]

# So long may ``vlan`` be, and ``addresses``: a preparation has both, an update has one of them twice, and beside the
# longest name and ticket it still fits into a record.
MAX_LIST_BYTES = 3000

# The fields of the record of a hand-over, and those of the record of a preparation, in this order.
_HANDED_OVER = ("source", "vlan", "filter", "link")
_PREPARED = ("source", "vlan", "filter", "addresses", "isolated")
# What a change from nothing, or to nothing, is called in the options. What is not here is a missing value.
_DEFAULTS = {"filter": "none", "isolated": "no", "link": "up"}


@dataclasses.dataclass(frozen=True)
class Network:
    """What the link of a NIC is connected to, and how. ``None`` is what does not apply.

    ``source``: the bridge, the switch or the lower device. ``vlan``: its VLAN, as ``42``, or the VLANs of a trunk.
    ``filter``: ``mac`` or ``address``. ``addresses``: what ``address`` lets the NIC send as, joined by commas.
    ``isolated``: ``yes``. ``link``: ``down`` while the NIC is in quarantine. ``mtu``: bytes, where a task asked for it.
    ``port_profile``, ``interface_id``: what tells controllers of Open vSwitch which port it is. ``hwaddr``: the MAC of the
    link itself, where something changed it.
    """

    source: str | None = None
    vlan: str | None = None
    filter: str | None = None
    addresses: str | None = None
    isolated: str | None = None
    link: str | None = None
    mtu: str | None = None
    port_profile: str | None = None
    interface_id: str | None = None
    hwaddr: str | None = None

    @property
    def is_prepared(self) -> bool:
        """Tell whether something keeps the NIC's frames apart, which is in place before the hand-over."""
        return any((self.vlan, self.filter, self.isolated))

    def result(self) -> dict[str, str | bool | list[str] | None]:
        """Return the modules' value: what the options of an interface say."""
        return {
            "source": self.source,
            "vlan": self.vlan,
            "filter": self.filter or "none",
            "addresses": self.addresses.split(",") if self.addresses else [],
            "isolated": self.isolated == "yes",
            "link": self.link or "up",
        }

    def handed_over(self) -> Fields:
        """Return the fields of a start or attach record; what does not apply is left out."""
        return self._fields(_HANDED_OVER)

    def prepared(self) -> Fields:
        """Return the fields of a prepare record; what does not apply is left out."""
        return self._fields(_PREPARED)

    def changes(self, after: Network) -> list[Fields]:
        """Return the ``old-`` and ``new-`` fields of update records, one pair for each value that differs."""
        found: list[Fields] = []
        for field in dataclasses.fields(self):
            name, default = field.name, _DEFAULTS.get(field.name)
            old, new = (
                default if value is None else value
                for value in (getattr(self, name), getattr(after, name))
            )
            if old != new:
                found.append({f"old-{name}": old, f"new-{name}": new})
        return found

    def _fields(self, names: t.Sequence[str]) -> Fields:
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network that a NIC is on, in the form of records. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

Fields = dict[str, t.Optional[str]]

# The most bytes of ``vlan``, and of ``addresses``. A prepare record has both, and an update record has one of them
# twice. With these limits each still fits into a record, beside the longest name and ticket.
MAX_LIST_BYTES = 3000

# The fields of the record of a hand-over, and those of a prepare record, in this order.
_HANDED_OVER = ("source", "vlan", "filter", "link")
_PREPARED = ("source", "vlan", "filter", "addresses", "isolated")
# The words of the options for a value that is not there. All others are a missing value.
_DEFAULTS = {"filter": "none", "isolated": "no", "link": "up"}


@dataclasses.dataclass(frozen=True)
class Network:
    """The network that the link of a NIC is connected to, and how. ``None`` means that a value does not apply.

    ``source``: the bridge, the switch or the lower device. ``vlan``: its VLAN, as ``42``, or the VLANs of a
    trunk. ``filter``: ``mac`` or ``address``. ``addresses``: the addresses that ``address`` lets the NIC use,
    joined by commas. ``isolated``: ``yes``. ``link``: ``down`` while the NIC is in quarantine. ``mtu``: bytes,
    if a task asked for it. ``port_profile``, ``interface_id``: they tell a controller of Open vSwitch which
    port it is. ``hwaddr``: the MAC of the link itself, if something changed it.
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
        """Tell whether the NIC has a VLAN, a filter or isolation, which must be in place before the hand-over."""
        return any((self.vlan, self.filter, self.isolated))

    def result(self) -> dict[str, str | bool | list[str] | None]:
        """Return the modules' value, in the words of an interface's options."""
        return {
            "source": self.source,
            "vlan": self.vlan,
            "filter": self.filter or "none",
            "addresses": self.addresses.split(",") if self.addresses else [],
            "isolated": self.isolated == "yes",
            "link": self.link or "up",
        }

    def handed_over(self) -> Fields:
        """Return the fields of a start or attach record, without those that do not apply."""
        return self._fields(_HANDED_OVER)

    def prepared(self) -> Fields:
        """Return the fields of a prepare record, without those that do not apply."""
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

    def before(self, change: t.Mapping[str, str | None]) -> Network:
        """Return the network as it was before a change that the fields of an update record tell."""
        old = {}
        for field in dataclasses.fields(self):
            name = f"old-{field.name}"
            if name in change:
                old[field.name] = value_of(field.name, change[name])
        return dataclasses.replace(self, **old)

    def _fields(self, names: t.Sequence[str]) -> Fields:
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


def shorten(text: str) -> str:
    """Return a list that the kernel or a switch has shown. If it is too long for a record, cut it and add dots.

    A task cannot ask for such a list.
    """
    return text if len(text) <= MAX_LIST_BYTES else f"{text[: MAX_LIST_BYTES - 3]}..."


def value_of(name: str, word: str | None) -> str | None:
    """Return a value of a network from the word that a record has for it.

    ``None`` means that it does not apply. The record of a hand-over leaves such a value out, and the record of an
    update has a word for it.
    """
    return None if word == _DEFAULTS.get(name) else word

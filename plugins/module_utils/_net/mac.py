# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The MAC of a guest's NIC. Pure."""

from __future__ import annotations

import re

from .._errors import OptionError

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")


def compact(mac: str) -> str:
    """Return a MAC without its colons, for ids and interface names."""
    return mac.replace(":", "")


def is_mac(text: str) -> bool:
    """Tell whether a text is a MAC in the form that records have."""
    return _MAC.fullmatch(text) is not None


def parse_mac(option: str, text: str) -> str:
    """Return a guest's MAC in lower case. Raises :class:`OptionError`."""
    mac = text.strip().lower()
    if not is_mac(mac):
        problem = f"{text!r} is not a MAC address (six bytes in hex, such as 52:54:00:12:34:56)"
        if mac.isdecimal():
            # YAML 1.1 has numbers to the base of 60.
            problem += "; YAML reads a MAC that has only digits as a number: quote it"
        raise OptionError(option, problem)
    if int(mac[:2], 16) & 1:
        raise OptionError(
            option, f"{text} is a multicast address; a NIC's first byte is even"
        )
    if mac == "00:00:00:00:00:00":
        raise OptionError(option, f"{text} is not a MAC address that a NIC can have")
    return mac

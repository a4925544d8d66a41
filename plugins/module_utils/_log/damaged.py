# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells whether a line is about a VM, although it has no type of a VM's record. Pure."""

from __future__ import annotations

import re

# Types of libaudit that say nothing about devices.
OTHERS = frozenset(
    (
        "VIRT_INTEGRITY_CHECK",
        "VIRT_CREATE",
        "VIRT_DESTROY",
        "VIRT_MIGRATE_IN",
        "VIRT_MIGRATE_OUT",
    )
)
# The text that follows the type of a VM's record. Records of NetworkManager have op= and uuid=, too, and no vm=.
_OF_A_VM = re.compile(
    r"audit\(\d{1,11}\.\d{1,3}:\d{1,20}\): (?:user )?pid=\d[^']{0,1000} msg='(?:virt=\w+ )?(?:resrc|op|vm)="
    r"(?=(?:[^']* )?vm=|(?<=vm=))(?=[^']* uuid=)[^']* res=(?:success|failed)'"
)
# The same without a head. The module looks only at the first of these in a line, so that a long line takes no time.
_BEGIN = re.compile(r"virt=\w{1,16} (?:resrc=|op=|vm=)")
_WORDS = (" uuid=", " res=")


def broken_type(text: str) -> str | None:
    """Return what is wrong with a record if its type is not of VMs and everything else in it is."""
    if any(kind in text for kind in OTHERS) or not _OF_A_VM.search(text):
        return None
    return "its type is not one of VMs, but its fields are: the type is broken"


def without_head(text: str) -> str | None:
    """Return what is wrong with a line that has the fields of a VM's record, and no head of a record before them."""
    begin = _BEGIN.search(text)
    if begin is None or any(kind in text for kind in OTHERS):
        return None
    fields = text[begin.start() :]
    if "vm=" not in fields or not all(word in fields for word in _WORDS):
        return None
    return "it has the fields of a record of a VM, and no form that the module knows"

# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The VLANs of a NIC: the option ``vlan``. Pure. Source: IEEE 802.1Q. VLAN ids are 1 to 4094.

Id 0 only carries a priority, and 4095 is reserved.
"""

from __future__ import annotations

import re
import typing as t

from .._audit.network import MAX_LIST_BYTES
from .._errors import OptionError

FIRST_VID = 1
LAST_VID = 4094

_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)
_TEXT = re.compile(
    r"(?P<tag>\d{1,4})|trunk:(?P<trunk>\d{1,4}(?:-\d{1,4})?(?:,\d{1,4}(?:-\d{1,4})?)*)(?:,native:(?P<native>\d{1,4}))?",
    re.ASCII,
)


class Vlan(t.NamedTuple):
    """The VLANs of a NIC. The guest sends and receives the frames of ``native`` without a tag.

    ``tagged`` has the VLANs with a tag as ranges (first, last), in order and without overlap. An access NIC has
    only ``native``.
    """

    native: int | None
    tagged: tuple[tuple[int, int], ...] = ()

    @property
    def is_trunk(self) -> bool:
        """Tell whether the guest sends and receives tags."""
        return bool(self.tagged)

    def vids(self) -> dict[int, bool]:
        """Return each VLAN id with whether its frames have no tag."""
        found = {
            vid: False for first, last in self.tagged for vid in range(first, last + 1)
        }
        if self.native is not None:
            found[self.native] = True
        return found

    def __str__(self) -> str:
        """Return the VLANs in the form of records: ``42``, ``trunk:10,20-30``, ``trunk:10,20-30,native:5``."""
        if not self.tagged:
            return str(self.native)
        ranges = ",".join(
            str(first) if first == last else f"{first}-{last}"
            for first, last in self.tagged
        )
        native = "" if self.native is None else f",native:{self.native}"
        return f"trunk:{ranges}{native}"


def parse_vlan(option: str, value: t.Mapping[str, t.Any] | None) -> Vlan | None:
    """Check the option ``vlan``: ``tag``, or ``trunk`` with ``native``. Raises :class:`OptionError`."""
    if value is None:
        return None
    tag, trunk, native = value.get("tag"), value.get("trunk"), value.get("native")
    if tag is not None:
        for other, given in (("trunk", trunk), ("native", native)):
            if given is not None:
                raise OptionError(
                    f"{option}.{other}",
                    "a NIC has either a tag (access) or a trunk, with or without native; leave one of them out",
                )
        return Vlan(_vid(f"{option}.tag", tag))
    if not trunk:
        if native is not None:
            raise OptionError(
                f"{option}.native", "native belongs to a trunk; give trunk, too"
            )
        raise OptionError(
            option, "give tag (access), or trunk (a list of tags and ranges)"
        )
    ranges = [
        _range(f"{option}.trunk[{number}]", str(item))
        for number, item in enumerate(trunk)
    ]
    vids = {vid for first, last in ranges for vid in range(first, last + 1)}
    if native is not None:
        _vid(f"{option}.native", native)
        if native not in vids:
            raise OptionError(
                f"{option}.native",
                f"{native} is not among the tags of the trunk; add it to trunk",
            )
        vids.discard(native)
        if not vids:
            raise OptionError(
                f"{option}.trunk",
                f"the trunk has only the native VLAN {native}; use tag: {native}",
            )
    vlan = Vlan(native, ranges_of(vids))
    if len(str(vlan)) > MAX_LIST_BYTES:
        raise OptionError(
            f"{option}.trunk",
            f"its {len(vlan.tagged)} tags and ranges do not fit into an audit record; give wider ranges",
        )
    return vlan


def parse_text(text: str) -> Vlan | None:
    """Return the VLANs that a record or a note names, or ``None`` if it names none."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    if match["tag"] is not None:
        return Vlan(int(match["tag"]))
    vids: set[int] = set()
    for part in match["trunk"].split(","):
        first, _dash, last = part.partition("-")
        vids.update(range(int(first), min(int(last or first), LAST_VID) + 1))
    native = match["native"]
    return Vlan(None if native is None else int(native), ranges_of(vids))


def _range(option: str, text: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise OptionError(option, f"{text!r} is neither a tag (42) nor a range (10-20)")
    first = _vid(option, int(match[1]))
    last = _vid(option, int(match[2] or match[1]))
    if last < first:
        raise OptionError(option, f"{text} is in the wrong order; write {last}-{first}")
    return first, last


def _vid(option: str, vid: int) -> int:
    if not FIRST_VID <= vid <= LAST_VID:
        raise OptionError(
            option, f"{vid} is not a VLAN tag, which is {FIRST_VID} to {LAST_VID}"
        )
    return vid


def of_vids(native: int | None, tagged: t.Iterable[int]) -> Vlan:
    """Return the VLANs with these ids. The frames of ``native`` have no tag, and those of ``tagged`` have one."""
    return Vlan(native, ranges_of({*tagged} - {native}))


def ranges_of(vids: t.Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return VLAN ids as ranges (first, last), in order and without overlap."""
    found: list[tuple[int, int]] = []
    for vid in sorted(vids):
        if found and found[-1][1] == vid - 1:
            found[-1] = (found[-1][0], vid)
        else:
            found.append((vid, vid))
    return tuple(found)

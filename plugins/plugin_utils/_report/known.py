# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings that somebody knows and allows, until a day or without end."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ...module_utils._errors import OptionError

# These must be equal in the finding. A finding of several hosts counts for each of them.
_EQUAL = ("code", "host", "vm", "mac", "exe", "path", "dev")
_KEYS = (*_EQUAL, "until", "why")


@dataclasses.dataclass
class Known:
    """One entry. ``wanted`` has the fields that it names. ``until`` is its last day in UTC."""

    number: int
    wanted: t.Mapping[str, str]
    until: datetime.date | None
    why: str | None
    count: int = 0

    def expired(self, today: datetime.date) -> bool:
        """Tell whether its last day is over."""
        return self.until is not None and self.until < today

    def matches(self, finding: t.Mapping[str, t.Any]) -> bool:
        """Tell whether the entry names this finding."""
        for name, value in self.wanted.items():
            if name == "host":
                if value not in finding.get("hosts", [finding["host"]]):
                    return False
            elif finding.get(name) != value:
                return False
        return True

    def result(self, today: datetime.date) -> dict[str, t.Any]:
        """Return the entry for the report, with the number of its findings."""
        until = None if self.until is None else self.until.isoformat()
        return {
            **self.wanted,
            "until": until,
            "why": self.why,
            "expired": self.expired(today),
            "findings": self.count,
        }


def parse_known(option: str, items: t.Any, codes: t.Sequence[str]) -> list[Known]:
    """Read the entries. Each has a ``code`` and may have other keys. Raises :class:`OptionError`."""
    if not isinstance(items, (list, tuple)):
        raise OptionError(option, "must be a list of dictionaries")
    return [
        _parse(f"{option}[{number}]", number, item, codes)
        for number, item in enumerate(items)
    ]


def _parse(where: str, number: int, item: t.Any, codes: t.Sequence[str]) -> Known:
    if not isinstance(item, dict):
        raise OptionError(where, "is no dictionary")
    unknown = sorted(str(key) for key in item if key not in _KEYS)
    if unknown:
        raise OptionError(
            where, f"has no key {unknown[0]}; there are {', '.join(_KEYS)}"
        )
    wanted = {
        name: str(item[name]) for name in _EQUAL if item.get(name) not in (None, "")
    }
    if wanted.get("code") not in codes:
        raise OptionError(
            where, f"code must be one of {', '.join(codes)}, not {item.get('code')}"
        )
    if "mac" in wanted:
        wanted["mac"] = wanted["mac"].lower()
    why = item.get("why")
    return Known(
        number,
        wanted,
        _day(where, item.get("until")),
        None if why is None else str(why),
    )


def _day(where: str, value: t.Any) -> datetime.date | None:
    if value in (None, ""):
        return None
    try:
        return datetime.date.fromisoformat(str(value)[:10])
    except ValueError as exc:
        raise OptionError(
            where, f"until is {str(value)!r}, which is no date; give it as 2026-12-31"
        ) from exc


def mark(
    findings: t.Iterable[dict[str, t.Any]],
    known: t.Sequence[Known],
    today: datetime.date,
) -> None:
    """Set ``known`` of each finding to the number of its entry, or to ``None``."""
    holding = [entry for entry in known if not entry.expired(today)]
    for finding in findings:
        entry = next((each for each in holding if each.matches(finding)), None)
        finding["known"] = None if entry is None else entry.number
        if entry is not None:
            entry.count += 1

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads what one host answered, and checks its shape, so that no host can spoil the report on the others."""

from __future__ import annotations

import datetime
import json
import math
import re
import typing as t

Data = dict[str, t.Any]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
# All numbers in the answer of an unchanged module are smaller.
_NUMBER_LIMIT = 2**63
_ABSENT = object()
SEVERITIES = ("high", "medium", "low")


class OddAnswerError(Exception):
    """An answer is not what vm_net_audit_info returns. The text says where."""


class Kind(t.NamedTuple):
    """What a value must be. ``word`` is for people, ``accepts`` checks a value."""

    word: str
    accepts: t.Callable[[t.Any], bool]


def _is_number(value: t.Any) -> bool:
    # The comparison also refuses infinity and NaN, because the report calculates with the numbers.
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and -_NUMBER_LIMIT < value < _NUMBER_LIMIT
    )


def _is_time(value: t.Any) -> bool:
    if not isinstance(value, str) or _TIME.fullmatch(value) is None:
        return False
    try:
        datetime.datetime.fromisoformat(value[:-1])
    except ValueError:
        return False
    return True


def _are_texts(value: t.Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_flat(value: t.Any) -> bool:
    return isinstance(value, dict) and not any(
        isinstance(each, (dict, list)) for each in value.values()
    )


def _or_null(kind: Kind) -> Kind:
    return Kind(
        f"{kind.word} or null", lambda value: value is None or kind.accepts(value)
    )


_TEXT = Kind("a text", lambda value: isinstance(value, str))
_TEXT_OR_NULL = _or_null(_TEXT)
_NUMBER = Kind("a number", _is_number)
_NUMBER_OR_NULL = _or_null(_NUMBER)
_BOOL = Kind("true or false", lambda value: isinstance(value, bool))
_TIME_KIND = Kind("a time", _is_time)
_LIST = Kind("a list", lambda value: isinstance(value, list))
_TEXTS = Kind("a list of texts", _are_texts)
_DICT = Kind("a dictionary", lambda value: isinstance(value, dict))
_NETWORK = Kind("a dictionary of texts", _is_flat)
_SEVERITY = Kind("a severity", lambda value: value in SEVERITIES)

_STATS = {"files": _LIST, "unread": _LIST, "bytes": _NUMBER, "records": _NUMBER}
_UNREAD = {"path": _TEXT, "problem": _TEXT}
_GRANT = {
    "vm": _TEXT_OR_NULL,
    "uuid": _TEXT,
    "mac": _TEXT,
    "since": _TIME_KIND,
    "auid": _NUMBER_OR_NULL,
    "exe": _TEXT_OR_NULL,
    "event": _TEXT,
    "devices": _LIST,
    "live": _or_null(_BOOL),
}
_DEVICE = {"path": _TEXT_OR_NULL, "dev": _TEXT_OR_NULL, "fd": _NUMBER_OR_NULL}
_FINDING = {
    "code": _TEXT,
    "severity": _SEVERITY,
    "message": _TEXT,
    "time": _TIME_KIND,
    "events": _TEXTS,
    "vm": _TEXT_OR_NULL,
    "uuid": _TEXT_OR_NULL,
    "mac": _TEXT_OR_NULL,
}
_SESSION = {
    "vm": _TEXT_OR_NULL,
    "uuid": _TEXT,
    "start": _TIME_KIND,
    "stop": _or_null(_TIME_KIND),
    "end": _TEXT,
    "reason": _TEXT_OR_NULL,
    "resources": _LIST,
    "events": _TEXTS,
}
_RESOURCE = {
    "reason": _TEXT,
    "resource": _TEXT_OR_NULL,
    "success": _BOOL,
    "start": _TIME_KIND,
    "end": _or_null(_TIME_KIND),
    "event": _TEXT,
}
_HELD = {
    "vm": _TEXT_OR_NULL,
    "uuid": _TEXT,
    "mac": _TEXT,
    "since": _TIME_KIND,
    "until": _or_null(_TIME_KIND),
    "event": _TEXT,
}
# An answer may lack these: older versions of the module do not return them, or they are not in all lists.
_MAY_LACK = {
    "network": _or_null(_NETWORK),
    **dict.fromkeys(("ticket", "ifname", "dev", "path", "exe"), _TEXT_OR_NULL),
    **dict.fromkeys(("auid", "ses", "pid", "fd"), _NUMBER_OR_NULL),
    "end_event": _TEXT_OR_NULL,
    **dict.fromkeys(("first", "last"), _or_null(_TIME_KIND)),
}
# The report sets these. A host must not say that something is on another host, or known.
_OURS = ("host", "hosts", "id", "new", "known")


class Answer(t.NamedTuple):
    """What a host answered. ``grants`` and the others are vm_net_audit_info's own values.

    ``verified`` says whether the trail was compared with the host. ``past`` says whether somebody asked for a time.
    ``since`` and ``until`` are the beginning and the end of that time, as the host understood them. ``own_logs`` says
    whether the module read the host's own logs.
    """

    grants: list[Data]
    findings: list[Data]
    sessions: list[Data]
    history: list[Data]
    stats: Data
    verified: bool
    past: bool
    since: str | None
    until: str | None
    own_logs: bool


def read_answer(text: str) -> Answer:
    """Read what the host's task returned, as JSON.

    Raises :class:`OddAnswerError`, also with the task's own message when the task failed.
    """
    try:
        data = json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as exc:
        raise OddAnswerError(f"its answer is no JSON: {exc}") from exc
    if not isinstance(data, dict):
        raise OddAnswerError("its answer is no dictionary")
    if data.get("failed") or data.get("unreachable"):
        raise OddAnswerError(str(data.get("msg") or "it could not be reached"))
    if "grants" not in data:
        raise OddAnswerError(str(data.get("msg") or "its answer has no grants"))
    _check(data, "", {"stats": _DICT})
    _check({"asked": None, **data}, "", {"asked": _or_null(_DICT)})
    _check(data["stats"], "stats", _STATS)
    _check_all(data["stats"], "stats", "unread", _UNREAD)
    for grant in _check_all(data, "", "grants", _GRANT):
        _check_all(grant, "grants", "devices", _DEVICE)
    for session in _check_all(data, "", "sessions", _SESSION):
        _check_all(session, "sessions", "resources", _RESOURCE)
    return Answer(
        grants=data["grants"],
        findings=_check_all(data, "", "findings", _FINDING),
        sessions=data["sessions"],
        history=_check_all({"history": [], **data}, "", "history", _HELD),
        stats=data["stats"],
        verified=data.get("verified") is True,
        since=_asked(data, "since"),
        until=_asked(data, "until"),
        own_logs=(data.get("asked") or {}).get("own_logs") is not False,
        past=any((data.get("asked") or {}).get(each) for each in ("since", "until")),
    )


def _finite(text: str) -> float:
    """Return a number. JSON has no infinite ones, and other programs could not read the report."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _asked(data: Data, name: str) -> str | None:
    """Return a time that was asked for, if it has the form that the modules write."""
    time = (data.get("asked") or {}).get(name)
    return time if _is_time(time) else None


def _check_all(
    data: Data, within: str, name: str, kinds: t.Mapping[str, Kind]
) -> list[Data]:
    _check(data, within, {name: _LIST})
    for position, item in enumerate(data[name]):
        where = f"{within}.{name}" if within else name
        _check(item, f"{where}[{position}]", kinds)
        for ours in _OURS:
            item.pop(ours, None)
    return t.cast("list[Data]", data[name])


def _check(data: t.Any, where: str, kinds: t.Mapping[str, Kind]) -> None:
    if not isinstance(data, dict):
        raise OddAnswerError(f"{where} is no dictionary")
    for name, kind in {**_MAY_LACK, **kinds}.items():
        value = data.get(name, _ABSENT)
        full = f"{where}.{name}" if where else name
        if value is _ABSENT and name in kinds:
            raise OddAnswerError(f"its answer has no {full}")
        if value is not _ABSENT and not kind.accepts(value):
            raise OddAnswerError(f"its answer has a {full} that is not {kind.word}")

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of a report. Jinja2's autoescape escapes all text from outside. The page loads nothing."""

from __future__ import annotations

import base64
import hashlib
import typing as t
from pathlib import Path

import jinja2

from .answer import SEVERITIES, Data
from .network import network_text
from .tables import device_text
from .timeline import Row, Scale, clock

_HERE = Path(__file__).parents[3] / "playbooks" / "templates" / "audit_report"
# Style attributes place the bars, so styles are inline. Only the page's own script runs.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}';"
    " base-uri 'none'; form-action 'none'"
)


class Place(t.NamedTuple):
    """Where a host is shown. ``page`` is the page of its VMs as the index links to it. It is empty if that is the index."""

    host: str
    anchor: str
    page: str


class Group(t.NamedTuple):
    """Findings that are alike."""

    severity: str
    code: str
    exe: str | None
    items: list[Data]
    hosts: int
    new: int


def _source(name: str) -> str:
    """Return a file without the comment at its head."""
    text = (_HERE / name).read_text(encoding="utf-8")
    return text.partition("*/")[2].strip()


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(_HERE)),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        clock=clock, network=network_text, device=device_text, megabytes=_megabytes
    )
    return environment


def _megabytes(size: float) -> str:
    return f"{size / 1000000:.1f}"


class Page:
    """Renders the parts of a page. The parts of each host are rendered alone, so only one host is in memory."""

    def __init__(self) -> None:
        environment = _environment()
        self._grants = environment.get_template("grants.html.j2")
        self._timeline = environment.get_template("timeline.html.j2")
        self._index = environment.get_template("index.html.j2")
        self._host = environment.get_template("host.html.j2")
        self._style = _source("page.css")
        self._script = _source("page.js")
        digest = hashlib.sha256(self._script.encode("utf-8")).digest()
        self._policy = _POLICY.format(base64.b64encode(digest).decode("ascii"))

    def grants(
        self,
        place: Place,
        grants: list[Data],
        anchors: t.Mapping[str, str],
        fold: bool,
    ) -> str:
        """Render who holds what on a host. ``anchors`` has the anchors of its VMs."""
        return self._grants.render(
            host=place.host,
            anchor=place.anchor,
            vm_page=place.page,
            grants=grants,
            anchors=anchors,
            fold=fold,
        )

    def timeline(self, place: Place, rows: list[Row], scale: Scale, fold: bool) -> str:
        """Render the time line of a host."""
        return self._timeline.render(
            host=place.host, anchor=place.anchor, rows=rows, scale=scale, fold=fold
        )

    def index(self, parts: t.Mapping[str, t.Any]) -> t.Iterator[str]:
        """Render the page itself."""
        return self._index.generate(
            style=self._style,
            script=self._script,
            policy=self._policy,
            severities=SEVERITIES,
            **parts,
        )

    def host(self, host: str, created: str, timeline: str) -> str:
        """Render the page of one host around its time line."""
        return self._host.render(
            style=self._style, host=host, created=created, timeline=timeline
        )


def grouped(findings: list[Data]) -> list[Group]:
    """Put findings of one code, severity and program together. The worst come first."""
    by: dict[tuple[str, str, str | None], list[Data]] = {}
    for finding in findings:
        key = (finding["severity"], finding["code"], finding.get("exe"))
        by.setdefault(key, []).append(finding)
    return [
        Group(
            *key,
            items,
            len({host for each in items for host in each.get("hosts", [each["host"]])}),
            sum(each["new"] for each in items),
        )
        for key, items in by.items()
    ]

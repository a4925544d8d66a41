# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report on a fleet: what it says about hosts, about NICs in two places, about known findings and about new ones."""

from __future__ import annotations

import html.parser
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import OptionError
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.answers import (
    answer_name,
    keep_answer,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.write import (
    write_report,
)
from ansible_collections.virtaudit.qemu.tests.support.answers import (
    BEGAN,
    answer,
    make_grant,
    unrecorded,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.reports import Reports

Data = dict[str, t.Any]


def test_the_report_has_each_host_with_all_its_devices(reports: Reports) -> None:
    outcome = reports.write({"hv1": answer(1, 3, findings=2), "hv2": answer(2, 2)})
    data = reports.data()
    assert [host["host"] for host in data["hosts"]] == ["hv1", "hv2"]
    assert [grant["host"] for grant in data["grants"]] == ["hv1"] * 3 + ["hv2"] * 2
    assert len(data["sessions"]) == len(data["history"]) == 10
    assert (outcome.grants, outcome.findings, outcome.silent) == (5, 2, [])
    grants = reports.rows("grants.csv")
    assert [row["mac"] for row in grants] == [each["mac"] for each in data["grants"]]
    assert grants[0]["vlan"] == "2"
    assert grants[0]["ticket"] == "CHG-0"
    assert len(reports.rows("history.csv")) == 10
    assert [row["code"] for row in reports.rows("findings.csv")] == [
        "unrecorded_open"
    ] * 2


def odd(**changes: t.Any) -> Data:
    return {**answer(1, 2), **changes}


def without(name: str, grant: Data) -> Data:
    return {key: value for key, value in grant.items() if key != name}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "no answer came back"),
        ({"failed": True, "msg": "qemu is on fire"}, "qemu is on fire"),
        ({"unreachable": True}, "could not be reached"),
        ({}, "no grants"),
        (odd(stats=None), "stats that is not a dictionary"),
        (odd(stats={}), "no stats.files"),
        (odd(grants=[without("uuid", make_grant(1, 1))]), "no grants[0].uuid"),
        (odd(grants=[make_grant(1, 1, uuid=5)]), "grants[0].uuid that is not a text"),
        (odd(grants=[make_grant(1, 1, since="soon")]), "since that is not a time"),
        (odd(grants=["web01"]), "grants[0] is no dictionary"),
        (odd(grants={}), "grants that is not a list"),
        (odd(grants=[make_grant(1, 1, devices=[5])]), "grants.devices[0] is no"),
        (odd(findings=[unrecorded(1, severity="huge")]), "is not a severity"),
        (odd(findings=None), "findings that is not a list"),
        (odd(sessions=[{"uuid": "x"}]), "sessions[0].vm"),
        (odd(sessions=7), "sessions that is not a list"),
        (odd(history=[5]), "history[0] is no dictionary"),
    ],
)
def test_an_odd_host_is_silent_with_its_reason(
    reports: Reports, given: Data | None, reason: str
) -> None:
    outcome = reports.write({"hv1": answer(7, 2), "odd": given, "hv2": answer(2, 2)})
    data = reports.data()
    assert [host["host"] for host in data["hosts"]] == ["hv1", "hv2"]
    assert len(data["grants"]) == 4
    assert [each["host"] for each in outcome.silent] == ["odd"]
    assert reason in outcome.silent[0]["problem"]
    assert data["silent"] == outcome.silent
    assert "<b>odd</b> gave no answer" in reports.page()


def test_an_answer_that_is_cut_off_is_silent(reports: Reports) -> None:
    keep_answer(reports.answers, "hv1", answer(1, 1))
    path = reports.answers / answer_name("hv1")
    path.write_text(path.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    assert "is no JSON" in reports.write({"hv1": None}).silent[0]["problem"]


def codes(reports: Reports) -> list[str]:
    return [finding["code"] for finding in reports.data()["findings"]]


def test_a_vm_on_two_hosts_and_its_mac_are_found(reports: Reports) -> None:
    reports.write({"hv1": answer(1, 2), "hv2": {**answer(1, 1)}, "hv3": answer(3, 1)})
    assert sorted(codes(reports)) == ["duplicate_mac", "duplicate_vm"]
    for finding in reports.data()["findings"]:
        assert finding["hosts"] == ["hv1", "hv2"]
        assert finding["vm"] == "web1-0"
        assert finding["severity"] == "high"
        assert len(finding["events"]) == 2


def test_a_vm_without_a_name_on_two_hosts_is_named_by_its_uuid(
    reports: Reports,
) -> None:
    nameless = {**answer(1, 0), "grants": [make_grant(1, 1, vm=None)]}
    reports.write({"hv1": nameless, "hv2": nameless})
    for finding in reports.data()["findings"]:
        assert "None" not in finding["message"]
        assert f"VM {finding['uuid']}" in finding["message"]


def test_a_mac_of_two_vms_is_found_on_one_host_too(reports: Reports) -> None:
    both = [make_grant(1, 1), make_grant(1, 2, mac=make_grant(1, 1)["mac"])]
    reports.write({"hv1": {**answer(1, 0), "grants": both}})
    assert codes(reports) == ["duplicate_mac"]
    assert (
        "web1-1 on hv1 and VM web1-2 on hv1" in reports.data()["findings"][0]["message"]
    )


def test_a_vm_that_has_moved_is_on_one_host(reports: Reports) -> None:
    gone = {**answer(1, 1), "grants": []}
    gone["sessions"] = gone["sessions"][:1]
    reports.write({"hv1": gone, "hv2": answer(1, 1)})
    assert codes(reports) == []


KNOWN = {"code": "unrecorded_open", "exe": "/usr/bin/ip", "why": "the VPN"}


@pytest.mark.parametrize(
    ("entry", "known"),
    [
        ({}, True),
        ({"until": "2026-11-23"}, True),
        ({"until": "2026-11-22"}, False),
        ({"exe": "/usr/bin/other"}, False),
        ({"path": "/dev/net/tun", "host": "hv1"}, True),
        ({"host": "hv2"}, False),
        ({"vm": "web01"}, False),
    ],
)
def test_known_findings_are_folded_and_do_not_fail(
    reports: Reports, entry: Data, known: bool
) -> None:
    outcome = reports.write(
        {"hv1": answer(1, 1, findings=3)},
        known=[{**KNOWN, **entry}],
        fail_on=["unrecorded_open"],
    )
    assert len(outcome.failing) == (0 if known else 3)
    assert ("Known and allowed: <b>3</b>" in reports.page()) is known
    assert [each["known"] for each in reports.data()["findings"]] == [
        0 if known else None
    ] * 3


def test_findings_that_were_known_until_a_day_are_named(reports: Reports) -> None:
    reports.write({"hv1": answer(1, 1)}, known=[{**KNOWN, "until": "2026-01-31"}])
    assert "Known until 2026-01-31, and not any more: unrecorded_open" in reports.page()


@pytest.mark.parametrize(
    ("known", "problem"),
    [
        ("unrecorded_open", "must be a list"),
        (["unrecorded_open"], "known[0]: is no dictionary"),
        ([{}], "code must be one of"),
        ([{"code": "unrecorded_opens"}], "code must be one of"),
        ([{**KNOWN, "vms": "x"}], "has no key vms"),
        ([{**KNOWN, "until": "soon"}], "is no date"),
    ],
)
def test_a_bad_known_is_refused_and_nothing_is_lost(
    reports: Reports, known: t.Any, problem: str
) -> None:
    reports.write({"hv1": answer(1, 1)})
    before = reports.page()
    with pytest.raises(OptionError, match=re.escape(problem)):
        reports.write({"hv1": answer(1, 5)}, known=known)
    assert reports.page() == before
    assert not [*reports.directory.glob(".audit-report-*")]


def test_findings_that_are_new_since_the_last_report_are_marked(
    reports: Reports,
) -> None:
    reports.write({"hv1": answer(1, 2, findings=1)}, now=BEGAN + 100)
    assert not any(each["new"] for each in reports.data()["findings"])
    later = answer(1, 2)
    later["grants"] += [make_grant(200, 1)]
    # The same program after a restart is no news. Another program, and one more process of it, are news.
    later["findings"] = [
        unrecorded(9),
        unrecorded(10, exe="/usr/bin/evil"),
        unrecorded(11),
    ]
    reports.write({"hv1": later})
    assert [each["new"] for each in reports.data()["findings"]] == [False, True, True]
    assert [each["new"] for each in reports.data()["grants"]] == [False, False, True]
    assert reports.page().count("<i>new</i>") == 3


def test_a_long_message_does_not_hide_what_is_new(reports: Reports) -> None:
    given = answer(1, 0)
    given["findings"] = [unrecorded(1, message="x" * 200_000)]
    reports.write({"hv1": given}, now=BEGAN + 100)
    given["findings"].append(unrecorded(2, exe="/usr/bin/evil"))
    reports.write({"hv1": given})
    assert [each["new"] for each in reports.data()["findings"]] == [False, True]


def test_the_report_names_hosts_that_were_not_compared(reports: Reports) -> None:
    unlooked = {**answer(1, 1), "verified": False}
    reports.write({"hv1": unlooked, "hv2": answer(2, 1)})
    assert "Nothing was compared with what the hosts hold now of hv1." in reports.page()
    outcome = reports.write({"hv1": {**unlooked, "asked": {"since": "2026-01-01"}}})
    assert outcome.unverified is not None
    assert outcome.unverified.endswith("hold now, as a time was asked for.")
    asked = {"until": "2026-11-30T07:00:00.000Z"}
    outcome = reports.write({"hv1": {**unlooked, "asked": asked}})
    assert str(outcome.unverified).endswith("as it was at 2026-11-30 07:00:00.")
    assert "as it was at 2026-11-30 07:00:00." in reports.page()


def test_no_cell_is_a_formula(reports: Reports) -> None:
    given = answer(1, 0)
    given["grants"] = [make_grant(1, 1, vm="=1+1"), make_grant(1, 2, vm="@x")]
    device = {"path": "=2+2", "rdev": None, "dev": None, "fd": None}
    given["grants"].append(make_grant(1, 3, devices=[device]))
    reports.write({"hv1": given})
    rows = reports.rows("grants.csv")
    assert [row["vm"] for row in rows][:2] == ["'=1+1", "'@x"]
    assert rows[2]["devices"] == "'=2+2"


class Tags(html.parser.HTMLParser):
    """Collects the ids, links and tags of a page. Tags must close in the order in which they open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if "id" in given:
            self.ids.append(given["id"] or "")
        if "href" in given:
            self.links.append(given["href"] or "")
        assert not [name for name in given if name.startswith("on")]
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


HOSTILE = "<script>alert(1)</script>\"'{{ 7*7 }}&amp;"


def test_text_from_outside_stays_text(reports: Reports) -> None:
    given = answer(1, 1)
    given["grants"].append(make_grant(1, 5, vm=HOSTILE, ticket=HOSTILE, mac=HOSTILE))
    given["findings"] = [
        unrecorded(1, message=HOSTILE, exe=HOSTILE, uuid=given["grants"][0]["uuid"])
    ]
    reports.write({HOSTILE: given, "x": {"failed": True, "msg": HOSTILE}})
    assert Tags(reports.page()).tags.count("script") == 1


def check_links(reports: Reports) -> None:
    pages = {"audit_report.html": Tags(reports.page())}
    for path in (reports.directory / "audit_report_hosts").glob("*.html"):
        pages[f"audit_report_hosts/{path.name}"] = Tags(path.read_text("utf-8"))
    for name, page in pages.items():
        assert len(page.ids) == len(set(page.ids))
        for link in page.links:
            to, _hash, anchor = link.partition("#")
            at = to.removeprefix("../") if to else name
            assert at in pages, link
            assert not anchor or anchor in pages[at].ids, link


@pytest.mark.parametrize("vms", [3, 1200])
def test_links_lead_somewhere(reports: Reports, vms: int) -> None:
    given = answer(1, vms, findings=2)
    given["findings"].append(unrecorded(9, uuid=given["grants"][1]["uuid"]))
    reports.write({"hv1": given, "hv2": answer(2, 2)})
    assert (reports.directory / "audit_report_hosts").is_dir() is (vms > 100)
    check_links(reports)


def test_pages_of_hosts_are_removed_with_their_report(reports: Reports) -> None:
    reports.write({"hv1": answer(1, 1200)})
    assert (reports.directory / "audit_report_hosts" / "0.html").is_file()
    reports.write({"hv1": answer(1, 1)})
    assert sorted(path.name for path in reports.directory.iterdir()) == [
        *("audit_report.html", "audit_report.json"),
        *("findings.csv", "grants.csv", "history.csv"),
    ]


def test_who_holds_what_comes_first_and_tables_say_what_they_are(
    reports: Reports,
) -> None:
    reports.write({"hv1": answer(1, 2, findings=60)})
    page = reports.page()
    order = [
        page.index(f'<section id="{each}">')
        for each in ("grants", "findings", "fleet", "timeline")
    ]
    assert order == sorted(order)
    assert page.count("<caption>") == page.count("<table")
    assert "<th>" not in page
    assert "<b>60</b> on 1 host" in page
    assert page.count('<summary><span class="tag') == 1


_MEASURE = """
import resource, sys
from pathlib import Path
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.report import Request
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.write import write_report
hosts = [f"hv{number}" for number in range(int(sys.argv[2]))]
write_report(Request(hosts, Path(sys.argv[1], "answers"), Path(sys.argv[1], "report")))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_hold_the_fleet(tmp_path: Path) -> None:
    for number in range(60):
        keep_answer(tmp_path / "answers", f"hv{number}", answer(number, 50))
    size = sum(path.stat().st_size for path in (tmp_path / "answers").iterdir())
    peaks = []
    root = str(sys.modules[write_report.__module__].__file__).partition(
        "/ansible_collections/"
    )[0]
    environment = {**os.environ, "PYTHONPATH": root}
    for hosts in (5, 60):
        command = [sys.executable, "-c", _MEASURE, str(tmp_path), str(hosts)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, check=True, env=environment
        )
        peaks.append(int(done.stdout) * 1024)
    assert peaks[1] - peaks[0] < size

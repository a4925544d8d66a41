# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.collector import (
    Collector,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.ledger import (
    Events,
    format_event,
    parse_event,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.lines import Lines
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.results import (
    ASYNC_STATUS,
    ATTACH,
    AUDIT_INFO,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.summary import (
    Summary,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.trail import (
    UUID,
    a_finding,
    a_log,
    a_result,
    a_run,
    an_answer,
    an_event,
    an_item,
)

Documents = list[dict[str, t.Any]]


@pytest.fixture(name="collector")
def fixture_collector() -> Collector:
    return Collector(Lines(a_run()), Summary(10))


def ids(documents: Documents) -> list[str | None]:
    return [document["event"].get("id") for document in documents]


def actions(documents: Documents) -> list[str]:
    return [document["event"]["action"] for document in documents]


def counts(collector: Collector) -> dict[str, int]:
    totals = collector.totals()
    return {key: totals[key] for key in ("sent", "landed", "missing", "unchecked")}


class TestLoops:
    def test_the_result_of_a_loop_adds_nothing_to_its_items(
        self, collector: Collector
    ) -> None:
        items = [a_result(an_item(each)) for each in (1, 2)]
        for item in items:
            assert len(collector.item(an_answer(item, loops=True))) == 1
        assert collector.whole(an_answer({"results": items}, loops=True)) == []
        assert counts(collector)["sent"] == 2

    def test_items_that_did_not_come_by_themselves(self, collector: Collector) -> None:
        items = [a_result(an_item(each)) for each in (1, 2, 3)]
        collector.item(an_answer(items[0], loops=True))
        collector.skipped_item(an_answer({}, loops=True))
        taken = collector.whole(an_answer({"results": items}, loops=True))
        assert ids(taken) == [an_event(3)]

    def test_records_without_an_event_are_not_counted_twice(
        self, collector: Collector
    ) -> None:
        item = a_result(an_item(None), an_item(None))
        assert ids(collector.item(an_answer(item, loops=True))) == [None, None]
        assert collector.whole(an_answer({"results": [item]}, loops=True)) == []
        assert counts(collector) == {
            "sent": 2,
            "landed": 0,
            "missing": 0,
            "unchecked": 2,
        }

    def test_a_task_that_was_skipped_leaves_nothing_for_the_next(
        self, collector: Collector
    ) -> None:
        collector.skipped_item(an_answer({}, loops=True))
        collector.skipped(an_answer({}, loops=True))
        results = {"results": [a_result(an_item(1))]}
        assert len(collector.whole(an_answer(results, loops=True))) == 1

    def test_two_hosts_in_one_task(self, collector: Collector) -> None:
        for machine in ("hv1", "hv2"):
            taken = collector.whole(an_answer(a_result(an_item(1)), ATTACH, machine))
            assert ids(taken) == [an_event(1)]


class TestJobs:
    begun: t.ClassVar = {"ansible_job_id": "j1", "started": 1, "finished": 0}

    def done(self, serial: int) -> dict[str, t.Any]:
        return a_result(an_item(serial), ansible_job_id="j1", finished=1)

    def test_a_job_is_taken_once(self, collector: Collector) -> None:
        assert collector.whole(an_answer(self.begun)) == []
        assert collector.attempt(an_answer(self.begun, ASYNC_STATUS)) == []
        taken = collector.whole(an_answer(self.done(1), ASYNC_STATUS, name="Collect"))
        assert ids(taken) == [an_event(1)]
        assert taken[0]["virtaudit"]["module"] == ATTACH
        assert taken[0]["virtaudit"]["task"]["name"] == "Task"
        assert collector.whole(an_answer(self.done(2), ASYNC_STATUS)) == []

    @pytest.mark.parametrize("machine", ["hv1", "hv2"])
    def test_a_job_that_is_not_ours(self, collector: Collector, machine: str) -> None:
        """The job never began, or began on another machine."""
        if machine == "hv2":
            collector.whole(an_answer(self.begun))
        assert collector.whole(an_answer(self.done(1), ASYNC_STATUS, machine)) == []
        assert counts(collector)["sent"] == 0

    def test_a_job_that_nobody_asks_for(self, collector: Collector) -> None:
        collector.whole(an_answer(self.begun))
        assert actions(collector.uncollected()) == ["records_unknown"]
        assert collector.uncollected() == []

    def test_a_job_whose_records_were_read_before_it_was_collected(
        self, collector: Collector
    ) -> None:
        collector.whole(an_answer(self.begun))
        log = a_log(an_item(1), an_item(2))
        assert len(collector.whole(an_answer(log, AUDIT_INFO))) == 2
        done = a_result(
            an_item(1), an_item(2, reason="attach"), ansible_job_id="j1", finished=1
        )
        assert collector.whole(an_answer(done, ASYNC_STATUS)) == []
        assert counts(collector) == {
            "sent": 2,
            "landed": 2,
            "missing": 0,
            "unchecked": 0,
        }
        assert collector.totals()["read_back"] == 0
        assert len(collector._summary.table(None)) == 2


class TestReadBack:
    """The records that vm_net_audit_info reads back."""

    def send(self, collector: Collector, *serials: int, **fields: str) -> None:
        items = [an_item(each, **fields) for each in serials]
        collector.whole(an_answer(a_result(*items)))

    def read(self, collector: Collector, *serials: int, **asked: t.Any) -> Documents:
        log = a_log(*(an_item(each) for each in serials), **asked)
        return collector.whole(an_answer(log, AUDIT_INFO))

    def test_all_have_landed(self, collector: Collector) -> None:
        self.send(collector, 1, 2)
        assert self.read(collector, 1, 2) == []
        assert counts(collector) == {
            "sent": 2,
            "landed": 2,
            "missing": 0,
            "unchecked": 0,
        }

    def test_one_is_missing_until_it_is_there(self, collector: Collector) -> None:
        self.send(collector, 1, 2, 3)
        self.read(collector, 1, 3)
        assert counts(collector) == {
            "sent": 3,
            "landed": 2,
            "missing": 1,
            "unchecked": 0,
        }
        assert collector.totals()["hosts"][0]["missing_events"] == [an_event(2)]
        self.read(collector, 1, 2, 3)
        assert counts(collector)["missing"] == 0

    @pytest.mark.parametrize("asked", [{"name": "web02"}, {"own_logs": False}])
    def test_a_missing_record_stays_missing_when_a_task_asks_for_others(
        self, collector: Collector, asked: dict[str, t.Any]
    ) -> None:
        self.send(collector, 1)
        self.read(collector)
        self.read(collector, **asked)
        assert counts(collector)["missing"] == 1

    def test_a_record_that_is_sent_later_is_not_missing(
        self, collector: Collector
    ) -> None:
        self.read(collector)
        self.send(collector, 1)
        assert counts(collector) == {
            "sent": 1,
            "landed": 0,
            "missing": 0,
            "unchecked": 1,
        }

    @pytest.mark.parametrize(
        ("asked", "missing"),
        [
            ({}, 1),
            ({"uuid": UUID}, 1),
            ({"name": "web01"}, 1),
            ({"since": "2026-01-01T00:00:00.000Z"}, 1),
            ({"since": "2026-11-23T07:55:05.000Z"}, 1),
            ({"since": "2026-11-23T07:55:05.001Z"}, 0),
            # Records of other VMs, and records that came too late for an answer.
            ({"uuid": "c1e2f3a4-0001-4000-8000-000000000099"}, 0),
            ({"name": "web02"}, 0),
            ({"since": "2026-12-01T00:00:00.000Z"}, 0),
            # The host booted after the record.
            ({"uuid": UUID, "boot": "2026-11-23T07:55:04.000Z"}, 1),
            ({"uuid": UUID, "boot": "2026-11-23T07:56:00.000Z"}, 0),
            ({"uuid": UUID, "boot": "odd"}, 0),
            # Only a part.
            ({"mac": "52:54:00:00:00:01"}, 0),
            ({"until": "2026-12-01T00:00:00.000Z"}, 0),
            ({"own_logs": False}, 0),
            ({"since": "yesterday"}, 0),
            # Records that were sent while the log was read, or after that.
            ({"as_of": "2026-11-23T07:55:05.002Z"}, 1),
            ({"as_of": "2026-11-23T07:55:05.001Z"}, 0),
            ({"as_of": None}, 0),
            ({"as_of": "tomorrow"}, 0),
        ],
    )
    def test_only_a_task_that_looked_for_a_record_can_miss_it(
        self, collector: Collector, asked: dict[str, t.Any], missing: int
    ) -> None:
        self.send(collector, 1)
        self.read(collector, **asked)
        assert counts(collector)["missing"] == missing

    @pytest.mark.parametrize(
        ("asked", "missing"),
        [({"name": "web01"}, 0), ({"uuid": UUID}, 0), ({}, 1)],
    )
    def test_an_answer_about_one_vm_begins_with_its_last_run(
        self, collector: Collector, asked: dict[str, t.Any], missing: int
    ) -> None:
        self.send(collector, 1, 2, 3, 4)
        # The module read the log backwards, and stopped at the start of the second run.
        log = a_log(an_item(2), an_item(4), **asked)
        log["events"][0] |= {"type": "VIRT_MACHINE_ID"}
        collector.whole(an_answer(log, AUDIT_INFO))
        assert counts(collector)["missing"] == 1 + missing
        assert counts(collector)["unchecked"] == 1 - missing

    def test_the_oldest_record_may_be_the_start_that_somebody_forged(
        self, collector: Collector
    ) -> None:
        self.send(collector, 1, 2)
        log = a_log(an_item(2), name="web01")
        log["events"][0] |= {"type": "VIRT_MACHINE_ID", "uid": 1000}
        collector.whole(an_answer(log, AUDIT_INFO))
        assert counts(collector)["missing"] == 1

    def test_a_name_means_the_vm_that_had_it_last(self, collector: Collector) -> None:
        other = "c1e2f3a4-0001-4000-8000-000000000099"
        self.send(collector, 1, 2, uuid=other)
        self.send(collector, 3, 4)
        self.read(collector, 3, name="web01")
        assert collector.totals()["hosts"][0]["missing_events"] == [an_event(4)]

    def test_a_log_that_could_not_be_read_may_have_it(
        self, collector: Collector
    ) -> None:
        self.send(collector, 1)
        unread = {"unread": [{"path": "/var/log/audit/audit.log.1"}]}
        collector.whole(an_answer({**a_log(), "stats": unread}, AUDIT_INFO))
        assert counts(collector)["missing"] == 0

    def test_an_answer_without_the_time_that_it_covers(
        self, collector: Collector
    ) -> None:
        self.send(collector, 1)
        log = a_log()
        del log["asked"]
        collector.whole(an_answer(log, AUDIT_INFO))
        assert counts(collector)["missing"] == 0

    def test_records_that_no_task_returned_are_written_once(
        self, collector: Collector
    ) -> None:
        self.send(collector, 1)
        taken = self.read(collector, 1, 2)
        assert ids(taken) == [an_event(2)]
        assert taken[0]["virtaudit"]["source"] == "log"
        assert taken[0]["process"]["pid"] == 7
        assert self.read(collector, 1, 2) == []
        assert collector.totals()["read_back"] == 1

    def test_without_events_nothing_was_looked_for(self, collector: Collector) -> None:
        self.send(collector, 1)
        data = {"findings": [], "asked": a_log()["asked"]}
        assert collector.whole(an_answer(data, AUDIT_INFO)) == []
        assert counts(collector)["missing"] == 0


MALFORMED: list[t.Any] = [
    None,
    "text",
    {},
    {**an_item(1), "fields": "text"},
    {**an_item(1), "fields": {"vm": 1}},
    {**an_item(1), "event": "1.000"},
    {**an_item(1), "event": 7},
    {**an_item(1), "event": "1" * 30 + ".000:1"},
    {**an_item(1), "confirmed": False},
    {**an_item(None), "confirmed": True},
    {**an_item(1), "type": "\x1b[31m"},
]


@pytest.mark.parametrize("item", MALFORMED)
def test_a_value_that_is_no_record_is_reported(
    collector: Collector, item: t.Any
) -> None:
    taken = collector.whole(an_answer(a_result(an_item(5), item)))
    assert actions(taken) == ["open", "records_malformed"]
    assert counts(collector)["sent"] == 1


@pytest.mark.parametrize(
    "data",
    [
        {"msg": "crashed"},
        {"audit": None},
        {"audit": {"records": None}},
        {"unreachable": True},
    ],
)
def test_a_task_without_records(collector: Collector, data: dict[str, t.Any]) -> None:
    assert actions(collector.whole(an_answer(data))) == ["records_unknown"]


@pytest.mark.parametrize(
    ("module", "said"),
    [(ATTACH, "hides the result, and with it the records"), (AUDIT_INFO, "read back")],
)
def test_hidden_by_no_log(collector: Collector, module: str, said: str) -> None:
    answer = an_answer({"censored": "the output has been hidden"}, module)
    taken = collector.whole(answer)
    assert actions(taken) == ["records_hidden"]
    assert said in taken[0]["event"]["reason"]
    assert (module == AUDIT_INFO) == (
        "vm_net_audit_info can" not in taken[0]["event"]["reason"]
    )


def test_each_finding_is_a_line(collector: Collector) -> None:
    log = {**a_log(an_item(1)), "findings": [a_finding(), a_finding("failed_open")]}
    taken = collector.whole(an_answer(log, AUDIT_INFO))
    assert actions(taken) == ["stale_grant", "failed_open", "open"]
    assert [line["event"]["kind"] for line in taken] == ["alert", "alert", "event"]


STRANGE: list[t.Any] = [
    None,
    {},
    a_finding(severity=["high"]),
    a_finding(severity="dreadful"),
    {**a_finding(), "code": {}},
    a_finding(code="\x1b[31m"),
    a_finding(message=7),
    a_finding(events="1.000:1"),
    a_finding(events=[["1.000:1"]]),
]


@pytest.mark.parametrize("finding", STRANGE)
def test_a_value_that_is_no_finding_is_reported(
    collector: Collector, finding: t.Any
) -> None:
    log = {**a_log(an_item(1)), "findings": [finding, a_finding()]}
    taken = collector.whole(an_answer(log, AUDIT_INFO))
    assert actions(taken) == ["stale_grant", "records_malformed", "open"]


def test_an_unexpected_answer_does_not_harm_other_hosts(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> t.NoReturn:
        raise TypeError("unhashable")

    results = {"results": [a_result(an_item(1)), a_log(), a_result(an_item(2))]}
    with monkeypatch.context() as patch:
        patch.setattr(Collector, "_take_sent", fail)
        taken = collector.whole(an_answer(results, loops=True))
    assert actions(taken) == ["records_malformed"] * 3
    assert "TypeError" in taken[0]["event"]["reason"]
    assert actions(collector.whole(an_answer(a_result(an_item(1))))) == ["open"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**63 - 1))))
def test_events_are_a_sorted_set(events: list[tuple[int, int]]) -> None:
    found = Events()
    seen: set[tuple[int, int]] = set()
    for event in events:
        assert found.add(event) == (event not in seen)
        seen.add(event)
    assert list(found) == sorted(seen)


def test_an_event_is_written_as_it_is_read() -> None:
    for text in ("1795420505.007:180", "0.000:1", "99999999999.999:" + "9" * 19):
        event = parse_event(text)
        assert event is not None
        assert format_event(event) == text

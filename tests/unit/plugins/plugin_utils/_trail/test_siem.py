# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example configurations for shippers, and the index template, against what the callback writes."""

from __future__ import annotations

import ipaddress
import json
import typing as t
from pathlib import Path

import yaml

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.chain import (
    trail_files,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.results import (
    AUDIT_INFO,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.run import Told
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.trail import Trail
from ansible_collections.virtaudit.qemu.tests.unit.support.trail import (
    a_finding,
    a_log,
    a_result,
    an_answer,
    an_item,
)

DOCS = Path(__file__).parents[5] / "docs" / "siem"
TEMPLATE = json.loads((DOCS / "index_template.json").read_text(encoding="utf-8"))
FITS: dict[str, t.Callable[[t.Any], bool]] = {
    "keyword": lambda value: isinstance(value, str),
    "text": lambda value: isinstance(value, str),
    "date": lambda value: isinstance(value, str) and value.endswith("Z"),
    "long": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "ip": lambda value: bool(ipaddress.ip_address(value)) and "%" not in value,
    "flattened": lambda value: isinstance(value, dict),
}


def unfit(value: t.Any, mapping: t.Any, where: str) -> t.Iterator[str]:
    """Return the fields of a line that an index with the template would refuse or does not know."""
    if isinstance(value, list):
        for each in value:
            yield from unfit(each, mapping, where)
    elif value is not None and "properties" in mapping:
        for name, each in value.items():
            if name not in mapping["properties"]:
                yield f"{where}.{name} is not in the template"
            else:
                yield from unfit(each, mapping["properties"][name], f"{where}.{name}")
    elif value is not None and not FITS[mapping["type"]](value):
        yield f"{where} is {value!r}, no {mapping['type']}"


def test_the_template_knows_each_member_of_each_line(tmp_path: Path) -> None:
    trail = Trail("/play.yml", 10, Told({"awx_user_name": "alice"}, ["a,"], "a"))
    trail.open(str(tmp_path))
    log = a_log(an_item(9))
    log["findings"] = [a_finding()]
    for answer in (
        an_answer(a_result(an_item(1), an_item(2, addr="fe80::1%eth0"))),
        an_answer(a_result(an_item(None, fd="7", addr="host"))),
        an_answer({"failed": True}),
        an_answer(log, AUDIT_INFO),
    ):
        trail.write(trail.collector.whole(answer))
    trail.close()
    lines = Path(trail_files(str(tmp_path))[0]).read_bytes().splitlines()
    assert len(lines) > 6
    mapping = TEMPLATE["template"]["mappings"]
    assert [
        each for line in lines for each in unfit(json.loads(line), mapping, "")
    ] == []


def test_the_shippers_read_what_the_callback_writes() -> None:
    filebeat = yaml.safe_load((DOCS / "filebeat.yml").read_text(encoding="utf-8"))
    vector = yaml.safe_load((DOCS / "vector.yaml").read_text(encoding="utf-8"))
    paths = {
        *filebeat["filebeat.inputs"][0]["paths"],
        *vector["sources"]["trail"]["include"],
    }
    # A shipper must ignore the signatures beside the files.
    assert {Path(path).name for path in paths} == {"*.jsonl"}
    known = {*vector["sources"], *vector["transforms"], "lines.dropped"}
    parts = [*vector["transforms"].values(), *vector["sinks"].values()]
    assert {name for part in parts for name in part["inputs"]} <= known

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports of Open vSwitch, against a server that speaks the database's protocol.

The integration tests use a real switch.
"""

from __future__ import annotations

import json
import socket
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import Record
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    LinkError,
    OptionError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import ovs_port, ovsdb
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.backends import (
    backend_of,
    kind_of,
    openvswitch,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.filter import nft
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.interface_options import (
    parse_interfaces,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.nic_link import (
    NicLink,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.vlan import Vlan
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    an_interface,
    an_item,
    macvtap,
    tun,
)


@pytest.fixture(name="run_dir", autouse=True)
def fixture_run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ovsdb, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(ovsdb, "_FILES", ())
    return tmp_path


def serve(run_dir: Path, *replies: t.Any) -> list[t.Any]:
    """Answer one request after the other. Return a list that grows with the requests."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(run_dir / "db.sock"))
    listener.listen()
    asked: list[t.Any] = []

    def answer() -> None:
        for reply in replies:
            connection, _address = listener.accept()
            with connection:
                asked.append(json.loads(connection.recv(65536)))
                if isinstance(reply, bytes):
                    connection.sendall(reply)
                    continue
                echo = {"method": "echo", "params": [], "id": "echo"}
                result = {"result": reply, "error": None, "id": 0}
                connection.sendall(
                    (json.dumps(echo) + json.dumps(result)).encode("ascii")
                )
                assert json.loads(connection.recv(4096))["id"] == "echo"
        listener.close()

    threading.Thread(target=answer, daemon=True).start()
    return asked


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (["set", []], []),
        (["set", [1, 2]], [1, 2]),
        (["map", [["a", "b"]]], {"a": "b"}),
        (["uuid", "c1e2"], "c1e2"),
        (7, 7),
        ("x", "x"),
    ],
)
def test_values_of_the_protocol(value: t.Any, found: t.Any) -> None:
    assert ovsdb.plain(value) == found


@pytest.mark.parametrize(
    ("vlan", "tag", "trunks", "mode"),
    [
        (None, [], [], []),
        (Vlan(42), [42], [], ["access"]),
        (Vlan(None, ((10, 12),)), [], [10, 11, 12], ["trunk"]),
        (Vlan(5, ((10, 10),)), [5], [10], ["native-untagged"]),
    ],
)
def test_vlans_become_a_row_and_a_row_becomes_vlans(
    vlan: Vlan | None, tag: list[int], trunks: list[int], mode: list[str]
) -> None:
    row = ovs_port._settings(ovs_port.OvsPort("br0", vlan, True, {}))
    assert row["tag"] == ["set", tag]
    assert row["trunks"] == ["set", trunks]
    assert row["vlan_mode"] == ["set", mode]
    assert row["protected"] is True
    read = {name: ovsdb.plain(value) for name, value in row.items()}
    assert ovs_port._vlan_of(read) == vlan


def test_one_value_is_not_sent_as_a_list(run_dir: Path) -> None:
    rows = [{"rows": [{"tag": 42, "trunks": ["set", []]}]}]
    asked = serve(run_dir, rows)
    question = ovsdb.rows_of("Port", ["tag", "trunks"], name="vt0")
    ((row,),) = ovsdb.select(question)
    assert ovs_port._vlan_of(row) == Vlan(42)
    ((_schema, operation),) = [each["params"] for each in asked]
    assert operation["where"] == [["name", "==", "vt0"]]


def test_a_long_reply_keeps_its_characters(run_dir: Path) -> None:
    """An update writes the external_ids of other programs back as it has read them."""
    ids = {"name": "\u00fc\u20ac" * 100000}
    reply = {"result": [{"rows": [ids]}], "error": None, "id": 0}
    serve(run_dir, json.dumps(reply, ensure_ascii=False).encode("utf-8"))
    assert ovsdb.select(ovsdb.rows_of("Port", ["name"])) == [[ids]]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"", "it closed the connection"),
        (b'{"id": 0, "result": null, "error": "unknown database"}', "unknown database"),
        ([{"error": "constraint violation", "details": "no row"}], "no row"),
    ],
)
def test_a_transaction_that_the_database_refuses(
    run_dir: Path, reply: t.Any, words: str
) -> None:
    serve(run_dir, reply)
    with pytest.raises(LinkError, match=words):
        ovsdb.select(ovsdb.rows_of("Port", ["tag"]))


def taken_over(current: int) -> list[dict[str, t.Any]]:
    return [{}, {"rows": [{"cur_cfg": current}]}, {"rows": [{"name": "vt0"}]}]


CHANGED = [{}, {"count": 1}, {"rows": [{"next_cfg": 3, "cur_cfg": 1}]}]
TIMED_OUT = [{"error": "timed out", "details": "waited"}, None, None]


def test_a_change_waits_for_the_switch(run_dir: Path) -> None:
    asked = serve(run_dir, CHANGED, TIMED_OUT, taken_over(2), taken_over(3))
    question = ovsdb.rows_of("Port", ["name"])
    assert ovsdb.change([{"op": "comment"}], question) == [[{"name": "vt0"}]]
    waits = [each["params"][1] for each in asked[1:]]
    assert [each["op"] for each in waits] == ["wait"] * 3
    assert [each["rows"][0]["cur_cfg"] for each in waits] == [1, 1, 2]


def test_a_change_does_not_wait_without_need(run_dir: Path) -> None:
    asked = serve(run_dir, [{}])
    ovsdb.write([{"op": "comment"}])
    assert [each["params"][1:] for each in asked] == [[{"op": "comment"}]]


def test_a_change_that_the_switch_does_not_take_over(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ovsdb, "_SECONDS", 0.02)
    serve(run_dir, CHANGED, *[TIMED_OUT] * 1000)
    with pytest.raises(LinkError, match=r"did not apply a change within 0\.02 s"):
        ovsdb.change([{"op": "comment"}])


class Switch:
    """A database in which each new port gets the next of its ``errors``. ``None`` means that the port is good.

    ``there`` as an error means that a port of that name exists, and ``refused`` that the database refuses the row.
    """

    # The interfaces of the port that is there already.
    links: t.ClassVar[list[t.Any]] = [{"type": ""}]

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, **errors: list[str | None]
    ) -> None:
        self.errors = errors
        self.done: list[str] = []
        monkeypatch.setattr(ovsdb, "change", self.change)
        monkeypatch.setattr(ovsdb, "write", lambda given: self.done.append("write"))
        monkeypatch.setattr(ovsdb, "select", self.select)

    def select(self, *questions: t.Any) -> t.Any:
        rows = {"Port": [PORT_ROW], "Interface": self.links, "Bridge": [BRIDGE_ROW]}
        return [rows[each["table"]] for each in questions]

    def change(self, operations: list[t.Any], *questions: t.Any) -> t.Any:
        if not questions:
            self.done.append("remove")
            return []
        names = [each["row"]["name"] for each in operations if "uuid-name" in each]
        names = names[::2]
        self.done.append(f"add {' '.join(names)}")
        errors = [self.errors[name][0] for name in names]
        for refusal, word in (("there", "timed out"), ("refused", "constraint")):
            if refusal in errors:
                self.errors[names[errors.index(refusal)]].pop(0)
                raise ovsdb.RefusedError(word, "waited")
        rows: list[t.Any] = [[BRIDGE_ROW]]
        for name, error in zip(names, errors):
            self.errors[name].pop(0)
            found = [] if error is None else error
            rows += [[PORT_ROW], [{"external_ids": {}, "error": found}]]
        return rows


PORT_ROW = {"_uuid": "u", "tag": [], "trunks": [], "protected": False}
BRIDGE_ROW = {"name": "br0", "ports": "u"}
PORT = ovs_port.OvsPort("br0", None, False, {})


def test_all_ports_take_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    switch = Switch(monkeypatch, vt0=[None], vt1=[None])
    assert ovs_port.add({"vt0": PORT, "vt1": PORT}) == {}
    assert switch.done == ["add vt0 vt1"]


@pytest.mark.parametrize("first", ["there", "could not open network device"])
def test_the_remains_of_a_port_are_removed_first(
    first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = Switch(monkeypatch, vt0=[first, None])
    assert ovs_port.add({"vt0": PORT}) == {}
    assert switch.done == ["add vt0", "remove", "add vt0"]


def test_only_a_port_that_the_switch_does_not_use_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    switch = Switch(monkeypatch, vt0=[None], vt1=["no device", None], vt2=[None])
    assert ovs_port.add(dict.fromkeys(("vt0", "vt1", "vt2"), PORT)) == {}
    assert switch.done == ["add vt0 vt1 vt2", "remove", "add vt1"]


def test_a_port_that_the_switch_cannot_use_is_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    switch = Switch(monkeypatch, vt0=["no device", "no device vt0"], vt1=[None])
    failures = ovs_port.add({"vt0": PORT, "vt1": PORT})
    assert [*failures] == ["vt0"]
    assert "vt0 as a port of br0: no device vt0" in str(failures["vt0"])
    assert switch.done == ["add vt0 vt1", "remove", "add vt0", "write"]


@pytest.mark.parametrize(
    ("links", "kind"),
    [
        ([{"type": "patch"}], "patch"),
        ([{"type": "dpdkvhostuserclient"}], "dpdkvhostuserclient"),
        # Its link is in another network namespace.
        ([{"type": "internal"}], "internal"),
        # Its interfaces have other names.
        ([], "bond"),
    ],
)
def test_a_port_of_somebody_else_stays(
    links: list[t.Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Switch, "links", links)
    switch = Switch(monkeypatch, vt0=["there", None])
    failures = ovs_port.add({"vt0": PORT._replace(bridge="br9")})
    assert str(failures["vt0"]) == (
        f"Open vSwitch could not use vt0 as a port of br9: a port of that name is there, of the type {kind}, on br0; "
        "give the NIC another ifname"
    )
    assert switch.done == ["add vt0"]


def test_a_port_that_somebody_else_makes_meanwhile_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    switch = Switch(monkeypatch, vt0=["there", "there"])
    assert [*ovs_port.add({"vt0": PORT})] == ["vt0"]
    assert switch.done == ["add vt0", "remove", "add vt0"]


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ("refused", "refused a change: waited"),
        ("there", "a port of that name is there"),
    ],
)
def test_a_port_that_the_database_refuses_is_named(
    monkeypatch: pytest.MonkeyPatch, refusal: str, words: str
) -> None:
    Switch(monkeypatch, vt0=[None], vt1=[refusal, refusal])
    failures = ovs_port.add({"vt0": PORT, "vt1": PORT})
    assert [*failures] == ["vt1"]
    assert "vt1 as a port of br0: " in str(failures["vt1"])
    assert words in str(failures["vt1"])


def test_a_switch_that_does_not_run_is_refused(run_dir: Path) -> None:
    (interface,) = parse_interfaces([an_item(type="openvswitch", source="br0")])
    backend = backend_of("openvswitch")
    with pytest.raises(OptionError, match="source: Open vSwitch's database does not"):
        backend.check(interface, ())
    (run_dir / "db.sock").touch()
    with pytest.raises(OptionError, match="ovs-vswitchd does not run"):
        backend.check(interface, ())


def test_nothing_is_asked_without_open_vswitch() -> None:
    assert not ovsdb.is_installed()
    assert ovs_port.bridge_of_ports() == {}
    assert kind_of(tun(3), None) == "bridge"
    assert kind_of(macvtap(3), None) == "direct"
    assert kind_of(tun(3), "openvswitch") == "openvswitch"


@pytest.mark.parametrize("suboption", ["port_profile", "interface_id"])
@pytest.mark.parametrize("kind", ["bridge", "direct"])
def test_other_kinds_have_no_external_ids(kind: str, suboption: str) -> None:
    uuid = "11111111-2222-4333-8444-555555555555"
    item = an_item(type=kind, mode=None, **{suboption: uuid})
    with pytest.raises(OptionError, match=f"{suboption}: only a port of Open vSwitch"):
        parse_interfaces([item])


@pytest.mark.parametrize("text", [None, ""])
def test_no_profile(text: str | None) -> None:
    (found,) = parse_interfaces([an_item(type="openvswitch", port_profile=text)])
    assert found.network.port_profile is None


def test_a_profile_can_be_any_text() -> None:
    text = "Web Servers=1 'x' \u00fc"
    (found,) = parse_interfaces([an_item(type="openvswitch", port_profile=text)])
    assert found.network.port_profile == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a\0b", "a port_profile cannot hold a NUL byte"),
        ("\ud800", "is not a text that UTF-8 can encode"),
        ("x" * 256, "the port_profile has 256 bytes; at most 255 fit"),
    ],
)
def test_a_profile_that_no_record_can_have(text: str, problem: str) -> None:
    with pytest.raises(
        OptionError, match=rf"interfaces\[0\].port_profile: .*{problem}"
    ):
        parse_interfaces([an_item(type="openvswitch", port_profile=text)])


@pytest.mark.parametrize("text", ["x" * 9000, "\u00fc" * 9000, "\U0001f600" * 9000])
def test_a_long_profile_of_the_switch_fits_into_a_record(text: str) -> None:
    port = ovs_port.OvsPort("br0", None, False, {"port-profile": text})
    found = openvswitch._with_port(Network("br0"), port)
    assert found.port_profile is not None
    assert found.port_profile[:50] == text[:50]
    assert found.port_profile.endswith("...")
    # No task can ask for such a text, so it always differs.
    assert len(found.port_profile.encode()) > 255
    for change in found.changes(Network("br0", port_profile="x" * 255)):
        Record("VIRT_RESOURCE", {"vm": " " * 255, "ticket": " " * 256, **change}).text()


def test_an_interface_id_is_a_uuid() -> None:
    with pytest.raises(OptionError, match=r"interfaces\[0\].interface_id: 'x' is no"):
        parse_interfaces([an_item(type="openvswitch", interface_id="x")])


def test_the_ids_that_controllers_look_for() -> None:
    assert an_interface().port_profile is None
    assert ovs_port.ids_of(MAC, "vm", "port", None) == {
        "attached-mac": MAC,
        "iface-id": "port",
        "iface-status": "active",
        "vm-id": "vm",
    }
    assert ovs_port.ids_of(MAC, None, "port", "web")["port-profile"] == "web"


@pytest.mark.parametrize(("datapath", "refused"), [("netdev", True), ("", False)])
def test_only_the_kernels_datapath_is_filtered(
    datapath: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (wanted,) = parse_interfaces(
        [an_item(type="openvswitch", source="br0", filter="mac")]
    )
    monkeypatch.setattr(ovsdb, "require_switch", lambda: None)
    monkeypatch.setattr(ovs_port, "datapaths", lambda: {"br0": datapath})
    asked: list[str] = []
    monkeypatch.setattr(nft, "check", asked.append)
    backend = backend_of("openvswitch")
    if refused:
        with pytest.raises(OptionError, match="filter: br0 has its datapath in user"):
            backend.check(wanted, ())
    else:
        backend.check(wanted, ())
    assert asked == ([] if refused else ["ingress"])


# the VLAN and the isolation that the port has, and whether an update writes them
SETTINGS = [(Vlan(42), True, False), (Vlan(43), True, True), (Vlan(42), False, True)]


@pytest.mark.parametrize("ids", [{}, {"attached-mac": MAC}])
@pytest.mark.parametrize(("vlan", "protected", "writes"), SETTINGS)
def test_an_update_writes_only_the_settings_that_change(
    monkeypatch: pytest.MonkeyPatch,
    vlan: Vlan,
    protected: bool,
    writes: bool,
    ids: dict[str, str],
) -> None:
    changed: list[str] = []

    def change(operations: list[dict[str, t.Any]]) -> None:
        changed.extend(each["table"] for each in operations)

    monkeypatch.setattr(ovsdb, "change", change)
    before = ovs_port.OvsPort("br0", vlan, protected, {})
    wanted = before._replace(vlan=Vlan(42), protected=True, ids=ids)
    ovs_port.update("vt0", wanted, before)
    assert changed == [*(["Interface"] if ids else []), *(["Port"] if writes else [])]


# the interface_id of the former network, that of the new one, and the one that the port gets
IDS = [(None, None, "n-1"), (None, "n-2", "n-2"), ("n-1", None, None)]


@pytest.mark.parametrize(("former", "asked", "gets"), IDS)
def test_an_update_keeps_the_ids_that_no_task_has_asked_for(
    former: str | None, asked: str | None, gets: str | None
) -> None:
    there = {
        "attached-mac": MAC,
        "iface-id": "n-1",
        "port-profile": "web",
        "ovn-installed": "true",
    }
    before = ovs_port.OvsPort("br0", None, False, there)
    link = NicLink("vt0", 12, MAC, Network("br0", interface_id=former), "vm-1")
    new = link.on(Network("br0", interface_id=asked))
    found = openvswitch._port_of(new, before, link).ids
    own = openvswitch._port_of(new, None).ids
    assert found["iface-id"] == (gets or own["iface-id"])
    assert (found["ovn-installed"], found["vm-id"]) == ("true", "vm-1")
    assert "port-profile" not in found
    assert "ovn-installed" not in own

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    MismatchError,
    OptionError,
    ProcessError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import plan
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow.plan import (
    Plan,
    Step,
    make_diff,
    make_plan,
    planned_result,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import host
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.interface import (
    Interface,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu import launch
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.nics import (
    FrontEnd,
    Inventory,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import statedir
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.differences import Move
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.nic import Nic
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.vm import Live, Vm
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    QEMU,
    UUID,
    a_nic_note,
    a_note,
    a_target,
    an_interface,
    tun,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.children import (
    Start,
    process_of,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

ONE = an_interface()
TWO = an_interface(option="interfaces[1]", mac="52:54:00:00:00:02")
USB = an_interface(option="interfaces[2]", mac="52:54:00:00:00:03", model="usb-net")
FRONT_END = FrontEnd("/machine/peripheral/net0", "virtio-net-pci", MAC, "hostnet")
ATTACHED = Nic(MAC, FRONT_END, "hostnet", [tun(31)], None)


@pytest.fixture(name="looked", autouse=True)
def fixture_looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A fake host that notes everything that the code looks at, in order."""
    looked: list[str] = []
    monkeypatch.setattr(statedir, "other_notes", lambda uuid: [])
    monkeypatch.setattr(
        host,
        "check",
        lambda interfaces, leftovers, known: looked.extend(
            [each.mac for each in interfaces] + [f"-{name}" for name in leftovers]
        ),
    )
    monkeypatch.setattr(launch, "find_binary", looked.append)
    monkeypatch.setattr(launch, "ids_of", lambda user: (0, 0))
    return looked


def a_vm(
    running: bool = True,
    nics: dict[str, Nic] | None = None,
    free_ports: list[str] | None = None,
    has_ports: bool = True,
) -> Vm:
    vm = Vm(a_target(), UUID, None)
    qemu = FakeQemu()
    # All ports are free.
    qemu.answers["qom-list"] = lambda given: []
    qemu.answers["qom-get"] = lambda given: True
    ports = ["p0", "p1"] if free_ports is None else free_ports
    inventory = Inventory([], {}, ports, has_ports)
    if running:
        vm._live = Live(qemu.process, qemu.monitor, inventory, nics or {})
    return vm


def params(**changes: t.Any) -> dict[str, t.Any]:
    return {"qemu": None, "on_mismatch": "fail", "exclusive": False, **changes}


@pytest.fixture(name="differ")
def fixture_differ(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The differences that the fake finds for every NIC."""
    words: list[str] = []
    monkeypatch.setattr(plan, "differences", lambda wanted, nic: words)
    monkeypatch.setattr(plan, "move_of", lambda wanted, nic: None)
    return words


def test_cold_start(looked: list[str]) -> None:
    found = make_plan(a_vm(running=False), [ONE, TWO], params(qemu=QEMU))
    assert [(step.action, step.nic, step.replace) for step in found.steps] == [
        ("attach", None, False)
    ] * 2
    assert found.start is not None
    assert found.start.memory == "1024"
    assert (found.changes, found.ports) == (True, [])
    assert looked == ["qemu-system-x86_64", ONE.mac, TWO.mac]


def test_a_stopped_vm_needs_qemu(looked: list[str]) -> None:
    with pytest.raises(OptionError, match="VM web01 does not run; give the") as caught:
        make_plan(a_vm(running=False), [ONE], params())
    assert caught.value.option == "qemu"
    assert looked == []


@pytest.mark.parametrize("running", [True, False])
def test_the_option_qemu_is_checked_even_when_it_is_not_needed(running: bool) -> None:
    bad = {**QEMU, "memory": "lots"}
    with pytest.raises(OptionError, match=r"qemu\.memory"):
        make_plan(a_vm(running), [ONE], params(qemu=bad))


def test_hot_plug(looked: list[str]) -> None:
    found = make_plan(a_vm(), [ONE, TWO], params(qemu=QEMU))
    assert found == Plan([Step(ONE, "attach"), Step(TWO, "attach")], None, ["p0", "p1"])
    assert found.changes
    assert looked == [ONE.mac, TWO.mac]


@pytest.mark.usefixtures("differ")
def test_an_unchanged_nic_is_not_looked_at_again(looked: list[str]) -> None:
    vm = a_vm(nics={MAC: ATTACHED})
    found = make_plan(vm, [ONE], params())
    assert found == Plan([Step(ONE, "unchanged", ATTACHED)], None, [])
    assert not found.changes
    assert looked == []
    assert make_plan(vm, [ONE, TWO], params()).changes
    assert looked == [TWO.mac]


def test_mismatch(differ: list[str]) -> None:
    differ += [
        "queues is 1, and the task asks for 2",
        "mtu is 1500, and the task asks for 9000",
    ]
    with pytest.raises(MismatchError) as caught:
        make_plan(a_vm(nics={MAC: ATTACHED}), [TWO, ONE], params())
    assert str(caught.value) == (
        f"interfaces[0]: {MAC} is attached to VM web01 with other settings: queues is 1, and the task asks for 2;"
        " mtu is 1500, and the task asks for 9000. Nothing was changed; use on_mismatch: replace to take"
        " it out and attach it as asked"
    )


def test_a_qemu_that_ends_while_the_task_compares(
    differ: list[str], start: Start
) -> None:
    """The kernel removes the taps of its NICs, so their links are gone."""
    differ.append("its link vt0 is not in this network namespace")
    child = start()
    vm = a_vm(nics={MAC: ATTACHED})
    vm._live = vm.live._replace(process=process_of(child))
    with pytest.raises(MismatchError):
        make_plan(vm, [ONE], params())
    child.kill()
    with pytest.raises(
        ProcessError, match=f"the link .* of {MAC} is gone: qemu has ended or crashed"
    ):
        make_plan(vm, [ONE], params())


def test_replace(differ: list[str], looked: list[str]) -> None:
    differ.append("queues is 1, and the task asks for 2")
    vm = a_vm(nics={MAC: ATTACHED}, free_ports=[])
    found = make_plan(vm, [ONE], params(on_mismatch="replace"))
    # The new NIC takes the port of the old NIC.
    assert found.steps == [Step(ONE, "attach", ATTACHED, replace=True)]
    # The check comes before the NIC is taken out, and ignores the NIC's own link.
    assert looked == [ONE.mac, f"-{ATTACHED.ifname}"]


def test_a_replacement_has_only_what_the_nics_before_it_have_freed(
    differ: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run replaces one NIC after the other. If two exchange their links, the first would be lost."""
    differ.append("ifname is tap1, and the task asks for tap0")
    nics = {
        each.mac: dataclasses.replace(ATTACHED, mac=each.mac, devices=[tun(31, dev)])
        for each, dev in ((ONE, "tap0"), (TWO, "tap1"))
    }
    asked: list[tuple[list[str], list[str]]] = []
    monkeypatch.setattr(
        host,
        "check",
        lambda interfaces, leftovers, known: asked.append(
            ([each.ifname for each in interfaces], sorted(leftovers))
        ),
    )
    three = USB._replace(ifname="tap2")
    new = [three, ONE._replace(ifname="tap1"), TWO._replace(ifname="tap0")]
    vm = a_vm(nics=nics)
    make_plan(vm, new, params(on_mismatch="replace"))
    assert asked == [
        (["tap1"], ["tap0"]),
        (["tap0"], ["tap0", "tap1"]),
        # The others come last.
        (["tap2"], ["tap0", "tap1"]),
    ]


@pytest.mark.parametrize("refused", ["source", "ifname", "vhost"])
def test_a_bad_replacement_is_refused_before_the_nic_is_taken_out(
    differ: list[str], monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    differ.append("source is br0, and the task asks for br9")

    def check(interfaces: t.Any, leftovers: t.Any, known: t.Any) -> None:
        raise interfaces[0].error(refused, "cannot be")

    monkeypatch.setattr(host, "check", check)
    with pytest.raises(OptionError, match=refused):
        make_plan(a_vm(nics={MAC: ATTACHED}), [ONE], params(on_mismatch="replace"))


def test_a_usb_nic_gives_no_port_back(differ: list[str]) -> None:
    differ.append("model is usb-net, and the task asks for virtio-net-pci")
    usb = FRONT_END._replace(model="usb-net")
    nic = dataclasses.replace(ATTACHED, front_end=usb)
    vm = a_vm(nics={MAC: nic}, free_ports=[])
    with pytest.raises(OptionError, match="no free PCIe root port for"):
        make_plan(vm, [ONE], params(on_mismatch="replace"))


@pytest.mark.parametrize(
    ("interfaces", "free", "has_ports", "refused"),
    [
        ([ONE, TWO], ["p0", "p1"], True, None),
        ([ONE, TWO], ["p0"], True, TWO),
        ([ONE, TWO], [], True, ONE),
        ([ONE, TWO], [], False, None),
        ([USB], [], True, None),
        ([ONE, USB, TWO], ["p0"], True, TWO),
    ],
)
def test_ports(
    interfaces: list[t.Any], free: list[str], has_ports: bool, refused: t.Any
) -> None:
    vm = a_vm(free_ports=free, has_ports=has_ports)
    if refused is None:
        assert make_plan(vm, interfaces, params()).ports == free
        return
    with pytest.raises(OptionError, match="no free PCIe root port for") as caught:
        make_plan(vm, interfaces, params())
    assert caught.value.option == refused.option
    assert f"has {len(free)} free and the task needs 2" in str(caught.value)


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("owner", ["alive", "replaced", "starting", "cut off"])
def test_a_mac_of_another_vm(
    start: Start, monkeypatch: pytest.MonkeyPatch, running: bool, owner: str
) -> None:
    process = process_of(start())
    note = a_note(name="db01", interfaces={MAC: a_nic_note()})
    if owner in ("alive", "replaced"):
        note.pid = process.pid
        note.start_time = process.start_time - (owner == "replaced")
    monkeypatch.setattr(
        statedir.VmState, "is_locked", lambda state: owner == "starting"
    )
    monkeypatch.setattr(statedir, "other_notes", lambda uuid: [note])
    vm = a_vm(running)
    if owner in ("replaced", "cut off"):
        assert make_plan(vm, [TWO, ONE], params(qemu=QEMU)).changes
        return
    with pytest.raises(OptionError, match=r"another VM has .*: db01") as caught:
        make_plan(vm, [TWO, ONE], params(qemu=QEMU))
    assert caught.value.option == "interfaces[0].mac"


def test_planned_result_and_diff() -> None:
    vm = a_vm(nics={MAC: ATTACHED})
    steps = [Step(ONE, "unchanged", ATTACHED), Step(TWO, "attach")]
    asked = {
        "type": "bridge",
        "source": "br0",
        "ifname": TWO.ifname,
        "queues": 1,
        "network": TWO.network.result(),
    }
    assert planned_result(Plan(steps, None, [])) == [
        {**ATTACHED.result(), "action": "unchanged"},
        {"mac": TWO.mac, **asked, "devices": [], "action": "attached"},
    ]
    diff = make_diff(vm, Plan(steps, None, []))
    assert diff["before"]["interfaces"].keys() == {MAC}
    assert diff["after"]["interfaces"][MAC] == diff["before"]["interfaces"][MAC]
    assert diff["after"]["interfaces"][TWO.mac] == asked
    assert (diff["before"]["running"], diff["after"]["running"]) == (True, True)
    stopped = make_diff(a_vm(running=False), Plan(steps[1:], None, []))
    assert stopped["before"] == {"running": False, "interfaces": {}}


@pytest.mark.usefixtures("differ")
def test_exclusive_detaches_nics_that_the_task_does_not_list() -> None:
    other = dataclasses.replace(ATTACHED, mac=USB.mac)
    vm = a_vm(nics={MAC: ATTACHED, USB.mac: other})
    assert not make_plan(vm, [ONE], params()).changes
    found = make_plan(vm, [ONE], params(exclusive=True))
    assert (found.changes, found.unlisted) == (True, (other,))
    assert [item["action"] for item in planned_result(found)] == [
        "unchanged",
        "detached",
    ]
    diff = make_diff(vm, found)
    assert diff["before"]["interfaces"].keys() == {MAC, USB.mac}
    assert diff["after"]["interfaces"].keys() == {MAC}
    assert not make_plan(a_vm(nics={}), [], params(exclusive=True)).changes


@pytest.mark.usefixtures("differ")
def test_a_nic_whose_host_side_is_closed_is_left_to_its_guest() -> None:
    """The run does not detach such a NIC, because it could only ask a guest that has not answered before."""
    closed = dataclasses.replace(ATTACHED, mac=USB.mac, devices=[])
    alone = dataclasses.replace(closed, mac=TWO.mac, front_end=None)
    vm = a_vm(nics={MAC: ATTACHED, USB.mac: closed})
    found = make_plan(vm, [ONE], params(exclusive=True))
    assert (found.changes, found.unlisted, found.closed) == (False, (), (closed,))
    assert [item["action"] for item in planned_result(found)] == ["unchanged"]
    diff = make_diff(vm, found)
    assert diff["before"] == diff["after"]
    assert make_plan(vm, [ONE], params()).closed == ()
    # The run removes a back end without a guest's side.
    vm = a_vm(nics={MAC: ATTACHED, TWO.mac: alone})
    assert make_plan(vm, [ONE], params(exclusive=True)).unlisted == (alone,)


@pytest.mark.usefixtures("differ")
def test_a_nic_that_needs_no_device_is_only_closed_if_a_task_closed_it() -> None:
    """qemu's user-mode network has no device of the host, so a NIC on it is detached as any other."""
    user = dataclasses.replace(ATTACHED, mac=USB.mac, devices=[], needs_none=True)
    vm = a_vm(nics={MAC: ATTACHED, USB.mac: user})
    found = make_plan(vm, [ONE], params(exclusive=True))
    assert (found.unlisted, found.closed) == ((user,), ())
    # A task has closed it, and the guest still has its side.
    user.note = dataclasses.replace(user.as_note(), phase="revoked", pending=True)
    found = make_plan(vm, [ONE], params(exclusive=True))
    assert (found.unlisted, found.closed) == ((), (user,))


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("mtu", "1500", "1400"),
        ("port_profile", None, "web"),
        ("interface_id", None, UUID),
        ("hwaddr", "02:00:00:00:00:09", "fe:54:00:00:00:01"),
    ],
)
def test_the_diff_of_an_update_that_no_result_shows(
    name: str, before: str | None, after: str
) -> None:
    move = Move(Network("br0", **{name: before}), Network("br0", **{name: after}))
    steps = [Step(ONE, "update", ATTACHED, move=move)]
    diff = make_diff(a_vm(nics={MAC: ATTACHED}), Plan(steps, None, []))
    assert diff["before"]["interfaces"][MAC][name] == before
    assert diff["after"]["interfaces"][MAC][name] == after
    assert diff["before"]["interfaces"][MAC].keys() == {
        *diff["after"]["interfaces"][MAC]
    }


def test_the_diff_of_a_replacement() -> None:
    steps = [Step(ONE._replace(model="e1000"), "attach", ATTACHED, replace=True)]
    diff = make_diff(a_vm(nics={MAC: ATTACHED}), Plan(steps, None, []))
    assert diff["before"]["interfaces"][MAC]["model"] == "virtio-net-pci"
    assert diff["after"]["interfaces"][MAC]["model"] == "e1000"


def test_a_change_in_place_is_preferred(
    differ: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    differ.append("source is br0, and the task asks for br1")
    move = Move(Network("br0"), Network("br1", link="down"))
    monkeypatch.setattr(plan, "move_of", lambda wanted, nic: move)
    checked: list[tuple[t.Any, ...]] = []
    monkeypatch.setattr(host, "check_source", lambda *each: checked.append(each))
    vm = a_vm(nics={MAC: ATTACHED})
    found = make_plan(vm, [ONE], params(on_mismatch="update"))
    # The NIC's own link does not count as another user of the source.
    assert checked == [(ONE, [ATTACHED.ifname])]
    assert found.steps == [Step(ONE, "update", ATTACHED, move=move)]
    assert found.changes
    (result,) = planned_result(found)
    assert (result["action"], result["source"]) == ("updated", "br1")
    assert result["network"]["link"] == "down"
    with pytest.raises(MismatchError, match="on_mismatch: update to change it"):
        make_plan(vm, [ONE], params())


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (Network("br0"), Network("br0", link="down"), False),
        (Network("br0", link="down"), Network("br0"), True),
        (Network("br0"), Network("br0", vlan="42", link="down"), True),
        (Network("br0"), Network("br1"), True),
    ],
)
def test_a_quarantine_needs_nothing_of_the_source(
    differ: list[str],
    monkeypatch: pytest.MonkeyPatch,
    before: Network,
    after: Network,
    refused: bool,
) -> None:
    def refuse(interface: Interface, leftovers: object) -> t.NoReturn:
        raise interface.error("source", "eth0 is down")

    differ.append("link is up, and the task asks for down")
    monkeypatch.setattr(plan, "move_of", lambda wanted, nic: Move(before, after))
    monkeypatch.setattr(host, "check_source", refuse)
    vm = a_vm(nics={MAC: ATTACHED})
    if refused:
        with pytest.raises(OptionError, match="eth0 is down"):
            make_plan(vm, [ONE], params(on_mismatch="update"))
    else:
        found = make_plan(vm, [ONE], params(on_mismatch="update"))
        assert [step.action for step in found.steps] == ["update"]

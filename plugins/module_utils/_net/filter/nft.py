# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Puts the filter of a NIC in place, checks whether it is there, and takes it away.

libnftables (``libnftables(3)``, the Python module ``nftables``) writes the tables with their fixed rules, once a
host. One transaction of its own sets what a NIC may send.
"""

from __future__ import annotations

import functools
import glob
import importlib
import importlib.machinery
import importlib.util
import itertools
import sys
import typing as t

from ..._children import spread
from ..._errors import LinkError
from ..netlink import Order
from . import changes, nfnetlink, table
from .elements import Rights, elements_of
from .ruleset import Family, build, hook_of, words_of

# How many NICs one transaction filters. The kernel acknowledges each order, and the acknowledgements have to fit into the
# memory of a socket. The elements of one set have to fit into one order.
_AT_ONCE = 4

_MISSING = (
    "the Python library nftables is missing on the host, so the task cannot set a filter; install it (Debian: the "
    "package python3-nftables), or use filter: none"
)


def check(family: Family) -> None:
    """Require that this host can set filters. This changes nothing. Raises :class:`LinkError`."""
    if _usable(family) != "whole":
        run("")


def _usable(family: Family) -> table.State:
    """Return the state of a table. Raises :class:`LinkError` if somebody else made the table."""
    state = table.state_of(family)
    if state == "foreign":
        raise LinkError(
            f"the table {words_of(family)} of nftables was not made by this collection; find out what it is for"
            f" ('nft list table {words_of(family)}'), and then remove it ('nft delete table {words_of(family)}')"
        )
    return state


@functools.cache
def check_egress() -> None:
    """Require that the kernel can filter what a macvtap sends. This changes nothing. Raises :class:`LinkError`."""
    try:
        nfnetlink.transact(changes.probe(), dry=True)
    except OSError as exc:
        raise LinkError(
            "this kernel cannot filter what a macvtap sends (that needs Linux 5.16 with CONFIG_NETFILTER_EGRESS):"
            f" {exc.strerror or exc}"
        ) from exc


def put(
    family: Family, ifname: str, rights: Rights, before: Rights | None = None
) -> None:
    """Filter what the NIC behind a link sends, and read the filter back. ``before`` is what the NIC could send until now.

    No frame of the NIC passes unfiltered during the change. Raises :class:`LinkError`.
    """
    if _usable(family) != "whole":
        run(build(family))
    new = [*elements_of(rights)]
    old = () if before is None else elements_of(before)
    gone = table.there(family, [each for each in old if each not in new])
    if before is not None:
        # After a transaction that deletes, the next transaction waits for the kernel. So nothing is written that is
        # there already.
        kept = table.there(family, new)
        new = [each for each in new if each not in kept]
    orders = changes.delete(family, gone) + changes.add(family, new)
    _change(orders + _enter(family, ifname, rights))
    missing = missing_of(family, {ifname: rights})
    if missing:
        raise LinkError(
            f"the filter of {ifname} was put in place, and {missing[ifname]}"
        )


def put_all(family: Family, wanted: t.Mapping[str, Rights]) -> dict[str, LinkError]:
    """Filter what the NICs behind new links send, by link, and read the filters back. Return the errors by link.

    One transaction filters several NICs. If nftables refuses it, or if a part of a filter is missing then, each NIC
    gets a transaction of its own.
    """
    failures: dict[str, LinkError] = {}
    for ifname in _unfiltered(family, wanted):
        try:
            put(family, ifname, wanted[ifname])
        except LinkError as exc:
            failures[ifname] = exc
    return failures


def _unfiltered(family: Family, wanted: t.Mapping[str, Rights]) -> list[str]:
    """Put filters in place together. Return the links whose filters are not whole now."""
    links = [*wanted]
    try:
        if _usable(family) != "whole":
            run(build(family))
        for start in range(0, len(links), _AT_ONCE):
            part = {name: wanted[name] for name in links[start : start + _AT_ONCE]}
            new = [each for rights in part.values() for each in elements_of(rights)]
            orders = changes.add(family, new)
            for ifname, rights in part.items():
                orders += _enter(family, ifname, rights)
            _change(orders)
        return [*missing_of(family, wanted)]
    except LinkError:
        return links


def _enter(family: Family, ifname: str, rights: Rights) -> list[Order]:
    """Return the orders that make the frames of a link enter the table, if they do not yet."""
    if family == "bridge" or table.enters(family, rights.ifindex, ifname):
        return []
    orders: list[Order] = []
    if table.has_hook(family, rights.ifindex):
        orders += changes.delete_hook(family, rights.ifindex)
    return orders + changes.add_hook(family, ifname, rights.ifindex)


def missing_of(family: Family, wanted: t.Mapping[str, Rights]) -> dict[str, str]:
    """Return what is missing of the filters of NICs, by link. A link whose filter is whole is not in the answer.

    Raises :class:`LinkError`.
    """
    state = table.state_of(family)
    if state != "whole":
        words = f"the table {words_of(family)} of nftables is {state}"
        return dict.fromkeys(wanted, words)
    elements = {name: elements_of(rights) for name, rights in wanted.items()}
    found = {*table.there(family, [*itertools.chain(*elements.values())])}
    missing = {}
    for name, rights in wanted.items():
        gone = [each for each in elements[name] if each not in found]
        if family != "bridge" and not table.enters(family, rights.ifindex, name):
            chain = hook_of(rights.ifindex)
            missing[name] = f"the chain {chain} of nftables does not take its frames"
        elif gone:
            words = f"the element {{ {gone[0].text()} }} is not in nftables' set"
            missing[name] = f"{words} {gone[0].set}"
    return missing


def remove(family: Family, rights: Rights) -> None:
    """Remove the parts of a NIC's filter that exist. A missing part is not an error. Raises :class:`LinkError`."""
    if table.state_of(family) in ("missing", "foreign"):
        return
    orders = changes.delete(family, table.there(family, elements_of(rights)))
    if family != "bridge" and table.has_hook(family, rights.ifindex):
        orders += changes.delete_hook(family, rights.ifindex)
    _change(orders)


def run(commands: str) -> None:
    """Let libnftables run commands as one transaction. Raises :class:`LinkError`.

    libnftables ends its process if it cannot open a socket. So a child runs it, and the task goes on.
    """
    try:
        library = _module()
    except ImportError as exc:
        raise LinkError(f"{_MISSING} ({exc})") from exc

    def work(_index: int) -> list[t.Any]:
        code, _output, error = library.Nftables().cmd(commands)
        return [code, error]

    try:
        ((code, error),) = spread(work, 1)
    except OSError as exc:
        raise LinkError(
            f"libnftables did not do its work on the filter: {exc}; it needs file descriptors ('ulimit -n'), memory, and"
            " its library (Debian: the package libnftables1)"
        ) from exc
    if code:
        first = next((line for line in error.splitlines() if line.strip()), "no reason")
        raise LinkError(
            f"nftables refused the filter: {first.replace('Error: ', '', 1)}"
        )


def _module() -> t.Any:
    """Return the module ``nftables``. Distributions install it for their own Python, and it works with any Python.

    Raises :class:`ImportError`.
    """
    try:
        return importlib.import_module("nftables")
    except ImportError:
        spec = importlib.machinery.PathFinder.find_spec(
            "nftables", glob.glob("/usr/lib/python3*/*-packages")
        )
        if spec is None or spec.loader is None:
            raise
        module = importlib.util.module_from_spec(spec)
        sys.modules["nftables"] = module
        spec.loader.exec_module(module)
        return module


def _change(orders: t.Sequence[Order]) -> None:
    if not orders:
        return
    try:
        table.change(orders)
    except OSError as exc:
        raise LinkError(f"nftables refused the filter: {exc.strerror or exc}") from exc

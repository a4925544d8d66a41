# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One interface that a task asks for. Pure."""

from __future__ import annotations

import typing as t

from .._audit.network import Network
from .._errors import OptionError

if t.TYPE_CHECKING:
    from .addresses import IpNetwork
    from .vlan import Vlan

_ALIASES = {"virtio-net": "virtio-net-pci", "e1000-82540em": "e1000"}


class Interface(t.NamedTuple):
    """One NIC that a task asks for.

    ``option`` is its name in messages, such as ``interfaces[0]``. ``mode`` is empty unless the type is ``direct``.
    With ``vdpa``, ``source`` is the device's name, and ``ifname`` is the name of its node. ``filter`` is ``none``,
    ``mac`` or ``address``, and only with ``address`` are there ``addresses``. ``link`` is ``up`` or ``down``.
    """

    option: str
    mac: str
    type: str
    source: str
    mode: str
    model: str
    queues: int
    vhost: str
    ifname: str
    mtu: int | None
    vlan: Vlan | None = None
    filter: str = "none"
    addresses: tuple[IpNetwork, ...] = ()
    isolated: bool = False
    link: str = "up"
    port_profile: str | None = None
    interface_id: str | None = None

    @property
    def network(self) -> Network:
        """Return the network that the task asks for, in the form of records."""
        return Network(
            source=self.source,
            vlan=None if self.vlan is None else str(self.vlan),
            filter=None if self.filter == "none" else self.filter,
            addresses=_text(self.addresses),
            isolated="yes" if self.isolated else None,
            link="down" if self.link == "down" else None,
            mtu=None if self.mtu is None else str(self.mtu),
            port_profile=self.port_profile,
            interface_id=self.interface_id,
        )

    @property
    def is_virtio(self) -> bool:
        """Tell whether the model can use vhost-net and several queues."""
        return self.model.startswith("virtio-net")

    @property
    def qom_type(self) -> str:
        """Return the model's name in a running qemu, which has a second name for some models."""
        return _ALIASES.get(self.model, self.model)

    @property
    def is_pci(self) -> bool:
        """Tell whether the model is a PCI device."""
        return sits_on_pci(self.model)

    def error(self, suboption: str, problem: str) -> OptionError:
        """Return the error for a suboption of this interface."""
        return OptionError(f"{self.option}.{suboption}", problem)


def sits_on_pci(model: str) -> bool:
    """Tell whether a NIC of a model is a PCI device. qemu's other hot-pluggable NICs are USB devices."""
    return not model.startswith("usb-")


def _text(addresses: tuple[IpNetwork, ...]) -> str | None:
    if not addresses:
        return None
    from .addresses import texts

    return ",".join(texts(addresses))

# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The groups of options of which the modules' argument specs are made."""

from __future__ import annotations

import typing as t

from ._audit.mode import MODES

Spec = dict[str, t.Any]

_INTERFACE: Spec = {
    "mac": {"type": "str", "required": True},
    "type": {
        "type": "str",
        "choices": ["bridge", "direct", "openvswitch", "vdpa"],
        "default": "bridge",
    },
    "source": {"type": "str", "required": True},
    "mode": {"type": "str", "choices": ["vepa", "bridge", "private", "passthrough"]},
    "model": {"type": "str", "default": "virtio-net-pci"},
    "queues": {"type": "int", "default": 1},
    "vhost": {"type": "str", "choices": ["auto", "required", "off"], "default": "auto"},
    "ifname": {"type": "str"},
    "mtu": {"type": "int"},
    "vlan": {
        "type": "dict",
        "options": {
            "tag": {"type": "int"},
            "trunk": {"type": "list", "elements": "str"},
            "native": {"type": "int"},
        },
    },
    "filter": {
        "type": "str",
        "choices": ["none", "mac", "address"],
        "default": "none",
    },
    "addresses": {"type": "list", "elements": "str"},
    "isolated": {"type": "bool", "default": False},
    "link": {"type": "str", "choices": ["up", "down"], "default": "up"},
    "port_profile": {"type": "str"},
    "interface_id": {"type": "str"},
}

_QEMU: Spec = {
    "binary": {"type": "str"},
    "machine": {"type": "str", "default": "q35"},
    "accel": {"type": "str", "choices": ["kvm", "tcg"], "default": "kvm"},
    "cpu": {"type": "str"},
    "memory": {"type": "str", "default": "1024"},
    "vcpus": {"type": "int", "default": 1},
    "args": {"type": "list", "elements": "str", "default": []},
    "user": {"type": "str"},
    "paused": {"type": "bool", "default": False},
    "hotplug_ports": {"type": "int", "default": 8},
}


def vm_options(timeout: float) -> Spec:
    """Return the options that name a VM and how to reach it."""
    return {
        "name": {"type": "str", "required": True},
        "uuid": {"type": "str"},
        "qmp_socket": {"type": "path"},
        "timeout": {"type": "float", "default": timeout},
    }


def audit_options() -> Spec:
    """Return the options about records: how much proof they need, and why the task is run."""
    return {
        "audit": {
            "type": "str",
            "choices": [*MODES],
            "default": "required",
        },
        "ticket": {"type": "str"},
    }


def attach_options() -> Spec:
    """Return the options of an attach, without those that name the VM."""
    return {
        "interfaces": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": _INTERFACE,
        },
        "qemu": {"type": "dict", "options": _QEMU},
        "exclusive": {"type": "bool", "default": False},
        "on_mismatch": {
            "type": "str",
            "choices": ["update", "fail", "replace"],
            "default": "update",
        },
    }


def detach_options() -> Spec:
    """Return the options of a detach, without those that name the VM."""
    return {
        "macs": {"type": "list", "elements": "str"},
        "force": {"type": "bool", "default": False},
        "stop_vm": {
            "type": "str",
            "choices": ["never", "shutdown", "destroy"],
            "default": "never",
        },
    }


def audit_info_options() -> Spec:
    """Return the options of reading the trail back."""
    return {
        "name": {"type": "str"},
        "uuid": {"type": "str"},
        "mac": {"type": "str"},
        "logs": {"type": "list", "elements": "path"},
        "since": {"type": "str"},
        "until": {"type": "str"},
        "events": {"type": "bool", "default": False},
        "history": {"type": "bool", "default": False},
        "verify": {"type": "bool", "default": False},
    }

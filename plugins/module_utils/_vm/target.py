# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The VM that a task names."""

from __future__ import annotations

import math
import re
import typing as t
import uuid as uuidlib

from .._audit.mode import Mode
from .._errors import OptionError
from .._text import check_argument, check_text

_MAX_NAME_BYTES = 255
# A day. A longer timeout is a mistake, and the kernel refuses timeouts that are too large.
_MAX_SECONDS = 86400
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
_MACHINE_ID_PATHS = ("/etc/machine-id", "/var/lib/dbus/machine-id")


class Target(t.NamedTuple):
    """What a task says of its VM.

    ``uuid`` and ``qmp_socket`` are ``None`` if the task does not give them, and ``user`` is ``None`` if it does
    not name the user that is to run qemu. ``timeout`` is in seconds.
    """

    name: str
    uuid: str | None
    qmp_socket: str | None
    user: str | None
    audit: Mode
    timeout: float

    @classmethod
    def of(cls, params: t.Mapping[str, t.Any]) -> Target:
        """Check a module's parameters. Raises :class:`OptionError`."""
        timeout = float(params["timeout"])
        if not 0 < timeout < math.inf:
            raise OptionError(
                "timeout", f"{timeout:g} is not a positive number of seconds"
            )
        if timeout > _MAX_SECONDS:
            raise OptionError(
                "timeout", f"{timeout:g} seconds are more than a day ({_MAX_SECONDS})"
            )
        return cls(
            name=parse_name(params["name"]),
            uuid=None if params["uuid"] is None else parse_uuid(params["uuid"]),
            qmp_socket=(
                None
                if params["qmp_socket"] is None
                else check_argument("qmp_socket", params["qmp_socket"])
            ),
            user=(params.get("qemu") or {}).get("user"),
            audit=params["audit"],
            timeout=timeout,
        )


def parse_name(name: str) -> str:
    """Check the option ``name``. qemu can be started with any text as its name."""
    if not name:
        raise OptionError("name", "a VM needs a name")
    return check_text("name", name, _MAX_NAME_BYTES)


def parse_uuid(text: str) -> str:
    """Check the option ``uuid``. Return it in the form of records."""
    try:
        value = uuidlib.UUID(text)
    except ValueError as exc:
        raise OptionError("uuid", f"{text!r} is not a UUID") from exc
    if value.int == 0:
        raise OptionError(
            "uuid", "the UUID of zeros cannot name a VM; give the VM's own UUID"
        )
    return str(value)


def default_uuid(name: str) -> str:
    """Return the UUIDv5 of this host's machine-id(5) and the VM's name."""
    for path in _MACHINE_ID_PATHS:
        try:
            with open(path, encoding="ascii") as handle:
                machine_id = handle.read().strip()
        except (OSError, UnicodeDecodeError):
            continue
        if _MACHINE_ID.fullmatch(machine_id):
            return str(uuidlib.uuid5(uuidlib.UUID(machine_id), name))
    raise OptionError(
        "uuid",
        "this host has no machine id (/etc/machine-id) from which to make a default; give the VM's UUID, or run "
        "systemd-machine-id-setup on the host",
    )


def choose(name: str, given: str | None, reported: t.Mapping[str, str | None]) -> str:
    """Return the UUID of a VM: the given one, the one that its qemu reports, or the default.

    ``reported`` has ``name`` and ``uuid`` of the running qemu. A contradiction is refused, because records
    would name the wrong VM.
    """
    if reported.get("name") not in (None, name):
        raise OptionError(
            "name",
            f"the running VM has the name {reported['name']!r} and not {name!r}",
        )
    running = reported.get("uuid")
    if given is not None and running is not None and given != running:
        raise OptionError(
            "uuid", f"the running VM has the UUID {running} and not {given}"
        )
    return given or running or default_uuid(name)

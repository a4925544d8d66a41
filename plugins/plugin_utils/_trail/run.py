# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who runs what on the controller. Each line of a run's trail says it."""

from __future__ import annotations

import dataclasses
import datetime
import os
import pwd
import socket
import subprocess
import typing as t
import uuid

from .origin import collection_of, inventory_of, job_of, user_of

# The kernel's word for "no login", (uid_t)-1.
_UNSET = 4294967295


@dataclasses.dataclass(frozen=True)
class Told:
    """What somebody told Ansible for a run: extra variables, the sources of the inventory, and the limit."""

    extra_vars: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    inventory: t.Sequence[str] = ()
    limit: str | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a playbook. ``user`` is the owner of the process. ``auid`` is the uid of the login, if there was one."""

    id: str
    began: datetime.datetime
    playbook: str | None
    revision: str | None
    user: str
    auid: int | None
    controller: str
    job: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    collection: t.Mapping[str, str] | None = None
    inventory: t.Mapping[str, t.Any] | None = None

    @classmethod
    def begin(cls, playbook: str | None, told: Told | None = None) -> Run:
        """Look at this process and at the repositories of the playbook and the inventory. This never fails."""
        told, auid = told or Told(), _auid()
        if playbook is not None:
            # An ad-hoc task has a name instead of a file.
            playbook = os.path.abspath(playbook) if os.path.exists(playbook) else None
        return cls(
            id=str(uuid.uuid4()),
            began=datetime.datetime.now(datetime.timezone.utc),
            playbook=playbook,
            revision=None if playbook is None else _revision(playbook),
            user=_user(),
            auid=auid,
            controller=socket.gethostname(),
            job=job_of(told.extra_vars, os.environ, auid),
            collection=collection_of(playbook),
            inventory=inventory_of(told.inventory, told.limit, _revision),
        )

    @property
    def person(self) -> str:
        """Who runs the playbook, if anything says so. Otherwise the user of the process."""
        return user_of(self.job) or self.user

    def fields(self) -> dict[str, t.Any]:
        """Return the members that are the same on each line."""
        playbook: dict[str, t.Any] = {"path": self.playbook, "revision": self.revision}
        if self.collection is not None:
            playbook["collection"] = self.collection
        return {
            "run": {"id": self.id},
            "playbook": playbook,
            "job": self.job,
            "controller": {
                "name": self.controller,
                "user": self.user,
                "auid": self.auid,
            },
        }


def _user() -> str:
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _auid() -> int | None:
    try:
        with open("/proc/self/loginuid", encoding="ascii") as handle:
            auid = int(handle.read())
    except (OSError, ValueError):
        return None
    return None if auid == _UNSET else auid


def _revision(playbook: str) -> str | None:
    """Return the commit of the playbook's repository, with ``-dirty`` if tracked files differ from it."""
    directory = os.path.dirname(playbook)
    command = ["git", "-C", directory, "describe", "--always", "--dirty"]
    command += ["--abbrev=40", "--exclude=*"]
    # GIT_DIR and other variables can name another repository, for example in a git hook.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_")
    }
    # Git must not refresh the index.
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("ascii", "replace").strip() or None

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a run comes from: who started its job, its inventory, and the versions of both. Nothing here fails."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pwd
import re
import stat
import typing as t

_JOB = re.compile(
    r"(?:awx|tower)_(?:parent_)?(?:job|user|schedule|inventory|project|workflow|execution)_\w{1,40}",
    re.ASCII,
)
# The names under which a person may stand, the best one first. AWX names who started a workflow, and not its jobs' users.
_PERSONS = (
    "awx_user_name",
    "tower_user_name",
    "awx_workflow_job_user_name",
    "tower_workflow_job_user_name",
    "login",
)
_LONGEST = 256
# A larger inventory gets no hash, because a run would wait too long for it.
_MOST_BYTES = 64 * 1024 * 1024
_VERSION = re.compile(r"^version:\s*['\"]?([\w.+-]+)", re.MULTILINE | re.ASCII)


def job_of(
    extra_vars: t.Mapping[str, t.Any],
    environment: t.Mapping[str, str],
    auid: int | None,
) -> dict[str, str]:
    """Return what AWX, ansible-runner and the login say about the job, by the names that they use.

    Nothing proves it: somebody who starts a job by hand can also set these variables. Other variables are never taken.
    """
    job = {
        str(name): _short(value)
        for name, value in extra_vars.items()
        if _JOB.fullmatch(str(name)) and isinstance(value, (str, int))
    }
    if environment.get("JOB_ID"):
        job["JOB_ID"] = _short(environment["JOB_ID"])
    # ansible-runner names the directory of a run by its ident.
    artifacts = environment.get("AWX_ISOLATED_DATA_DIR", "")
    if ident := os.path.basename(artifacts.rstrip("/")):
        job["runner_ident"] = _short(ident)
    login = _login(auid) or environment.get("SUDO_USER") or environment.get("LOGNAME")
    if login:
        job["login"] = _short(login)
    return job


def user_of(job: t.Mapping[str, str]) -> str | None:
    """Return the person who started the job, if anything says so."""
    return next((job[name] for name in _PERSONS if job.get(name)), None)


def _short(value: object) -> str:
    return str(value)[:_LONGEST]


def _login(auid: int | None) -> str | None:
    try:
        return None if auid is None else pwd.getpwuid(auid).pw_name
    except (KeyError, OverflowError):
        return None


def inventory_of(
    sources: t.Sequence[str],
    limit: str | None,
    revision: t.Callable[[str], str | None],
) -> dict[str, t.Any]:
    """Return the inventory of a run: its sources, their hash, their commit, and the limit.

    The hash covers the name and the content of each source. A directory counts with all files below it.
    """
    paths = [source if "," in source else os.path.abspath(source) for source in sources]
    first = next((path for path in paths if os.path.exists(path)), None)
    if first is not None and not os.path.isdir(first):
        first = os.path.dirname(first)
    return {
        "sources": paths,
        "limit": limit,
        "hash": _hash(paths),
        "revision": None if first is None else revision(os.path.join(first, "x")),
    }


def _hash(paths: t.Sequence[str]) -> str | None:
    digest, left = hashlib.sha256(), _MOST_BYTES
    try:
        for path in paths:
            digest.update(path.encode("utf-8", "surrogateescape") + b"\0")
            for file in _files(path):
                if not stat.S_ISREG(os.stat(file).st_mode):
                    continue
                with open(file, "rb") as handle:
                    data = handle.read(left + 1)
                left -= len(data)
                if left < 0:
                    return None
                name = os.path.relpath(file, path).encode("utf-8", "surrogateescape")
                digest.update(name + b"\0%d\0" % len(data) + data)
    except OSError:
        return None
    return digest.hexdigest()


def _files(path: str) -> t.Iterator[str]:
    """Return the files of a source. A list of hosts has none. Raises :class:`OSError` if the source cannot be read again."""
    if os.path.isfile(path):
        yield path
        return
    if not os.path.isdir(path):
        if "," in path and not os.path.exists(path):
            return
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    for directory, below, names in os.walk(path, onerror=_fail):
        # Leave out what git or an editor keeps there.
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield os.path.join(directory, name)


def _fail(problem: OSError) -> t.NoReturn:
    raise problem


def collection_of(playbook: str | None) -> dict[str, str] | None:
    """Return the name and version of the collection that a playbook belongs to."""
    if playbook is None:
        return None
    match = re.search(
        r"^(.*/ansible_collections/([^/]+)/([^/]+))/playbooks/",
        os.path.abspath(playbook),
    )
    if match is None:
        return None
    version = _version(match[1])
    name = f"{match[2]}.{match[3]}"
    return None if version is None else {"name": name, "version": version}


def _version(root: str) -> str | None:
    try:
        with open(os.path.join(root, "MANIFEST.json"), encoding="utf-8") as handle:
            return str(json.load(handle)["collection_info"]["version"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    try:
        with open(os.path.join(root, "galaxy.yml"), encoding="utf-8") as handle:
            match = _VERSION.search(handle.read())
    except (OSError, ValueError):
        return None
    return None if match is None else match[1]

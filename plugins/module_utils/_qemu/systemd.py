# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The systemd units of a VM: the scope in which qemu runs, and the companion that records its end.

Sources: ``systemd-run(1)``, ``systemd.unit(5)``, ``sd_booted(3)``.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
import typing as t

from .._errors import ProcessError

# systemd.unit(5): the directory of units that systemd-run made, as long as they are loaded
_TRANSIENT = "/run/systemd/transient"
_STEP_SECONDS = 0.02
_RUN_SECONDS = 30.0
# Longer than the companion waits for a task that works on its VM, plus the time that it needs itself on a
# host under great load.
_STOP_SECONDS = 300
# The characters that need no quotes in a unit.
_PLAIN = re.compile(r"[A-Za-z0-9/._+@:=-]+", re.ASCII)


def runs() -> bool:
    """Tell whether systemd is this host's init."""
    return os.path.isdir("/run/systemd/system")


def scope_of(uuid: str) -> str | None:
    """Return the name of the scope of a VM, or ``None`` without systemd."""
    return f"virtaudit-{uuid}.scope" if runs() else None


def scope_command(scope: str | None) -> list[str]:
    """Return the beginning of a command line that runs in a scope, or nothing without a scope."""
    if scope is None:
        return []
    # A scope inherits fds and the operator's loginuid, and a service would lose both.
    options = ["--slice=machine.slice", f"--unit={scope}"]
    return ["systemd-run", "--scope", "--quiet", "--collect", *options, "--"]


def is_loaded(unit: str) -> bool:
    """Tell whether systemd knows a unit that systemd-run made."""
    return os.path.exists(f"{_TRANSIENT}/{unit}")


def wait_unloaded(scope: str, seconds: float) -> None:
    """Wait until systemd has forgotten the scope of the VM's last run, because the next run has a scope of the
    same name.

    systemd keeps the scope while the companion of that run still works. A scope that stays is not an error
    here, because systemd-run reports it.
    """
    deadline = time.monotonic() + seconds
    while is_loaded(scope) and time.monotonic() < deadline:
        time.sleep(_STEP_SECONDS)


def run_after(scope: str, uuid: str, command: t.Sequence[str]) -> None:
    """Let systemd run a command after a scope has ended for whatever reason.

    The companion is a unit that does nothing until the scope stops, and which systemd then stops, too. Raises
    :class:`ProcessError`.
    """
    awkward = [word for word in command if not _PLAIN.fullmatch(word)]
    if awkward:
        raise ProcessError(f"a systemd unit cannot contain {awkward[0]!r}")
    properties = [
        "Type=oneshot",
        f"BindsTo={scope}",
        # Before= makes systemd stop the companion after the scope. When the host goes down, systemd likewise stops the
        # audit daemon after the companion.
        f"Before={scope}",
        "After=auditd.service",
        f"TimeoutStopSec={_STOP_SECONDS}",
        f"ExecStopPost={' '.join(command)}",
    ]
    options = ["--quiet", "--collect", "--remain-after-exit"]
    options += [f"--unit=virtaudit-{uuid}-gone.service"]
    options += [f"--description=Records the end of VM {uuid}"]
    options += [f"--property={text}" for text in properties]
    companion = ["systemd-run", *options, "--", "true"]
    try:
        subprocess.run(
            companion,
            check=True,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_RUN_SECONDS,
        )
    except subprocess.CalledProcessError as exc:
        raise ProcessError(" ".join(exc.stderr.split()) or str(exc)) from exc
    except (OSError, subprocess.SubprocessError) as exc:
        raise ProcessError(f"systemd-run: {exc}") from exc

# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The border between a module and Ansible. Only this file ends a module."""

from __future__ import annotations

import atexit
import gc
import importlib.util
import os
import signal
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.respawn import (
    has_respawned,
    probe_interpreters_for_module,
    respawn_module,
)

from .._audit.auditor import Auditor
from .._audit.task import parse_ticket
from .._bytecode import finder
from .._errors import VirtauditError
from .result import Report, printable

# The path of the Python for which distributions package pyroute2.
_INTERPRETERS = (
    "/usr/bin/python3",
    "/usr/libexec/platform-python",
    "/usr/bin/python3.11",
    "/usr/bin/python3.9",
)

Run = t.Callable[[t.Mapping[str, t.Any], bool, Report], None]


class HasResult(t.Protocol):
    """An object that grows while a module works, and is its result at the end."""

    def result(self) -> dict[str, t.Any]: ...


def run_module(module: AnsibleModule, run: Run) -> t.NoReturn:
    """Run a module's flow and end the module with its result, or with its error and what was done before it."""
    if os.geteuid() != 0:
        module.fail_json(
            msg="opening network devices and writing audit records needs root; use become: true"
        )
    _require_pyroute2(module)
    # SIGINT ends the task at once, like SIGTERM, and the next task repairs what this one leaves. An exception in the
    # middle would let the contexts do only half of the clean-up.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with Auditor(module.params["audit"]) as auditor:
        report = Report(auditor)

        def run_and_prove() -> None:
            auditor.ticket = parse_ticket(module.params["ticket"])
            run(module.params, module.check_mode, report)
            auditor.prove()

        failure = failure_of(run_and_prove, report)
        # This is also true of a task that fails. What it did must not count as being on record if
        # it is not.
        auditor.prove_anyway()
    end(module, report.result(), failure)


def failure_of(call: t.Callable[[], None], partial: HasResult) -> dict[str, str]:
    """Return the part of the module's result that says what went wrong, or nothing if all went well."""
    try:
        call()
    except VirtauditError as exc:
        exc.partial = partial.result()
        return {"msg": str(exc)}
    except OSError as exc:
        # No helper explained this error. For example, the host may be out of file descriptors.
        return {
            "msg": f"the operating system refused a call of the task: {exc}. Correct the cause, and run the task again"
        }
    except Exception as exc:
        # The result has everything that was done and recorded before the error.
        return {
            "msg": f"an error in this collection, please report it: {type(exc).__name__}: {exc}. The result has what "
            "was done before it, and the next task on this VM finds what this one left",
            "exception": traceback.format_exc(),
        }
    return {}


def end(
    module: AnsibleModule, result: dict[str, t.Any], failure: dict[str, str]
) -> t.NoReturn:
    """End the module with its result, and with its failure if there is one."""
    # When Python ends, it looks for garbage among all objects, unless they are frozen. That takes 10 ms, and all memory
    # is free a moment later anyway.
    gc.freeze()
    # Names of files and VMs may have any bytes, and Ansible accepts only valid UTF-8.
    result, failure = printable(result), printable(failure)
    for warning in result.pop("warnings"):
        module.warn(warning)
    if not module.check_mode:
        _keep_bytecode_at_exit()
    if failure:
        module.fail_json(**failure, **result)
    module.exit_json(**result)


def _keep_bytecode_at_exit() -> None:
    """Keep the bytecode of what had to be compiled, after the result was printed."""
    found = finder()
    if found is not None and found.compiled:
        # The import is here, because Ansible removes its files before the process exits.
        from .._bytecode_keep import keep_bytecode

        atexit.register(keep_bytecode)


def _require_pyroute2(module: AnsibleModule) -> None:
    """Go on under the Python that has pyroute2.

    The code only looks for the library, because its import takes 0.2 s.
    """
    if importlib.util.find_spec("pyroute2") is not None:
        return
    if not has_respawned():
        interpreter = probe_interpreters_for_module(_INTERPRETERS, "pyroute2")
        if interpreter:
            respawn_module(interpreter)
    module.fail_json(
        msg=missing_required_lib("pyroute2", reason="to make taps and macvtaps")
        + " (Debian: apt install python3-pyroute2). Nothing was opened."
    )

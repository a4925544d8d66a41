# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the trail of a whole run on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: audit_trail
type: notification
short_description: Keep the audit trail of a whole fleet on the controller
version_added: 1.0.0
author: virtaudit contributors (@virtaudit)
description:
  - Takes the audit records from the results of M(virtaudit.qemu.vm_net_attach), M(virtaudit.qemu.vm_net_detach) and
    M(virtaudit.qemu.vm_net_audit_info) on all hosts, and appends them to one file for each run of a playbook. Each line
    is a JSON object. It also says who ran what.
  - It takes records of failed tasks, of repeated attempts, of items of loops and of background jobs, too. If records
    may exist that did not come back (the host was unreachable, the task failed without any, C(no_log) hides the
    result), the trail has a line that says so, and the callback repeats it in red at the end of the run.
  - The names of the fields follow the Elastic Common Schema, so that a shipper can send the file as it is. Fields that
    the schema has no name for stand under C(virtaudit). C(docs/audit_trail.schema.json) in the collection is a JSON
    Schema of the line. The callback never writes the arguments of tasks.
  - Each line has a SHA-256 of itself and of the line before it, and the first line that of the run before,
    and of each other run that was still going on when that one began. The playbook C(virtaudit.qemu.trail_verify) checks them
    and names the first line that is not as it was written. There is no key, so who can write the file can also compute new
    hashes; that shows only in the next run's file, or in a copy elsewhere.
  - Findings of M(virtaudit.qemu.vm_net_audit_info) are lines too, with C(event.kind) C(alert), once for each task that returns
    them.
  - When V(events=true) is asked of M(virtaudit.qemu.vm_net_audit_info), what the hosts' logs have is compared with what the
    tasks of this run have sent. Records that did not land are named. An answer that O(virtaudit.qemu.vm_net_audit_info#module:mac),
    O(virtaudit.qemu.vm_net_audit_info#module:until) or O(virtaudit.qemu.vm_net_audit_info#module:logs) narrows, or from which a log
    is missing, can only show that a record landed; so can any answer of a record that was sent after the reading began. Records
    of the logs that the trail does not have yet are written to it.
  - A table of who was granted what ends the run. It goes to stderr, and so does all else that this plugin prints, where
    stdout is no terminal or belongs to a stdout callback that prints JSON.
  - Each line says in C(virtaudit.job) who started the job, as AWX, C(ansible-runner) and the login tell it in extra
    variables (C(awx_user_name), C(awx_job_id), C(tower_user_name) and the like) and in the environment. It is only told.
    The first line has the inventory's sources with a hash, and the limit.
  - At its end a run tells the head of its file to the journal or to syslog (O(anchor)), and signs it (O(sign_key)), so that
    the playbook C(virtaudit.qemu.trail_verify) can find that the newest file was cut, rewritten or removed.
  - A record that an earlier run has in its file is not written again when the log is read back, so that no C(event.id) is
    there twice.
  - The modules get the id of the run in the environment, as C(VIRTAUDIT_RUN).
requirements:
  - enabled by its full name, C(callbacks_enabled = virtaudit.qemu.audit_trail); the short name does nothing
notes:
  - A run without a task of these three modules writes nothing.
  - C(ansible) and C(ansible-console) load it only with C(bin_ansible_callbacks = true) in the section C(defaults) of
    C(ansible.cfg). Without that what they do is in the hosts' logs alone; the playbook C(virtaudit.qemu.trail_reconcile)
    names it. A module cannot warn of that, as it runs on the host and knows nothing of the controller's settings.
  - A task whose C(action) is a template is known only by the module's full name.
  - The file is made with mode 0600, and synchronized to the disk at the end of each play. Ctrl-C, SIGTERM, SIGHUP and an
    error of Ansible's own end it with a closing line that says so. A run that is killed leaves a file that is sound up to its last
    whole line and has no closing line; the next run's file then vouches for it.
options:
  dir:
    description:
      - The directory of the trail. It is made with mode 0700.
      - The callback refuses a directory that is a symbolic link, that belongs to another user, or that others can write
        to. It also refuses one below a directory that all can write to and that has no sticky bit.
    type: path
    default: ~/.local/state/virtaudit/trail
    ini:
      - section: callback_audit_trail
        key: dir
    env:
      - name: VIRTAUDIT_TRAIL_DIR
  on_error:
    description:
      - What to do when the trail cannot be written.
      - With V(warn) the callback says so once, the run goes on, and at the end the callback says how many records are not in the trail.
      - With V(abort) the run ends with status 1 before another task, item of a loop or attempt starts. Tasks that run
        at this moment are ended, too. The next task for their VM repairs what they leave behind.
    type: str
    choices:
      - warn
      - abort
    default: warn
    ini:
      - section: callback_audit_trail
        key: on_error
    env:
      - name: VIRTAUDIT_TRAIL_ON_ERROR
  anchor:
    description:
      - Where to tell the head of the file at the end of the run, as one line with the number of lines, the head, the run's
        id and the file.
      - By default V(journal) where there is one, else V(syslog) where there is one.
    type: str
    choices: [none, syslog, journal]
    ini:
      - section: callback_audit_trail
        key: anchor
    env:
      - name: VIRTAUDIT_TRAIL_ANCHOR
  sign_key:
    description:
      - A key of SSH's to sign the head with, by C(ssh-keygen -Y sign -n virtaudit-trail). The signature is in a file beside
        the trail's, with C(.sig) after its name.
      - A private key, or a public one whose private half C(ssh-agent) or a hardware key has.
    type: path
    ini:
      - section: callback_audit_trail
        key: sign_key
    env:
      - name: VIRTAUDIT_TRAIL_SIGN_KEY
  group:
    description:
      - A group whose members can read the trail, as a shipper that does not run as root. The directory then has mode 0750
        and the files 0640.
      - The user who runs Ansible must be one of them, or root.
    type: str
    ini:
      - section: callback_audit_trail
        key: group
    env:
      - name: VIRTAUDIT_TRAIL_GROUP
  quiet:
    description: Whether to print only what is wrong, without the table and the counts.
    type: bool
    default: false
    ini:
      - section: callback_audit_trail
        key: quiet
    env:
      - name: VIRTAUDIT_TRAIL_QUIET
  rows:
    description:
      - The greatest number of rows of the table. Failures come first.
      - The callback prints at most 50 lines about what is wrong, the worst first, and in any case one for each host
        that has lost records. The file has all of it.
    type: int
    default: 40
    ini:
      - section: callback_audit_trail
        key: rows
    env:
      - name: VIRTAUDIT_TRAIL_ROWS
  progress:
    description:
      - Print a line of progress each time that this number of seconds has passed, for a stdout callback that shows no progress. V(0) prints none.
    type: int
    default: 0
    ini:
      - section: callback_audit_trail
        key: progress
    env:
      - name: VIRTAUDIT_TRAIL_PROGRESS
"""

EXAMPLES = r"""
# ansible.cfg
# [defaults]
# callbacks_enabled = virtaudit.qemu.audit_trail
#
# [callback_audit_trail]
# dir = /srv/audit/trail
# on_error = abort
"""

import os
import signal
import sys
import threading
import time
import typing as t

from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.anchor import (
    AnchorError,
    choose,
    tell,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.breaking_off import (
    BreakingOff,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.chain import (
    Document,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.collector import (
    Collector,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.directory import (
    TrailError,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.heads import (
    HeadError,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.results import (
    ASYNC_STATUS,
    Answer,
    module_of,
    read_answer,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.run import Told
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.signature import (
    write_signature,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.summary import (
    Style,
    wrapped,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.trail import Trail

_RUN = "VIRTAUDIT_RUN"
_COLOURS: dict[Style, str] = {
    "warn": "COLOR_WARN",
    "bad": "COLOR_ERROR",
}


class CallbackModule(CallbackBase):
    """Ansible's hooks, and what is done when the trail cannot be written."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "virtaudit.qemu.audit_trail"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._trail: Trail | None = None
        self._playbook: str | None = None
        self._play: str | None = None
        self._aborted = False
        self._complained = False
        self._told = time.monotonic()
        self._extra_vars: dict[str, t.Any] = {}
        self._breaking_off = BreakingOff(self._broken_off)

    def set_options(
        self, task_keys: t.Any = None, var_options: t.Any = None, direct: t.Any = None
    ) -> None:
        """Read the options. Ansible would only warn of a bad one, and go on without a trail."""
        try:
            super().set_options(task_keys, var_options, direct)
            for option in ("rows", "progress"):
                if self._option(option) < 0:
                    raise AnsibleError(f"{option}: cannot be less than 0")
        except AnsibleError as exc:
            problem = str(exc).rstrip(".")
            self._display.error(f"{self.CALLBACK_NAME}: {problem}. Nothing was run.")
            raise SystemExit(1) from exc

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        """A run begins. Of several playbooks on a command line each is one."""
        self._trail, self._complained = None, False
        self._playbook = getattr(playbook, "_file_name", None)
        if self._option("on_error") == "abort":
            signal.signal(signal.SIGUSR1, _leave)

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        """A play begins."""
        self._end_if_aborted()
        self._play = str(play.get_name())
        manager = play.get_variable_manager()
        self._extra_vars = dict(getattr(manager, "extra_vars", None) or {})
        if self._trail is not None:
            self._guard(self._trail.sync)
            self._trail.collector.play = self._play

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        """A task begins: the last moment to find out that there will be no trail."""
        self._end_if_aborted()
        if module_of(task) not in (None, ASYNC_STATUS):
            self._guard(lambda: _name_run(task, self._opened().run_id))

    def v2_playbook_on_handler_task_start(self, task: t.Any) -> None:
        """As a task."""
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_start(self, host: t.Any, task: t.Any) -> None:
        """A task begins on a host."""
        self._end_if_aborted()

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """A task has ended well."""
        self._take(result, Collector.whole)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        """A task has failed, maybe half way."""
        self._take(result, Collector.whole)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        """A host was lost."""
        self._take(result, Collector.whole)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        """A task was not run."""
        self._take(result, Collector.skipped)

    def v2_runner_retry(self, result: t.Any) -> None:
        """A task has failed and is going to be repeated."""
        self._take(result, Collector.attempt)

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        """An item of a loop has ended well."""
        self._take(result, Collector.item)

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        """An item of a loop has failed."""
        self._take(result, Collector.item)

    def v2_runner_item_on_skipped(self, result: t.Any) -> None:
        """An item of a loop was skipped."""
        self._take(result, Collector.skipped_item)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        """The run has ended."""
        self._finish(None)

    def _finish(self, broken_off: str | None) -> None:
        """Close the trail, tell its head elsewhere, and print what it has."""
        trail, self._trail = self._trail, None
        if trail is None:
            return
        self._guard(lambda: trail.close(broken_off))
        self._prove(trail)
        width = _width(self._stream())
        styled = wrapped(trail.problems(), width)
        if not self._option("quiet"):
            styled = [("AUDIT TRAIL", "plain"), *styled, *trail.table(width)]
            styled += wrapped(trail.counts(), width)
        for text, style in styled:
            self._print(text, _colour(style))

    def _prove(self, trail: Trail) -> None:
        head = trail.head()
        if head is None:
            return
        try:
            tell(choose(self._option("anchor")), head)
            if key := self._option("sign_key"):
                write_signature(head, str(key), self._option("group"))
        except (AnchorError, HeadError) as exc:
            self._display.error(f"{self.CALLBACK_NAME}: {head.file}: {exc}")

    def _broken_off(self, reason: str) -> None:
        self._aborted = False
        self._finish(reason)

    def _stream(self) -> t.TextIO:
        """Return where to print: stdout is the stdout callback's, but people at a terminal find the table there."""
        prints_json = "json" in str(constants.DEFAULT_STDOUT_CALLBACK).lower()
        return sys.stdout if sys.stdout.isatty() and not prints_json else sys.stderr

    def _print(self, text: str, colour: str | None = None) -> None:
        to_stderr = self._stream() is sys.stderr
        if to_stderr:
            # Where both go to one place, what was printed before stands before.
            sys.stdout.flush()
        self._display.display(text, color=colour, stderr=to_stderr)

    def _option(self, name: str) -> t.Any:
        return self.get_option(name)

    def _opened(self) -> Trail:
        if self._trail is None:
            trail = self._trail = Trail(
                self._playbook, self._option("rows"), self._told_of()
            )
            trail.collector.play = self._play
            group = self._option("group")
            self._guard(lambda: trail.open(self._option("dir"), group))
            self._breaking_off.watch()
        return self._trail

    def _told_of(self) -> Told:
        sources = context.CLIARGS.get("inventory") or constants.DEFAULT_HOST_LIST
        limit = context.CLIARGS.get("subset")
        return Told(
            extra_vars=self._extra_vars,
            inventory=[str(source) for source in sources],
            limit=None if limit is None else str(limit),
        )

    def _take(
        self, result: t.Any, take: t.Callable[[Collector, Answer], list[Document]]
    ) -> None:
        self._end_if_aborted()
        self._guard(lambda: self._write(result, take))

    def _write(
        self, result: t.Any, take: t.Callable[[Collector, Answer], list[Document]]
    ) -> None:
        answer = read_answer(result)
        # A background job whose beginning was not seen is none of ours.
        if answer is None or (
            self._trail is None and answer.task.module == ASYNC_STATUS
        ):
            return
        trail = self._opened()
        trail.write(take(trail.collector, answer))
        pause = self._option("progress")
        if pause and time.monotonic() - self._told >= pause:
            self._told = time.monotonic()
            hosts = len(trail.collector.machines)
            self._print(f"audit trail: {trail.records} records of {hosts} hosts so far")

    def _guard(self, call: t.Callable[[], object]) -> None:
        """Call, and be loud about what goes wrong: of an exception Ansible would make one warning more."""
        problem = None
        with self._breaking_off.held_off():
            try:
                call()
            except TrailError as exc:
                problem = str(exc)
            except Exception as exc:
                # Whatever it is, records may be lost by it.
                problem = f"{type(exc).__name__}: {exc}"
                if self._trail is not None and self._trail.failure is None:
                    self._trail.failure = problem
        if problem is not None:
            self._complain(problem)

    def _complain(self, problem: str) -> None:
        if not self._complained:
            self._complained = True
            abort = self._option("on_error") == "abort"
            effect = (
                "The run ends here (on_error: abort)"
                if abort
                else "The run goes on without it (on_error: warn)"
            )
            self._display.error(f"THE AUDIT TRAIL CANNOT BE KEPT: {problem}. {effect}.")
            self._aborted = abort
        self._end_if_aborted()

    def _end_if_aborted(self) -> None:
        if not self._aborted:
            return
        if threading.current_thread() is threading.main_thread():
            _leave()
        # Ansible calls for items of loops from a thread of its own, which an exit would end alone.
        os.kill(os.getpid(), signal.SIGUSR1)


def _name_run(task: t.Any, run: str) -> None:
    """Have the modules of a task know the run, by the environment: the callback cannot add to their arguments."""
    own = getattr(task, "_environment", None)
    task._environment = [*(own if isinstance(own, list) else []), {_RUN: run}]


def _leave(*_signal: object) -> t.NoReturn:
    """End the run, from the main thread."""
    # Once: a second exit would break off what Ansible does on its way out.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # Ansible would let workers go on for half a second, in which one can begin the next item. To end them here would hang
    # it: one that is just sending a result holds the lock of the queue to which Ansible still has to write.
    constants.WORKER_SHUTDOWN_POLL_COUNT = 0
    raise SystemExit(1)


def _colour(style: Style) -> str | None:
    name = _COLOURS.get(style)
    return None if name is None else str(constants.config.get_config_value(name))


def _width(stream: t.TextIO) -> int | None:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return None

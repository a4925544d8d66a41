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
    M(virtaudit.qemu.vm_net_audit_info) on all hosts. It appends them to one file for each run of a playbook. Each line of the
    file is a JSON object, and also says who ran what.
  - It also takes the records of failed tasks, of repeated attempts, of items of loops and of background jobs. Sometimes
    records may exist that did not come back, because the host was unreachable, because the task failed and returned none, or
    because C(no_log) hides the result. Then a line of the trail says so, and the callback repeats it in red at the end of the
    run.
  - The names of the fields follow the Elastic Common Schema, so a shipper can send the file without a change. Fields that the
    schema has no name for stand under C(virtaudit). C(docs/audit_trail.schema.json) in the collection is a JSON Schema of the
    line. The callback never writes the arguments of tasks.
  - Each line has a SHA-256 of itself and of the line before it. The first line has the hash of the last line of the run
    before, and of each other run that was still going on when that run began. The playbook C(virtaudit.qemu.trail_verify) checks
    them and names the first wrong line. The hashes have no key, so somebody who can write the file can also compute
    new hashes. Only the file of the next run, or a copy elsewhere, shows that.
  - Each finding of M(virtaudit.qemu.vm_net_audit_info) is a line too, with C(event.kind) C(alert). A task that returns a
    finding again writes it again.
  - If a task asks M(virtaudit.qemu.vm_net_audit_info) for V(events=true), the callback compares the hosts' logs with the
    records that the tasks of this run have sent. It names the records that are not in the logs. Not every answer proves
    that a record is missing. O(virtaudit.qemu.vm_net_audit_info#module:mac), O(virtaudit.qemu.vm_net_audit_info#module:until)
    and O(virtaudit.qemu.vm_net_audit_info#module:logs) narrow an answer, a log can be unreadable, and a record can be younger
    than the reading. Such an answer can only prove that a record is there. An answer about one VM, without
    O(virtaudit.qemu.vm_net_audit_info#module:since), can say only of the last run of this VM that a record is missing. The
    callback writes records of the logs that the trail does not have yet.
  - At the end of the run the callback prints a table of who was granted what. It prints to stderr if stdout is no terminal, or
    if stdout belongs to a stdout callback that prints JSON. This is so for everything that it prints.
  - C(virtaudit.job) of each line says who started the job, as AWX, C(ansible-runner) and the login tell it. They tell it
    in extra variables (C(awx_user_name), C(awx_job_id), C(tower_user_name) and others) and in the environment. Nothing proves
    that this is true. The first line has the sources of the inventory with a hash, and the limit.
  - At its end a run sends the head of its file to the journal or to syslog (O(anchor)), and signs it (O(sign_key)). With
    that, the playbook C(virtaudit.qemu.trail_verify) finds out if somebody cut, rewrote or removed the newest file.
  - If the file of an earlier run has a record, a later run does not write it again when it reads the log back. So no
    C(event.id) is there twice, unless the two runs went on at the same time.
  - The callback gives the id of the run to the modules, as C(VIRTAUDIT_RUN) in the environment.
requirements:
  - You enable the callback by its full name, C(callbacks_enabled = virtaudit.qemu.audit_trail). The short name does nothing.
notes:
  - A run without a task of these three modules, or of M(virtaudit.qemu.audit_report_read), writes nothing.
  - C(ansible) and C(ansible-console) load the callback only with C(bin_ansible_callbacks = true) in the section C(defaults) of
    C(ansible.cfg). Without it, the records of their tasks are only in the hosts' logs, and the playbook
    C(virtaudit.qemu.trail_reconcile) names them. A module cannot warn of that, because it runs on the host and does not know
    the settings of the controller.
  - If the C(action) of a task is a template, the callback knows the module only by its full name.
  - The file has mode 0600. The callback synchronizes it to the disk at the end of each play. After Ctrl-C, SIGTERM, SIGHUP or an
    error of Ansible's own, the file ends with a closing line that says so. A run that is killed leaves a file without a
    closing line. Its whole lines are sound, and the file of the next run vouches for them.
options:
  dir:
    description:
      - The directory of the trail. The callback makes it with mode 0700.
      - The callback refuses a directory that is a symbolic link, that belongs to another user, or that others can write
        to. It also refuses a directory below a directory without a sticky bit that everybody can write to.
    type: path
    default: ~/.local/state/virtaudit/trail
    ini:
      - section: callback_audit_trail
        key: dir
    env:
      - name: VIRTAUDIT_TRAIL_DIR
  on_error:
    description:
      - What the callback does when it cannot write the trail.
      - With V(warn) it says so once, and the run goes on. At the end it says how many records are not in the trail.
      - With V(abort) the run ends with status 1 before another task, item of a loop or attempt starts. Tasks that run
        at this moment end too. The next task for their VM repairs what they leave behind.
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
      - Where the callback sends the head of the file at the end of the run. It sends one line with the number of lines, the
        head, the run's id and the path of the file.
      - The default is V(journal) if the controller has a journal, and otherwise V(syslog) if the controller has syslog.
    type: str
    version_added: 1.1.0
    choices: [none, syslog, journal]
    ini:
      - section: callback_audit_trail
        key: anchor
    env:
      - name: VIRTAUDIT_TRAIL_ANCHOR
  sign_key:
    description:
      - The callback signs the head with this SSH key, by C(ssh-keygen -Y sign -n virtaudit-trail). The signature is in a file
        beside the trail's file. Its name has C(.sig) at the end.
      - Give the file of a private key. You can also give the file of a public key if C(ssh-agent) or a hardware key has the
        private one.
    type: path
    version_added: 1.1.0
    ini:
      - section: callback_audit_trail
        key: sign_key
    env:
      - name: VIRTAUDIT_TRAIL_SIGN_KEY
  group:
    description:
      - The members of this group can read the trail, for example a shipper that does not run as root. The directory then has
        mode 0750, and the files have mode 0640.
      - The user who runs Ansible must be a member of the group, or root.
    type: str
    version_added: 1.1.0
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
      - The callback prints at most 50 lines about what is wrong, the worst first. It always prints a line for each host
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
      - If your stdout callback shows no progress, give a number of seconds. The callback then prints a line each time that
        this number of seconds has passed. V(0) prints none.
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

import time
import typing as t

from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase
from ansible.utils.sentinel import Sentinel

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.anchor import (
    AnchorError,
    choose,
    tell,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.breaking_off import (
    BreakingOff,
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
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.line import (
    Document,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.on_error import (
    OnError,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.output import (
    Output,
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
    wrapped,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.trail import Trail

_RUN = "VIRTAUDIT_RUN"


class CallbackModule(CallbackBase):
    """Takes the results from Ansible's hooks, and writes the trail of each run."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "virtaudit.qemu.audit_trail"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._trail: Trail | None = None
        self._playbook: str | None = None
        self._play: str | None = None
        self._told = time.monotonic()
        self._extra_vars: dict[str, t.Any] = {}
        self._output = Output(self._display)
        self._on_error = OnError(self._display)
        self._breaking_off = BreakingOff(self._broken_off)

    def set_options(
        self, task_keys: t.Any = None, var_options: t.Any = None, direct: t.Any = None
    ) -> None:
        """Read the options, and end if one is bad. Ansible would only warn and go on without a trail."""
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
        """A run begins. If a command line names several playbooks, each of them is a run."""
        self._trail = None
        self._playbook = getattr(playbook, "_file_name", None)
        self._on_error.begin(self._option("on_error") == "abort")

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        """A play begins."""
        self._on_error.end_if_aborted()
        self._play = str(play.get_name())
        manager = play.get_variable_manager()
        self._extra_vars = dict(getattr(manager, "extra_vars", None) or {})
        if self._trail is not None:
            self._guard(self._trail.sync)
            self._trail.collector.play = self._play

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        """A task begins. This is the last moment to find out that the trail cannot be written."""
        self._on_error.end_if_aborted()
        if module_of(task) not in (None, ASYNC_STATUS):
            self._guard(lambda: _name_run(task, self._opened().run_id))

    def v2_playbook_on_handler_task_start(self, task: t.Any) -> None:
        """A handler begins, which is a task too."""
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_start(self, host: t.Any, task: t.Any) -> None:
        """A task begins on a host."""
        self._on_error.end_if_aborted()

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """A task has succeeded."""
        self._take(result, Collector.whole)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        """A task has failed. It may have done a part of its work."""
        self._take(result, Collector.whole)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        """A host could not be reached, or was lost."""
        self._take(result, Collector.whole)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        """A task was skipped."""
        self._take(result, Collector.skipped)

    def v2_runner_retry(self, result: t.Any) -> None:
        """A task has failed, and Ansible will repeat it."""
        self._take(result, Collector.attempt)

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        """An item of a loop has succeeded."""
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
        """Close the trail, send its head elsewhere, and print what the run has to say."""
        trail, self._trail = self._trail, None
        if trail is None:
            return
        self._guard(lambda: trail.close(broken_off))
        self._prove(trail)
        width = self._output.width()
        styled = wrapped(trail.problems(), width)
        if not self._option("quiet"):
            styled = [("AUDIT TRAIL", "plain"), *styled, *trail.table(width)]
            styled += wrapped(trail.counts(), width)
        for text, style in styled:
            self._output.print(text, style)

    def _prove(self, trail: Trail) -> None:
        """Send the head elsewhere, and sign it. If one of these fails, the other is still done."""
        head = trail.head()
        if head is None:
            return
        try:
            tell(choose(self._option("anchor")), head)
        except AnchorError as exc:
            self._display.error(f"{self.CALLBACK_NAME}: {head.file}: {exc}")
        if key := self._option("sign_key"):
            try:
                write_signature(head, str(key), self._option("group"))
            except HeadError as exc:
                self._display.error(f"{self.CALLBACK_NAME}: {head.file}: {exc}")

    def _broken_off(self, reason: str) -> None:
        self._on_error.forget()
        self._finish(reason)

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
        self._on_error.end_if_aborted()
        self._guard(lambda: self._write(result, take))

    def _write(
        self, result: t.Any, take: t.Callable[[Collector, Answer], list[Document]]
    ) -> None:
        answer = read_answer(result)
        # If no task of ours began a background job, the job is of another module.
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
            self._output.print(
                f"audit trail: {trail.records} records of {hosts} hosts so far"
            )

    def _guard(self, call: t.Callable[[], object]) -> None:
        """Call, and say loudly what goes wrong. Ansible would only print one more warning."""
        problem = None
        with self._breaking_off.held_off():
            try:
                call()
            except TrailError as exc:
                problem = str(exc)
            except Exception as exc:
                # Records may be lost, whatever it is.
                problem = f"{type(exc).__name__}: {exc}"
                if self._trail is not None and self._trail.failure is None:
                    self._trail.failure = problem
        if problem is not None:
            self._on_error.complain(problem)


def _name_run(task: t.Any, run: str) -> None:
    """Tell the modules of a task the run's id in their environment, because the callback cannot add to their arguments.

    Ansible has not evaluated the task yet, so its own environment is a dictionary, a template or a list of them.
    """
    own = getattr(task, "_environment", Sentinel)
    if own is None or own is Sentinel:
        own = []
    named = {_RUN: run}
    own = own if isinstance(own, list) else [own]
    # Ansible announces one task again for each host of the strategy free, and one handler each time that it is notified.
    if own[-1:] != [named]:
        task._environment = [*own, named]

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The base of the actions that make something of the hosts' answers on the controller."""

from __future__ import annotations

import abc
import typing as t
from pathlib import Path

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ...module_utils._errors import OptionError
from .answers import answers_directory, forget_answers

_HOSTS = {"type": "list", "elements": "str", "required": True}


class ControllerAction(ActionBase, abc.ABC):  # type: ignore[misc]
    """An action without a connection. In check mode it only checks its options.

    ``PREFIX`` is the beginning of the names of the playbook's variables. ``SHORT`` has the options whose variable has no
    such beginning. ``SPEC`` has all options except ``hosts``.
    """

    TRANSFERS_FILES = False
    PREFIX: str
    SHORT: t.Collection[str] = ()
    SPEC: t.Mapping[str, t.Any]

    def run(
        self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None
    ) -> dict[str, t.Any]:
        """Check the options, do the work, and remove the answers."""
        super().run(tmp, task_vars)
        spec = {"hosts": _HOSTS, **self.SPEC}
        _validation, options = self.validate_argument_spec(argument_spec=spec)
        hosts = [str(host) for host in options["hosts"]]
        answers = answers_directory(str(constants.DEFAULT_LOCAL_TMP))
        try:
            if not hosts:
                raise OptionError("hosts", "is empty, so there is nothing to report on")
            return self.make(options, hosts, answers, bool(self._task.check_mode))
        except OptionError as exc:
            # With a cause, Ansible would print the text twice.
            variable = str(exc) if exc.option in self.SHORT else f"{self.PREFIX}_{exc}"
            raise AnsibleActionFail(f"{variable}. Nothing was written") from None
        except OSError as exc:
            raise AnsibleActionFail(
                f"{self.PREFIX}: it cannot be written: {exc}"
            ) from None
        finally:
            if not self._task.check_mode:
                forget_answers(answers, hosts)

    @abc.abstractmethod
    def make(
        self,
        options: t.Mapping[str, t.Any],
        hosts: list[str],
        answers: Path,
        check_mode: bool,
    ) -> dict[str, t.Any]:
        """Check the options, and do the work unless it is check mode. Raises :class:`OptionError` and :class:`OSError`."""

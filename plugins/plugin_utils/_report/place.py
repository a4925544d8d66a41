# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths on the controller, as a person at the command line means them."""

from __future__ import annotations

import os

from ...module_utils._errors import OptionError


def absolute(option: str, path: str) -> str:
    """Return an absolute path. A relative path begins where somebody started ansible-playbook.

    Raises :class:`OptionError` if nobody knows where that was. A task itself runs in the directory of its playbook.
    """
    if path == "~" or path.startswith("~/"):
        home = os.environ.get("HOME")
        if not home:
            raise OptionError(
                option, f"{path} needs HOME in the environment; give an absolute path"
            )
        path = home + path[1:]
    here = os.environ.get("PWD", "")
    if not os.path.isabs(path) and not os.path.isabs(here):
        raise OptionError(
            option,
            f"{path} is relative, and the environment has no PWD that says where it begins; give an absolute path",
        )
    return os.path.normpath(os.path.join(here, path))

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints what a run has to say at its end, to the right stream and in Ansible's colours."""

from __future__ import annotations

import os
import sys
import typing as t

from ansible import constants

from .summary import Style

_COLOURS: dict[Style, str] = {
    "warn": "COLOR_WARN",
    "bad": "COLOR_ERROR",
}


class Output:
    """Prints to stdout where a person reads it there. Otherwise stdout belongs to the stdout callback."""

    def __init__(self, display: t.Any) -> None:
        self._display = display

    def print(self, text: str, style: Style = "plain") -> None:
        """Print a line."""
        to_stderr = _stream() is sys.stderr
        if to_stderr:
            # If both streams go to one place, the lines stand there in the order in which they were printed.
            sys.stdout.flush()
        self._display.display(text, color=_colour(style), stderr=to_stderr)

    def width(self) -> int | None:
        """Return how many columns the terminal has, or ``None`` if the stream is no terminal."""
        try:
            return os.get_terminal_size(_stream().fileno()).columns
        except (OSError, ValueError):
            return None


def _stream() -> t.TextIO:
    prints_json = "json" in str(constants.DEFAULT_STDOUT_CALLBACK).lower()
    return sys.stdout if sys.stdout.isatty() and not prints_json else sys.stderr


def _colour(style: Style) -> str | None:
    name = _COLOURS.get(style)
    return None if name is None else str(constants.config.get_config_value(name))

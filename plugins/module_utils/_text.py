# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the text of an option that goes into records or to the kernel unchanged. Pure."""

from __future__ import annotations

import os

from ._errors import OptionError


def check_text(option: str, text: str, most: int) -> str:
    """Return the value of an option that may be any text without a NUL byte, of at most ``most`` bytes of UTF-8.

    If a text could end or forge a field of a record, the record has it in hex. Raises :class:`OptionError`.
    """
    what = option.rpartition(".")[2]
    if "\0" in text:
        raise OptionError(option, f"a {what} cannot hold a NUL byte")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as exc:
        raise OptionError(
            option, f"{text!r} is not a text that UTF-8 can encode"
        ) from exc
    if size > most:
        raise OptionError(
            option,
            f"the {what} has {size} bytes; at most {most} fit into a record",
        )
    return text


def check_argument(option: str, text: str) -> str:
    """Return a path or an argument of a program, which can have any bytes. Raises :class:`OptionError`."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError as exc:
        raise OptionError(
            option, f"{text!r} is not a text that UTF-8 can encode"
        ) from exc
    return text

# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text of an option that goes into records as it is. Pure."""

from __future__ import annotations

from ._errors import OptionError


def check_text(option: str, text: str, most: int) -> str:
    """Return the value of an option that may be any text without a NUL byte, of ``most`` bytes of UTF-8 at most.

    Records carry in hex what could end or forge one of their fields. Raises :class:`OptionError`.
    """
    if "\0" in text:
        raise OptionError(option, f"a {option} cannot hold a NUL byte")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as exc:
        raise OptionError(option, f"{text!r} is no text that UTF-8 can hold") from exc
    if size > most:
        raise OptionError(
            option,
            f"the {option} has {size} bytes; at most {most} fit into a record",
        )
    return text

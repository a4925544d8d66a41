# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reduces a message to its first words, in the form of the troubleshooting page."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Stands for a part that is known only when the message is raised: a name, a number, the kernel's
# reason. The page has "..." for it.
ANY = "\0"
_LONGEST = 110


@dataclass(frozen=True, order=True)
class Found:
    """A message, and the place that raises it."""

    text: str
    path: str
    line: int


def first_words(template: str) -> str | None:
    """Return the first sentence of a message, cut at a word, or ``None`` if it has no words of its own."""
    text = re.sub(f"{ANY}(?:[.]?{ANY})+", ANY, " ".join(template.split()))
    # Remove an earlier failure in front of it.
    text = re.sub(f"^{ANY}(?=[A-Z])", "", text)
    text = re.split(r"[.;](?: |$)", text, maxsplit=1)[0]
    if len(text) > _LONGEST:
        text = text[:_LONGEST].rsplit(" ", 1)[0]
    text = re.sub(f"(?:[\\s:,(]|(?<=[:,(] ){ANY})+$", "", text)
    # This is a part of a message, or a message that other code makes.
    if text.startswith((f"{ANY},", f"{ANY} Nothing was")):
        return None
    if len(re.findall(r"(?<![\w./])[A-Za-z_'-]{2,}", text)) < 2:
        return None
    return text.replace(ANY, "...")

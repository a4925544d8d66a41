# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text that may come from outside: names of VMs, paths, and texts with which somebody hopes to forge a record."""

from __future__ import annotations

import os

from hypothesis import strategies as st

_FORGERIES = [
    "'",
    '"',
    " ",
    "=",
    "?",
    ",",
    "%s",
    "\n",
    "\r",
    "\t",
    "\x1d",
    "\x7f",
    "uuid=00000000-0000-0000-0000-00000000dead",
    " uuid=00000000-0000-0000-0000-00000000dead ",
    "vm=",
    " res=success",
    "msg='",
    "' res=success",
    "41",
    "DEAD",
    "\u00e9",
    "\u2028",
    "\udcff",
    "/dev/net/tun",
]

# All texts that os.fsdecode can make, including surrogates for lone bytes.
_file_names = st.binary(max_size=40).map(
    lambda data: os.fsdecode(data.replace(b"\0", b""))
)
_unicode = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_forged = st.lists(st.sampled_from(_FORGERIES), max_size=8).map("".join)

outside_text = st.one_of(_unicode, _forged, _file_names)

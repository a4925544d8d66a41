# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a report, and puts it in the place of the last one when it is whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from .report import PAGES, Outcome, Report, Request

_FILE_MODE = 0o640
_DIRECTORY_MODE = 0o750


def write_report(request: Request) -> Outcome:
    """Make the report beside the last one, and then put it in the place of the last one.

    Raises :class:`OptionError` and :class:`OSError`.
    """
    made = not request.directory.is_dir()
    request.directory.mkdir(parents=True, exist_ok=True)
    if made:
        request.directory.chmod(_DIRECTORY_MODE)
    work = Path(tempfile.mkdtemp(prefix=".audit-report-", dir=request.directory))
    try:
        outcome = Report(request, work).make()
        _put(work, request.directory, outcome)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return outcome


def _put(work: Path, directory: Path, outcome: Outcome) -> None:
    # The pages of the hosts come first. The links of the old index then still lead to pages of the same hosts.
    pages, old = work / PAGES, directory / PAGES
    if old.is_dir() and not old.is_symlink():
        os.replace(old, work / "old")
    if pages.is_dir():
        pages.chmod(_DIRECTORY_MODE)
        for page in pages.iterdir():
            page.chmod(_FILE_MODE)
        os.replace(pages, old)
    for name in outcome.files:
        path = work / name
        path.chmod(_FILE_MODE)
        os.replace(path, directory / name)

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One start of a VM by libvirt in every form. The module reads a form, or refuses it and says why."""

from __future__ import annotations

import bz2
import gzip
import html
import io
import json
import lzma
import re
import tarfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import LogError
from ansible_collections.virtaudit.qemu.tests.unit.plugins.module_utils._flow.test_cases import (
    LOGS,
    ask,
)

LINES = (LOGS / "base" / "audit.log").read_text().splitlines()
RAW = "".join(f"{line}\n" for line in LINES)
ENRICHED = [f'{line}\x1dUID="root" AUID="unset"' for line in LINES]
NUMBERS = {"VIRT_CONTROL": 2500, "VIRT_RESOURCE": 2501, "VIRT_MACHINE_ID": 2502}
UUID = "7d9e20d7-3970-4e9b-8a5c-000000000001"
MAC = "52:54:00:aa:00:01"
SHORT = "May 12 12:47:59 hv1 "
WEB01: tuple[object, ...] = ([("web01", 2)], [("web01", "running")], [])
STOP = (
    "type=VIRT_CONTROL msg=audit(1715511000.100:400): pid=1661 uid=0 auid=4294967295 ses=4294967295 msg='virt=kvm op=stop"
    ' reason=shutdown vm="web01" uuid=7d9e20d7-3970-4e9b-8a5c-000000000001 vm-pid=0 exe="/usr/sbin/libvirtd" hostname=?'
    " addr=? terminal=? res=success'\n"
)


class Parts(t.NamedTuple):
    """The parts of a line: its type, its seconds, milliseconds and number, and the rest."""

    type: str
    seconds: str
    part: str
    number: str
    body: str


def parts(line: str) -> Parts:
    found = re.match(r"type=(\S+) msg=audit\((\d+)\.(\d+):(\d+)\): (.*)", line)
    assert found is not None
    return Parts(*found.groups())


def each(make: t.Callable[[Parts], str], lines: t.Sequence[str] = LINES) -> str:
    return "".join(f"{make(parts(line))}\n" for line in lines)


def before(text: str, lines: t.Sequence[str] = LINES) -> str:
    return "".join(f"{text}{line}\n" for line in lines)


def entry(line: Parts, **changes: t.Any) -> dict[str, t.Any]:
    fields = {
        "__CURSOR": f"s=1;i={line.number}",
        "__REALTIME_TIMESTAMP": f"{line.seconds}{line.part}123",
        "_TRANSPORT": "audit",
        "_HOSTNAME": "hv1",
        "_AUDIT_TYPE_NAME": line.type,
        "_AUDIT_ID": line.number,
        "MESSAGE": f"{line.type} {line.body}",
        **changes,
    }
    return {key: value for key, value in fields.items() if value is not None}


def export(line: Parts) -> str:
    return "".join(f"{key}={value}\n" for key, value in entry(line).items())


def kernels(line: Parts) -> str:
    return f"type={NUMBERS[line.type]} audit({line.seconds}.{line.part}:{line.number}): {line.body}"


def kernel_entry(line: Parts) -> str:
    return f"SYSLOG_IDENTIFIER=kernel\n_TRANSPORT=kernel\n__REALTIME_TIMESTAMP=1\nMESSAGE=audit: {kernels(line)}\n"


READ: dict[str, str | bytes] = {
    "syslog with a priority": before(
        "<134>May 12 12:47:59 hv1.example.com audispd[771]: "
    ),
    "syslog with a node": before("May  2 12:47:59 10.0.0.7 audisp-syslog: node=hv1 "),
    "syslog with ISO times": before("2024-05-12T12:47:59.123456+02:00 hv1 audispd: "),
    "syslog without a tag": before(SHORT),
    "syslog with CR LF": before(f"{SHORT}audispd: ", ENRICHED).replace("\n", "\r\n"),
    "syslog, 0x1D as #035": before(f"{SHORT}audispd: ", ENRICHED).replace(
        "\x1d", "#035"
    ),
    "RFC 5424 without a time": before("<14>1 - hv1 audispd 771 - - "),
    "a tag without a colon": before(f"{SHORT}tag_auditd "),
    **{
        f"a time before each line, {stamp}": before(f"{stamp} ")
        for stamp in (
            "May 12 12:47:59",
            "2024-05-12 12:47:59",
            "12:47:59",
            "1715510879.123456",
        )
    },
    "RFC 5424 with data": before(
        '<110>1 2024-05-12T12:47:59Z hv1 audispd 771 - [m@1 x="y z"] '
    ),
    "RFC 5424 with a BOM": before(
        "<110>1 2024-05-12T12:47:59Z hv1 audispd 771 - - \ufeff"
    ),
    "the kernel's log": each(
        lambda line: f"{SHORT}kernel: [  12.345678] audit: type={NUMBERS[line.type]} audit({line.seconds}.{line.part}:{line.number}): {line.body}"
    ),
    "a facility's name": before(f"{SHORT}daemon.info audispd: "),
    **{
        f"dmesg, {stamp}": "".join(f"{stamp}{kernels(parts(line))}\n" for line in LINES)
        for stamp in (
            "[Sun May 12 12:47:59 2024] audit: ",
            "kern  :notice: [   12.3456] audit: ",
            "<5>[   12.345678] ",
            "[   12.345678][    T1] audit: ",
        )
    },
    "grep --color": RAW.replace("VIRT_", "\x1b[01;31m\x1b[KVIRT_\x1b[m\x1b[K"),
    "grep --color of the name": RAW.replace(
        "web01", "\x1b[01;31m\x1b[Kweb01\x1b[m\x1b[K"
    ),
    "journalctl's colours": each(
        lambda line: f"{SHORT}audit[1661]: \x1b[0;1;39m{line.type} {line.body}\x1b[0m"
    ),
    "HTML": html.escape(RAW, quote=True),
    "cat -n": "".join(f"{i:6}\t{line}\n" for i, line in enumerate(LINES, 1)),
    "less -N": "".join(f"{i:7} {line}\n" for i, line in enumerate(LINES, 1)),
    "cat -A": before("", ENRICHED).replace("\x1d", "^]").replace("\n", "$\n"),
    "cat -A of Windows' lines": RAW.replace("\n", "^M$\n"),
    "a list of YAML": "".join(f"- {json.dumps(line)}\n" for line in LINES),
    "the newlines as \\\\n": RAW.replace("\n", "\\n"),
    "the newlines as blanks": RAW.replace("\n", " "),
    "without newlines, enriched": "".join(ENRICHED),
    "dmesg": each(
        lambda line: f"[  12.345678] audit: type={NUMBERS[line.type]} audit({line.seconds}.{line.part}:{line.number}): {line.body}"
    ),
    "an old daemon": each(
        lambda line: f"type=UNKNOWN[{NUMBERS[line.type]}] msg=audit({line.seconds}.{line.part}:{line.number}): {line.body}"
    ),
    "grep -Hn": before("/var/log/audit/audit.log.3:17:"),
    "grep -C": before("audit.log-"),
    "grep of a dated file": before("./hv-1/audit.log-20240512:"),
    "a mail": before("> "),
    "journal short": each(lambda line: f"{SHORT}audit[1661]: {line.type} {line.body}"),
    "journal short-iso": each(
        lambda line: f"2024-05-12T12:47:59+0200 hv1 audit[1661]: {line.type} {line.body}"
    ),
    "journal short-full": each(
        lambda line: f"Sun 2024-05-12 12:47:59 CEST hv1 audit[1661]: {line.type} {line.body}"
    ),
    **{
        f"journal short-full, {zone}": "".join(
            f"Sun 2024-05-12 12:47:59 {zone} hv1 audit[1661]: {parts(line).type} {parts(line).body}\n"
            for line in LINES
        )
        for zone in ("UTC", "+03", "-03", "+0545")
    },
    "journal short-unix": each(
        lambda line: f"1715510879.{line.part}000 hv1 audit[1661]: {line.type} {line.body}"
    ),
    "journal with-unit": each(
        lambda line: f"Sun 2024-05-12 12:47:59 CEST hv1 libvirtd.service[1661]: {line.type} {line.body}"
    ),
    **{
        f"journal: {header}": "".join(
            f"{header}{parts(line).type} {parts(line).body}\n" for line in LINES
        )
        for header in (
            "journal.txt:May 12 12:47:59 hv1 audit[1661]: ",
            "> May 12 12:47:59 hv1 audit[1661]: ",
            "May 12 12:47:59 audit[1661]: ",
            "<5>May 12 12:47:59 hv1 audit[1661]: ",
            "<13>1 2024-05-12T12:47:59.1+02:00 hv1 audit 1661 - - ",
        )
    },
    "journal without libaudit": each(
        lambda line: f"{SHORT}audit[1661]: AUDIT{NUMBERS[line.type]} {line.body}"
    ),
    "the first journals that read records": each(
        lambda line: f"{SHORT}audit[1661]: <audit-{NUMBERS[line.type]}> {line.body}"
    ),
    "journal of that time as JSON": each(
        lambda line: json.dumps(
            entry(
                line,
                _AUDIT_TYPE_NAME=None,
                MESSAGE=f"<audit-{NUMBERS[line.type]}> {line.body}",
            )
        )
    ),
    "journal export without libaudit": each(
        lambda line: export(line)
        .replace("E=VIRT_", "E=X")
        .replace(f"MESSAGE=X{line.type[5:]}", f"MESSAGE=AUDIT{NUMBERS[line.type]}")
    ),
    "journal export of the kernel's log": each(kernel_entry),
    "journal export of a dispatcher": each(
        lambda line: "SYSLOG_IDENTIFIER=audisp-syslog\n_TRANSPORT=syslog\n__REALTIME_TIMESTAMP=1\n"
        f"MESSAGE=type={line.type} msg=audit({line.seconds}.{line.part}:{line.number}): {line.body}\n"
    ),
    "journal export, CR LF": each(export).replace("\n", "\r\n"),
    "journal json of the kernel's log": each(
        lambda line: json.dumps(
            dict(field.split("=", 1) for field in kernel_entry(line).splitlines())
        )
    ),
    "journal json in one list": json.dumps([entry(parts(line)) for line in LINES]),
    "journal after a boot": f"-- Boot {'0a' * 16} --\n"
    + each(lambda line: f"{SHORT}audit[1661]: {line.type} {line.body}"),
    "journal cat": each(lambda line: f"{line.type} {line.body}"),
    "journal json": each(lambda line: json.dumps(entry(line))),
    "journal json without numbers": each(
        lambda line: json.dumps(entry(line, _AUDIT_ID=None))
    ),
    "journal json as bytes": each(
        lambda line: json.dumps(
            entry(line, MESSAGE=list(f"{line.type} {line.body}".encode()))
        )
    ),
    "journal json-seq": each(lambda line: "\x1e" + json.dumps(entry(line))),
    "journal json-sse": each(lambda line: f"data: {json.dumps(entry(line))}\n"),
    "journal export": each(export),
    "a collector's string": "".join(
        json.dumps({"message": line, "host": {"name": "hv1"}}) + "\n"
        for line in ENRICHED
    ),
    "a container's log": "".join(
        json.dumps({"log": f"{line}\n", "stream": "stdout"}) + "\n" for line in LINES
    ),
    "a container's lines": before("2024-05-12T10:47:59.100Z stdout F "),
    "a table of values": '"_raw","_time"\n'
    + "".join('"{}","2024"\n'.format(line.replace('"', '""')) for line in LINES),
    "quoted": "".join(json.dumps(line) + "\n" for line in LINES),
    "escaped": RAW.replace('"', '\\"'),
    **{
        f"0x1D as {shown!r}": before("", ENRICHED).replace("\x1d", shown)
        for shown in ("#035", "^]", "\\x1d", "\\u001D", "\u241d", "\t", "  ", " ", "")
    },
    "a BOM": "\ufeff" + RAW,
    "many NULs": RAW.replace("\n", "\n" + "\0" * 3_000_000, 1),
    "many NULs, packed": gzip.compress(
        RAW.replace("\n", "\n" + "\0" * 3_000_000, 1).encode(), mtime=0
    ),
    "NULs at both ends": b"\0" * 5000 + RAW.encode() + b"\0" * 5000,
    "gzip": gzip.compress(RAW.encode(), mtime=0),
    "two of xz": lzma.compress(RAW[:400].encode())
    + b"\0" * 4
    + lzma.compress(RAW[400:].encode()),
    "two of bzip2": bz2.compress(RAW[:400].encode()) + bz2.compress(RAW[400:].encode()),
    "half in another form": before("", LINES[:4])
    + before(f"{SHORT}audispd: ", LINES[4:]),
    "half in JSON": before("", LINES[:4])
    + each(lambda line: json.dumps(entry(line)), LINES[4:]),
    "another's form after much": "\n" * 70_000 + before(f"{SHORT}audispd: "),
    "newest first": "".join(reversed(RAW.splitlines(True))),
    "newest first, syslog": "".join(
        reversed(before(f"{SHORT}audispd: ").splitlines(True))
    ),
    "newest first, JSON": "".join(
        reversed(each(lambda line: json.dumps(entry(line))).splitlines(True))
    ),
}
SAID: dict[str, tuple[str | bytes, str]] = {
    "another program's tag": (before(f"{SHORT}alice: "), "tag is 'alice'"),
    "another program's tag, without a host": (
        before("May 12 12:47:59 alice: audispd: "),
        "is not a known header",
    ),
    "another program's tag, and one without a colon": (
        before("May 12 12:47:59 alice: audit "),
        "is not a known header",
    ),
    "a number in the type's name": (
        RAW.replace("VIRT_RESOURCE", "UNKNOWN2501"),
        "the type is broken",
    ),
    "an unknown header": (before("this was in the log: <<"), "is not a known header"),
    "in the midst of a command": (
        "type=USER_CMD msg=audiT(1.0:1): pid=1 msg='cmd=" + LINES[5] + "'\n",
        "is not a known header",
    ),
    "journal short-monotonic": (
        each(
            lambda line: f"[ 12.{line.part}000] hv1 audit[1661]: {line.type} {line.body}"
        ),
        "no date and time",
    ),
    "journal json-pretty": (
        each(lambda line: json.dumps(entry(line), indent=8)),
        "json-pretty",
    ),
    "journal verbose": (
        each(
            lambda line: "".join(
                f"    {key}={value}\n" for key, value in entry(line).items()
            )
        ),
        "verbose",
    ),
    "a user by name": (RAW.replace("uid=0 ", "uid=alice "), "the user's name"),
    **{
        f"{old} as {new}": (RAW.replace(old, new), "is broken")
        for old, new in (
            (f"uuid={UUID} ", ""),
            (UUID, "?"),
            (UUID, f"{{{UUID}}}"),
            (UUID, f'"{UUID}"'),
            (UUID, UUID.replace("-", "")),
            (MAC, MAC.replace(":", "-")),
            ("res=success", "res=1"),
            ('vm="web01" ', ""),
            ('"web01"', '"?"'),
            # A text of odd length, and one in lower case. libaudit writes hex in upper case.
            ('"web01"', "776562303"),
            ('"web01"', "77656220c3bc"),
            ('"web01"', "\u201cweb01\u201d"),
            ('"web01"', '"web\x0801"'),
        )
    },
    **{
        f"{old} as {new}": (RAW.replace(old, new), "does not tell in known words")
        for old, new in (
            ("resrc=net ", ""),
            ("resrc=net", "resrc=nat"),
            ("resrc=net", "resrc=?"),
            ("reason=open ", ""),
            ("reason=open", "reason=o`en"),
            ("reason=start ", "reason=? "),
            ("reason=start ", "reason=stbrt "),
            ("reason=start ", "reason=hotplugged "),
            ("new-net=", "new-nat="),
            (" net=", " nut="),
            ("path=", "pbth="),
            (" rdev=", " dev="),
            ("rdev=0A:C8", "rdev=0A:"),
            (UUID, UUID[:-1]),
            (UUID, UUID[8:]),
            (UUID, f"g{UUID[1:]}"),
            ("op=start ", ""),
            ("op=start", "op=stert"),
            ("op=start", "op=?"),
            ("op=start", "op="),
        )
    },
    "a cut record": (RAW[: RAW.index("new-net") + 20], "cut"),
    "a broken record": (RAW.replace("old-net", "new-net"), "broken"),
    "a very long line": ("x" * 200_000 + RAW, "is not a known header"),
    "a cut gzip file": (gzip.compress(RAW.encode(), mtime=0)[:-60], "is cut"),
    "a cut xz file": (lzma.compress(RAW.encode() * 300)[:-60], "is cut"),
    "an empty file": ("", "empty"),
    "no VIRT_CONTROL": (
        before("", [line for line in LINES if "RESOURCE" in line]),
        "no VIRT_CONTROL",
    ),
}
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "UTF-16": (RAW.encode("utf-16"), "iconv"),
    "UTF-16 without its mark": (RAW.encode("utf-16-le"), "iconv"),
    "UTF-16 of the other order": (RAW.encode("utf-16-be"), "iconv"),
    "a file of the journal": (
        b"LPKSHHRH" + bytes(200) + b"MESSAGE=" + LINES[2][5:].encode() + bytes(9),
        "journalctl --file",
    ),
    "CR alone": (RAW.replace("\n", "\r"), "CR alone"),
    "zip": (b"PK\x03\x04" + b"x" * 100, "zip archive"),
    "text": (
        "At 10:47:59 05/12/24 system, acting as root, successfully assigned-vm-resource net to web01\n",
        "ausearch --format text",
    ),
    "ausearch -i": (
        each(
            lambda line: f"type={line.type} msg=audit(05/12/24 10:47:59.100:{line.number}) : {line.body}"
        ),
        "ausearch -i",
    ),
    "a report": (
        "\nVirtualization Report\n=====\n# date time type\n1. 05/12/24\n",
        "aureport",
    ),
    "something else": ("Dear Sir,\n", "no audit record"),
    "an archive without logs": (b"", "no file in the archive"),
}


def answer(result: dict[str, t.Any]) -> tuple[object, ...]:
    return (
        [(grant["vm"], len(grant["devices"])) for grant in result["grants"]],
        [(session["vm"], session["end"]) for session in result["sessions"]],
        [finding["code"] for finding in result["findings"]],
    )


def write(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def archive(mode: t.Any, **files: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as writing:
        for name, content in files.items():
            member = tarfile.TarInfo(f"sos/var/log/{name}")
            member.size = len(content)
            writing.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize("name", READ)
def test_a_form_that_is_read(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "log", READ[name])
    result = ask([path])
    assert answer(result) == WEB01
    assert len(result["events"]) == len(LINES)
    assert result["stats"]["unread"] == []
    assert answer(ask([path], name="web01")) == WEB01


@pytest.mark.parametrize("name", SAID)
def test_a_form_that_gives_a_warning(name: str, tmp_path: Path) -> None:
    content, word = SAID[name]
    result = ask([write(tmp_path / "log", content)])
    assert word in " ".join(result["warnings"])
    for problem in result["stats"]["unread"]:
        if "lines" in problem:
            assert "unread_records" in [each["code"] for each in result["findings"]]
            assert problem["line"] >= 1


@pytest.mark.parametrize("kind", ["disk", "cgroup", "vfio-ap", "iommu", "nvram2"])
@pytest.mark.parametrize("reason", ["start", "allow", "blockcopy"])
def test_other_resources_of_a_newer_libvirt_are_read(
    kind: str, reason: str, tmp_path: Path
) -> None:
    other = (
        LINES[5]
        .replace("resrc=net reason=start", f"resrc={kind} reason={reason}")
        .replace(" old-net", f" old-{kind}")
        .replace(f'new-net="{MAC}"', f'new-{kind}="/dev/x"')
    )
    result = ask([write(tmp_path / "log", f"{RAW}{other}\n")])
    assert answer(result) == WEB01
    assert result["stats"]["unread"] == []
    assert len(result["events"]) == len(LINES) + 1


@pytest.mark.parametrize("name", REFUSED)
def test_a_form_that_is_refused(name: str, tmp_path: Path) -> None:
    content, word = REFUSED[name]
    if name == "an archive without logs":
        content = archive("w:gz", passwd=b"root:x:0:0\n")
    path = write(tmp_path / "log", content)
    with pytest.raises(
        LogError, match=f"^logs: the module could read none of them: .*{word}"
    ):
        ask([path])
    # If one file is a log, there is an answer, and a warning about the other.
    result = ask([path, str(LOGS / "base" / "audit.log")])
    assert answer(result) == WEB01
    assert word in " ".join(result["warnings"])


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_archives(mode: str, tmp_path: Path) -> None:
    begin, end = (before("", part).encode() for part in (LINES[:5], LINES[5:]))
    content = archive(
        mode, **{"audit.log": end, "audit.log.1": begin, "secure": b"sshd: hello\n"}
    )
    path = write(tmp_path / "sos.tar", content)
    assert answer(ask([path])) == WEB01
    packed = archive(mode, **{"audit.log": end, "audit.log.1.gz": gzip.compress(begin)})
    assert answer(ask([write(tmp_path / "sos2.tar", packed)])) == WEB01


def test_directories_and_globs(tmp_path: Path) -> None:
    write(tmp_path / "logs" / "audit.log", before("", LINES[5:]))
    write(tmp_path / "logs" / "audit.log.1", before("", LINES[:5]))
    for way in (str(tmp_path / "logs"), str(tmp_path / "logs" / "audit.*")):
        assert answer(ask([way])) == WEB01


def test_directories_within_a_directory(tmp_path: Path) -> None:
    inner = tmp_path / "kvm1"
    inner.mkdir()
    write(inner / "audit.log", RAW)
    # A glob finds the directory, which counts like a directory that the task names.
    assert answer(ask([str(tmp_path / "*")])) == WEB01
    write(tmp_path / "other.log", STOP)
    result = ask([str(tmp_path)])
    (problem,) = result["stats"]["unread"]
    assert problem["path"] == str(tmp_path)
    assert "give those that have logs, too (kvm1)" in problem["problem"]
    assert answer(ask([str(tmp_path), str(inner)])) == ([], [("web01", "stopped")], [])


def test_a_directory_that_is_a_file_system_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "audit.log", RAW)
    (tmp_path / "lost+found").mkdir()
    for path in (tmp_path, tmp_path / "*"):
        result = ask([str(path)])
        assert answer(result) == WEB01
        assert (result["warnings"], result["stats"]["unread"]) == ([], [])


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (("audit.log", "audit.log.1.gz", "audit.log.2"), ""),
        (("audit.log.3", "audit.log.4"), ""),
        (("audit.log", "audit.log.3"), "2 of the rotated files are missing"),
        (("audit.log.1", "audit.log.3.gz", "other.log.2"), "audit.log.2. "),
        (("audit.log", "audit.log-20240512", "audit.log.2024"), ""),
        (("10.0.0.5", "10.0.0.9.gz", "audit.log-10.0.0.7"), ""),
        (("10.0.0.5", "10.0.0.5.1", "10.0.0.5.3"), "10.0.0.5.2. "),
    ],
)
def test_a_rotated_file_that_is_missing(
    names: tuple[str, ...], missing: str, tmp_path: Path
) -> None:
    for number, name in enumerate(names):
        content = LINES[number].encode() + b"\n"
        packed = gzip.compress(content) if name.endswith(".gz") else content
        write(tmp_path / name, packed)
    warnings = " ".join(ask([str(tmp_path)])["warnings"])
    assert (missing in warnings) if missing else ("rotated" not in warnings)


def test_rotated_files_that_are_no_audit_logs(tmp_path: Path) -> None:
    write(tmp_path / "audit.log", RAW)
    write(tmp_path / "audit.log.1", "broken")
    for name in ("syslog.1", "syslog.4", "vm-1.2.0", "vm-1.2.9"):
        write(tmp_path / name, "hello")
    assert "missing between" not in " ".join(ask([str(tmp_path)])["warnings"])


def test_a_broken_link_in_a_directory(tmp_path: Path) -> None:
    write(tmp_path / "audit.log", RAW)
    (tmp_path / "audit.log.1").symlink_to(tmp_path / "gone")
    (problem,) = ask([str(tmp_path)])["stats"]["unread"]
    assert problem["path"].endswith("audit.log.1")
    assert "No such file" in problem["problem"]


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (RAW, RAW),
        (RAW, before(f"{SHORT}audispd: ")),
        (RAW, each(lambda line: json.dumps(entry(line)))),
        (before("", LINES[:6]), before("", LINES[3:])),
        (gzip.compress(RAW.encode(), mtime=0), before("", LINES[3:])),
        *[(each(lambda line: f"{SHORT}audit[1661]: {line.type} {line.body}"),) * 2],
    ],
)
def test_copies_count_once(
    older: str | bytes, newer: str | bytes, turn: int, tmp_path: Path
) -> None:
    paths = [write(tmp_path / "a" / "x", older), write(tmp_path / "b" / "x", newer)]
    result = ask(paths[::turn])
    assert answer(result) == WEB01
    assert result["stats"]["records"] == len(LINES)
    assert "count once" in " ".join(result["warnings"])
    assert answer(ask(paths[::turn], name="web01")) == WEB01


def test_a_copy_of_a_part_with_times_in_whole_seconds(tmp_path: Path) -> None:
    """Its first time is before that of the whole log, which begins in the same second."""
    part = each(
        lambda line: f"2024-05-12T10:47:59+0000 hv1 audit[1661]: {line.type} {line.body}",
        LINES[5:],
    )
    paths = [write(tmp_path / "1", RAW), write(tmp_path / "2", part)]
    for given in (paths, paths[::-1]):
        assert answer(ask(given)) == WEB01


def test_a_copy_without_numbers_and_a_part_that_begins_in_the_same_second(
    tmp_path: Path,
) -> None:
    """The times of the copy have parts of seconds, and so they show which of the two begins first."""
    part = "".join(f"{line}\n" for line in LINES[5:])
    whole = each(lambda line: json.dumps(entry(line, _AUDIT_ID=None)))
    paths = [write(tmp_path / "1", part), write(tmp_path / "2", whole)]
    for given in (paths, paths[::-1]):
        assert answer(ask(given)) == WEB01


def test_grep_has_the_newest_file_first(tmp_path: Path) -> None:
    content = f"audit.log:{STOP}" + before("audit.log.1:")
    assert answer(ask([write(tmp_path / "log", content)])) == (
        [],
        [("web01", "stopped")],
        [],
    )


def test_two_hosts_in_a_collectors_file(tmp_path: Path) -> None:
    other = RAW.replace("web01", "db01").replace("0000001 ", "0000002 ")
    lines = zip(before(f"{SHORT}audispd: ").splitlines(), other.splitlines())
    content = "".join(
        f"{mine}\n{SHORT.replace('hv1', 'hv2')}audispd: {theirs}\n"
        for mine, theirs in lines
    )
    result = ask([write(tmp_path / "log", content)])
    assert [(grant["node"], grant["vm"]) for grant in result["grants"]] == [
        ("hv1", "web01"),
        ("hv2", "db01"),
    ]
    assert {session["end"] for session in result["sessions"]} == {"running"}


def test_numbers_that_begin_again_are_a_boot_and_give_a_warning(tmp_path: Path) -> None:
    later = re.sub(
        r"audit\(\d+\.(\d+):\d", r"audit(1715600000.\1:", RAW.replace("web01", "db01")
    )
    result = ask([write(tmp_path / "log", RAW + later.replace("0000001 ", "0000002 "))])
    assert answer(result)[1] == [("web01", "lost"), ("db01", "running")]
    assert "treats that as a boot" in " ".join(result["warnings"])


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"since": "2020-01-01"}, "since: the logs begin at 2024-05-12T10:47:59.100Z"),
        ({"until": "2020-01-01"}, "until: the logs begin at 2024-05-12T10:47:59.100Z"),
        ({"since": "2025-01-01"}, "since: the logs end at 2024-05-12T10:47:59.902Z"),
        ({"until": "2025-01-01"}, "until: the logs end at 2024-05-12T10:47:59.902Z"),
        ({"mac": "52:54:00:00:00:99"}, "no record has mac 52:54:00:00:00:99"),
        ({"name": "web02"}, "no record has name web02"),
        ({"name": "web01"}, ""),
        ({"mac": "52:54:00:aa:00:01", "history": True}, ""),
        ({"mac": "52:54:00:00:00:99", "history": True}, "no record has mac"),
    ],
)
def test_a_question_that_the_logs_do_not_reach(
    asked: dict[str, t.Any], word: str
) -> None:
    result = ask([str(LOGS / "base" / "audit.log")], **asked)
    assert (result["stats"]["first"], result["stats"]["last"]) == (
        "2024-05-12T10:47:59.100Z",
        "2024-05-12T10:47:59.902Z",
    )
    assert [word in warning for warning in result["warnings"]] == (
        [True] if word else []
    )


def test_two_hosts_without_names_may_have_the_same_events(tmp_path: Path) -> None:
    other = RAW.replace("web01", "db01").replace("0000001 ", "0000002 ")
    paths = [write(tmp_path / "a" / "x", RAW), write(tmp_path / "b" / "x", other)]
    sessions = ask(paths)["sessions"]
    assert [(each["vm"], each["end"]) for each in sessions] == [
        ("web01", "running"),
        ("db01", "running"),
    ]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("", "node=hv1 "),
        ("node=hv1 ", "node=hv1.example.com "),
        (f"{SHORT}audispd: ", "May 12 12:47:59 hv1.example.com audispd: "),
        ("May 12 12:47:59 hv1.example.com audispd: ", f"{SHORT}audispd: "),
        ("May 12 12:47:59 localhost audispd: ", f"{SHORT}audispd: "),
        (f"{SHORT}audispd: ", "May 12 12:47:59 HV1 audispd: "),
        (f"{SHORT}audispd: ", "node=hv1.example.com "),
    ],
)
def test_one_host_with_two_names_gives_a_warning(
    one: str, two: str, tmp_path: Path
) -> None:
    content = before(one, LINES[:4]) + before(two, LINES[4:])
    result = ask([write(tmp_path / "log", content)])
    assert "treats each name as a host of its own" in " ".join(result["warnings"])


@pytest.mark.parametrize(
    "broken",
    [
        gzip.compress(RAW.encode(), mtime=0)[:100],
        RAW.encode("utf-16"),
        b"\x28\xb5\x2f\xfd\x04",
    ],
)
def test_a_broken_log_in_an_archive_gives_a_warning(
    broken: bytes, tmp_path: Path
) -> None:
    content = archive("w", **{"audit.log": RAW.encode(), "audit.log.1.gz": broken})
    result = ask([write(tmp_path / "sos.tar", content)])
    assert answer(result) == WEB01
    assert [each["path"] for each in result["stats"]["unread"]] == [
        f"{tmp_path}/sos.tar:sos/var/log/audit.log.1.gz"
    ]


@pytest.mark.parametrize("reason", ["attach", "update"])
def test_a_nic_that_gets_another_mac_keeps_its_devices(
    reason: str, tmp_path: Path
) -> None:
    changed = (
        LINES[5]
        .replace("reason=start", f"reason={reason}")
        .replace('old-net="?"', f'old-net="{MAC}"')
        .replace(f'new-net="{MAC}"', 'new-net="52:54:00:aa:00:09"')
        .replace("1715510879.901:183", "1715510900.000:200")
    )
    result = ask([write(tmp_path / "log", RAW + changed + "\n")])
    assert [(each["mac"], len(each["devices"])) for each in result["grants"]] == [
        ("52:54:00:aa:00:09", 2)
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("web01", "\x1b[31mweb01\x1b[m"),
        (UUID, f"\x1b[31m{UUID}\x1b[m"),
        ('"', "&quot;"),
    ],
)
def test_a_changed_part_of_a_plain_log_is_found_by_name(
    old: str, new: str, tmp_path: Path
) -> None:
    noise = "type=CONFIG_CHANGE msg=audit(1715510000.000:1): auid=0 op=x res=1\n" * 2000
    path = write(tmp_path / "log", noise + RAW.replace(old, new))
    assert answer(ask([path], name="web01")) == WEB01


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", ["dmesg", "an old daemon", "journal without libaudit"])
def test_another_form_after_much_of_auditds(
    form: str, packed: bool, tmp_path: Path
) -> None:
    noise = "".join(
        f"type=CONFIG_CHANGE msg=audit(1715510000.000:{n}): auid=0 op=x res=1\n"
        for n in range(1, 150)
    )
    content = (noise * 12 + t.cast(str, READ[form])).encode()
    path = write(tmp_path / "log", gzip.compress(content) if packed else content)
    for asked in ({}, {"name": "web01"}):
        result = ask([path], **asked)
        assert answer(result) == WEB01


@pytest.mark.parametrize("kind", ["VIQT_RESOURCE", "V1RT_RESOURCE", "virt_resource"])
def test_a_broken_type_is_reported_to_a_task_for_its_vm(
    kind: str, tmp_path: Path
) -> None:
    # The module does this only for one VM, because for all VMs it would need another search through each log.
    broken = LINES[5].replace("VIRT_RESOURCE", kind)
    path = write(tmp_path / "log", f"{RAW}{broken}\n")
    for asked in ({"name": "web01"}, {"uuid": UUID}):
        (problem,) = ask([path], **asked)["stats"]["unread"]
        assert (problem["lines"], problem["line"]) == (1, len(LINES) + 1)
        assert "the type is broken" in problem["problem"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_record_of_networkmanager_is_no_broken_record_of_a_vm(
    packed: bool, tmp_path: Path
) -> None:
    # It has op= and the UUID of a connection.
    record = (
        "type=USYS_CONFIG msg=audit(1715510880.000:190): pid=885 uid=0 auid=4294967295 ses=4294967295 msg='op=connection-activate "
        f'uuid={UUID} name="eth0" pid=1 uid=0 result=success exe="/usr/sbin/NetworkManager" hostname=? addr=? terminal=? '
        "res=success'\n"
    )
    content = (RAW + record).encode()
    path = write(tmp_path / "log", gzip.compress(content) if packed else content)
    for asked in ({}, {"name": "web01"}):
        result = ask([path], **asked)
        assert answer(result) == WEB01
        assert result["stats"]["unread"] == []


@pytest.mark.parametrize("name", ["go-audit", "laurel", "auditbeat", "journal"])
def test_lines_with_the_fields_of_a_record_and_no_known_head(
    name: str, tmp_path: Path
) -> None:
    """Beside lines of another form, the module must not leave them out without a word."""

    def line(of: Parts) -> str:
        text = of.body.partition("msg='")[2].rstrip("'")
        lines: dict[str, t.Any] = {
            "go-audit": {
                "sequence": 1,
                "messages": [{"type": NUMBERS[of.type], "data": of.body}],
            },
            "laurel": {"ID": "1.000:1", "UNKNOWN[2501]": [{"uid": 0, "msg": text}]},
            "auditbeat": {"auditd": {"message_type": of.type.lower()}, "result": "x"},
            "journal": entry(of, MESSAGE=f"AUDIT9999 {of.body}"),
        }
        return json.dumps(lines[name])

    first = "".join(json.dumps({"message": each}) + "\n" for each in LINES[:-1])
    for content in (first + each(line, LINES[-1:]), each(line, LINES[-1:]) + first):
        result = ask([write(tmp_path / "log", content)])
        assert [each["lines"] for each in result["stats"]["unread"]] == [1]
        assert result["findings"][-1]["code"] == "unread_records"


@pytest.mark.parametrize("kind", ["SYSTEM_BOOT", "AUDIT1127", "<audit-1127>"])
def test_a_boot_in_the_journal(kind: str, tmp_path: Path) -> None:
    boot = f"{SHORT}audit[1]: {kind} pid=1 uid=0 auid=1 ses=1 msg='x'\n"
    content = t.cast(str, READ["journal without libaudit"]) + boot
    assert answer(ask([write(tmp_path / "log", content)]))[:2] == (
        [],
        [("web01", "lost")],
    )


def test_types_without_a_name_in_the_midst_of_a_large_log(tmp_path: Path) -> None:
    before_it, after_it = (
        "".join(
            f"type=CONFIG_CHANGE msg=audit({second}.000:{number}): auid=0 op=x res=1\n"
            for number in range(first, first + 30_000)
        )
        for second, first in ((1715510000, 1), (1715599999, 30_001))
    )
    content = before_it + t.cast(str, READ["an old daemon"]) + after_it
    path = write(tmp_path / "log", content)
    for asked in ({}, {"name": "web01"}):
        assert answer(ask([path], **asked)) == WEB01


def test_a_user_who_sends_many_tags(tmp_path: Path) -> None:
    # Without a limit, the answer would have a finding for each tag, and the module would count the lines before each of them.
    tags = "".join(f"{SHORT}alice{i}: {LINES[-1]}\n" for i in range(30_000))
    path = write(tmp_path / "log", before(f"{SHORT}audispd: ") + tags)
    for asked in ({}, {"name": "web01"}):
        result = ask([path], **asked)
        assert answer(result)[:2] == WEB01[:2]
        unread = result["stats"]["unread"]
        assert len(unread) <= 21
        assert sum(each["lines"] for each in unread) == 30_000
        assert min(each["line"] for each in unread) == len(LINES) + 1


def test_many_hosts_and_many_files(tmp_path: Path) -> None:
    # A search that compared each name with each other one would take minutes.
    names = [f"/srv/h{number}/audit.log" for number in range(30_000)]
    content = "".join(f"{name}:{LINES[-1]}\n" for name in names)
    assert len(ask([write(tmp_path / "log", content)])["events"]) == len(names)
    hosts = [f"h{number}.example.com" for number in range(30_000)]
    content = "".join(f"May 12 12:47:59 {host} audispd: {LINES[0]}\n" for host in hosts)
    result = ask([write(tmp_path / "log", f"{content}{SHORT}audispd: {LINES[0]}\n")])
    assert len(result["events"]) == len(hosts) + 1

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scripts of the role auditd on a fake host: a directory in place of /etc/audit, and an auditctl that
remembers its calls.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import textwrap
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.unit.support.rules import render_rules

FILES = Path(__file__).resolve().parents[4] / "roles" / "auditd" / "files"
AUDITCTL = """\
    import sys
    from pathlib import Path
    here = Path(__file__).parent
    rules, status, calls = here / "rules", here / "status", here / "calls"
    def one(words):
        loaded = rules.read_text().splitlines() if rules.exists() else []
        if words[0] == "-s":
            print(status.read_text(), end="")
        elif words[0] == "-l":
            print("\\n".join(loaded) or "No rules")
        elif words[0] == "-R":
            for line in Path(words[1]).read_text().splitlines():
                if line and not line.startswith("#"):
                    one(line.split())
        else:
            with calls.open("a") as file:
                print(" ".join(words), file=file)
            if words[0] == "-D":
                loaded = []
            elif words[0] == "-d":
                loaded.remove("-a " + " ".join(words[1:]))
            elif words[0] == "-a":
                line = " ".join(words)
                if line in loaded:
                    sys.exit("Error sending add rule data request (Rule exists)")
                if "-S opn" in line:
                    sys.exit("Syscall name unknown: opn")
                loaded.append(line)
            rules.write_text("".join(f"{line}\\n" for line in loaded))
    one(sys.argv[1:])
"""
# Like audit's own augenrules, it joins the files, puts -D first, and leaves out comments and empty lines.
AUGENRULES = """\
    cd {audit}
    {{ grep -hx -e -D rules.d/*.rules | head -n 1; cat rules.d/*.rules | grep -v -e '^#' -e '^-D$' -e '^$'; }} >audit.rules
    [ "${{1:-}}" != --load ] || auditctl -R audit.rules
"""
OURS = "-a always,exit -F arch=b64 -F path=/dev/net/tun -F perm=rw -F key=virtaudit-tun"
THEIRS = "-a always,exit -F arch=b64 -S mount -F key=mounts"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Host:
    def __init__(self, home: Path) -> None:
        self.bin = home / "bin"
        self.audit = home / "audit"
        for path in (self.bin, self.audit / "rules.d", self.audit / "plugins.d"):
            path.mkdir(parents=True)
        self.put("auditctl", f"#!{sys.executable}\n{textwrap.dedent(AUDITCTL)}")
        script = textwrap.dedent(AUGENRULES).format(audit=self.audit)
        self.put("augenrules", f"#!/bin/sh\n{script}")
        self.status("enabled 1\npid 0\n")

    def put(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def status(self, text: str) -> None:
        (self.bin / "status").write_text(text)

    def load(self, *rules: str) -> None:
        (self.bin / "rules").write_text("".join(f"{rule}\n" for rule in rules))

    @property
    def loaded(self) -> list[str]:
        return (self.bin / "rules").read_text().splitlines()

    @property
    def calls(self) -> list[str]:
        """Return the changes that auditctl was asked to make."""
        calls = self.bin / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def run(
        self, script: str, *arguments: str, given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        text = (FILES / script).read_text()
        text = text.replace(" PATH=", f" PATH={self.bin}:")
        text = text.replace("/etc/audit", str(self.audit))
        if (self.audit / "os-release").exists():
            text = text.replace("/etc/os-release", str(self.audit / "os-release"))
        text = text.replace("/sbin/auditctl", str(self.bin / "auditctl"))
        return subprocess.run(
            ["sh", "-c", text, "sh", *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def sections(text: str) -> dict[str, str]:
    """The sections in the form of tasks/observe.yml."""
    parts = [part.partition("\n") for part in f"\n{text}".split("\n@@ ")[1:]]
    return {name: rest for name, _line, rest in parts}


def test_observe_a_file_without_a_last_newline(host: Host) -> None:
    texts = {
        "auditd.conf": "num_logs = 5\n@@ end\nname_format = NONE",
        "audisp-remote.conf": "port = 60\n\n",
        "plugins.d/au-remote.conf": "",
    }
    for name, text in texts.items():
        (host.audit / name).write_text(text)
    seen = sections(host.run("observe").stdout)
    names = ["conf", "remote_conf", "plugin_conf"]
    read = [base64.b64decode(seen[name]).decode() for name in names]
    assert read == list(texts.values())
    assert "saved" not in seen


@pytest.mark.parametrize(
    "text",
    [
        "log_file = {new}/audit.log\n",
        "log_file = {old}/audit.log\nlog_file = {new}/audit.log\n",
        "log_file = {old}/audit.log\n  LOG_FILE = {new}/audit.log \n",
        "log_file = {new}/audit.log\n# log_file = {old}/audit.log\n",
    ],
)
def test_observe_the_directory_of_the_log(host: Host, text: str) -> None:
    old, new = host.audit / "old", host.audit / "new"
    for directory in (old, new):
        directory.mkdir()
    (host.audit / "auditd.conf").write_text(text.format(old=old, new=new))
    seen = sections(host.run("observe").stdout)
    assert seen["log_directory"] == str(new)


# ID and ID_LIKE from the vendors' documentation and images.
@pytest.mark.parametrize(
    ("release", "family"),
    [
        ("ID=debian\n", "debian"),
        ("ID=ubuntu\nID_LIKE=debian\n", "debian"),
        ('ID="rhel"\nID_LIKE="fedora"\n', "redhat"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "redhat"),
        ('ID="almalinux"\nID_LIKE="rhel centos fedora"\n', "redhat"),
        ("ID=fedora\n", "redhat"),
        ('ID="sles"\nID_LIKE="suse"\n', "suse"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "suse"),
        ("ID=arch\n", "arch"),
    ],
)
def test_observe_the_family(host: Host, release: str, family: str) -> None:
    (host.audit / "os-release").write_text(release)
    seen = sections(host.run("observe").stdout)
    assert seen["family"].strip() == family


@pytest.mark.parametrize(
    ("machine", "binary"),
    [
        ("x86_64", "/usr/bin/qemu-system-x86_64"),
        ("i686", "/usr/bin/qemu-system-x86_64"),
        ("aarch64", "/usr/bin/qemu-system-aarch64"),
    ],
)
def test_observe_the_architecture(host: Host, machine: str, binary: str) -> None:
    host.put("uname", f"#!/bin/sh\necho {machine}\n")
    seen = sections(host.run("observe").stdout)
    assert seen["arch"].strip() == machine
    assert seen["watchable"].split()[0] == binary
    # The paths that the play gives replace the default ones.
    seen = sections(host.run("observe", "/usr/bin/qemu-kvm").stdout)
    assert seen["watchable"].split() == ["/usr/bin/qemu-kvm"]


def test_put_back(host: Host) -> None:
    was, new, same = (host.audit / name for name in ("was", "new", "same"))
    new.write_text("of the role\n")
    same.write_text("as it was")
    before = same.stat()
    lines = [
        f"{was} {encoded('no newline')}",
        f"{new} -",
        f"{same} {encoded('as it was')}",
    ]
    done = host.run("put_back", given="\n".join(lines) + "\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert was.read_text() == "no newline"
    assert was.stat().st_mode & 0o777 == 0o640
    assert not new.exists()
    assert same.stat() == before


def test_put_back_goes_on_after_a_failure(host: Host) -> None:
    good = host.audit / "good"
    lines = [f"{host.audit}/none/bad {encoded('x')}", f"{good} {encoded('y')}"]
    assert host.run("put_back", given="\n".join(lines) + "\n").returncode == 1
    assert good.read_text() == "y"


@pytest.mark.parametrize(
    ("loaded", "wanted", "calls"),
    [
        ([THEIRS], [THEIRS], []),
        # The rules that stay are in force all the time.
        ([OURS, THEIRS], [THEIRS], [OURS.replace("-a", "-d")]),
        ([OURS], [], [OURS.replace("-a", "-d")]),
        ([THEIRS], [OURS, THEIRS], ["-D", OURS, THEIRS]),
    ],
)
def test_rules(
    host: Host, loaded: list[str], wanted: list[str], calls: list[str]
) -> None:
    host.load(*loaded)
    given = "\n".join([encoded("-D\n"), *(wanted or ["No rules"])])
    done = host.run("rules", given=f"{given}\n")
    assert (done.returncode, done.stdout) == (0, "")
    assert (host.loaded, host.calls) == (wanted, calls)
    assert (host.audit / "audit.rules").read_text() == "-D\n"


def test_rules_and_settings(host: Host) -> None:
    (host.audit / "audit.rules").write_text("was not there\n")
    host.load(THEIRS)
    done = host.run("rules", given=f"-\n-e 0\n-b 64\n{THEIRS}\n")
    assert (done.returncode, host.calls) == (0, ["-e 0", "-b 64"])
    assert not (host.audit / "audit.rules").exists()


def test_rules_that_have_become_immutable(host: Host) -> None:
    host.status("enabled 2\npid 7\n")
    host.load(OURS, THEIRS)
    done = host.run("rules", given=f"-\n-e 1\n{THEIRS}\n")
    assert (done.returncode, host.calls) == (0, [])
    assert "until the host boots" in done.stdout


def rule_files(host: Host, **files: str) -> None:
    for name, text in files.items():
        (host.audit / "rules.d" / f"{name}.rules").write_text(text)


def test_load(host: Host) -> None:
    rule_files(host, audit="-D\n", a50_virtaudit=f"# ours\n{OURS}\n")
    host.load(THEIRS)
    done = host.run("load")
    assert (done.returncode, done.stdout.splitlines()) == (0, [OURS])


def test_load_without_a_rule_that_deletes_loaded_rules(host: Host) -> None:
    rule_files(host, mounts=f"{THEIRS}\n")
    changed = OURS.replace("perm=rw", "perm=r")
    (host.audit / "rules.d" / "50-virtaudit.rules").write_text(f"# ours\n{changed}\n")
    host.load(OURS, THEIRS)
    done = host.run("load")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [THEIRS, changed]
    assert changed in (host.audit / "audit.rules").read_text()
    # The same is true if none of our rules are loaded yet.
    host.load(THEIRS)
    assert host.run("load").stdout.splitlines() == [THEIRS, changed]


def test_load_names_the_rule_that_is_refused(host: Host) -> None:
    bad = "-a always,exit -S opn -F key=typo"
    rule_files(host, audit="-D\n", typo=f"# a comment\n{bad}\n")
    done = host.run("load")
    assert done.returncode == 1
    assert f"typo.rules:2: {bad}: Syscall name unknown: opn" in done.stderr


def test_load_names_the_copy_that_is_refused(host: Host) -> None:
    rule_files(host, audit=f"-D\n{THEIRS}\n", b=f"\n# again\n{THEIRS}\n", c="\n")
    done = host.run("load")
    assert done.returncode == 1
    assert f"/b.rules:3: {THEIRS}: " in done.stderr
    assert "audit.rules" not in done.stderr
    assert "Rule exists" in done.stderr


def test_load_names_the_files_that_were_joined(host: Host) -> None:
    rule_files(host, audit="-D\n", b="# a comment\n-a x -S opn", c=f"{OURS}\n")
    done = host.run("load")
    assert done.returncode == 1
    assert "/b.rules:2, which has no newline at its end, joined with " in done.stderr
    assert f"/c.rules:1: -a x -S opn{OURS}: Syscall name unknown: opn" in done.stderr


def test_rules_after_a_file_without_a_newline_at_its_end(host: Host) -> None:
    ours = render_rules("x86_64")
    rule_files(host, audit="-D\n", b=THEIRS, c=f"{ours}\n")
    done = host.run("load")
    assert (done.returncode, done.stderr) == (0, "")
    assert {THEIRS, OURS} <= set(host.loaded)


def test_unload(host: Host) -> None:
    host.load(OURS, THEIRS)
    done = host.run("unload", given=f"{THEIRS}\n-w /x -p wa -k never-loaded\n")
    assert (done.returncode, done.stderr, host.loaded) == (0, "", [OURS])


def test_daemon_leaves_another_one_alone(host: Host) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        host.status(f"enabled 1\npid {other.pid}\n")
        for how in ("reload", "restart", "stop"):
            done = host.run("daemon", how)
            assert done.returncode == 1
            assert f"sleep (pid {other.pid}) is the host's audit daemon" in done.stderr
        assert other.poll() is None
        other.kill()


@pytest.fixture
def gone() -> int:
    """The pid of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


def test_a_daemon_that_has_ended_is_no_daemon(host: Host, gone: int) -> None:
    host.status(f"enabled 1\npid {gone}\n")
    assert sections(host.run("observe").stdout)["daemon"].strip() == ""


def test_observe_the_daemon(host: Host) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        host.status(f"enabled 1\npid {other.pid}\n")
        assert sections(host.run("observe").stdout)["daemon"].strip() == "sleep"
        other.kill()


@pytest.mark.parametrize("ended", [True, False])
def test_daemon_that_does_not_run(host: Host, gone: int, ended: bool) -> None:
    if ended:
        host.status(f"enabled 1\npid {gone}\n")
    started = host.audit / "started"
    for name in ("systemctl", "auditd"):
        host.put(name, f"#!/bin/sh\n: >{started}\n")
    assert host.run("daemon", "stop").returncode == 0
    assert not started.exists()
    for how in ("reload", "restart"):
        assert host.run("daemon", how).returncode == 0
        assert started.exists()
        started.unlink()


@pytest.fixture
def auditd(host: Host) -> t.Iterator[subprocess.Popen[bytes]]:
    """A process with that name that survives SIGHUP."""
    script = "import pathlib, signal, time; pathlib.Path('/proc/self/comm').write_text('auditd');"
    script += "signal.signal(1, lambda *_: print('hup', flush=True)); print('up', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        host.status(f"enabled 1\npid {process.pid}\n")
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("answers", "code", "why"),
    [
        ("failed success", 0, ""),
        ("failed", 1, "keeps running"),
        ("", 1, "keeps running"),
    ],
)
def test_the_role_sees_whether_the_daemon_took_its_options(
    host: Host, auditd: subprocess.Popen[bytes], answers: str, code: int, why: str
) -> None:
    # An older answer comes first, and each look at the log shows one more.
    record = (
        "type=DAEMON_CONFIG msg=audit($n.0:$n): op=reconfigure state=changed res=$r"
    )
    host.put(
        "ausearch",
        f"""#!/bin/sh
looks={host.audit}/looks
echo x >>$looks
n=0
for r in success {answers}; do
    [ $n -ge $(wc -l <$looks) ] || echo "{record}"
    n=$((n + 1))
done
""",
    )
    host.put("sleep", "#!/bin/sh\n")
    done = host.run("daemon", "reload")
    assert done.returncode == code
    assert why in done.stderr
    assert auditd.stdout
    assert auditd.stdout.readline() == b"hup\n"

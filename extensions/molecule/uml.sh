#!/bin/sh
# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs User-Mode Linux until it is killed. uml.py runs this in namespaces of its own. Usage: uml.sh HOME PID IMAGE APPEND

set -eu
home=$1 image=$3 append=$4

ip link set lo up
ip tuntap add tap0 mode tap
ip address add 10.0.2.2/24 dev tap0
ip link set tap0 up
# The kernel's memory is a file, and parts of this file are executed. Its changes of the disk go to a file too. So the
# image stays as it was built, and no write waits. Both files disappear with the mount namespace.
mkdir -p "$home/memory"
mount -t tmpfs -o mode=700 memory "$home/memory"
export TMPDIR="$home/memory"
while :; do
    # The kernel reads the words of append.
    # shellcheck disable=SC2086
    "$image/linux" umid=kernel uml_dir="$TMPDIR" mem=1024M ubd0="$TMPDIR/changes,$image/root.img" root=/dev/ubda \
        vec0:transport=tap,ifname=tap0,depth=64,gro=1 con=null con0=null,fd:1 ssl=null seccomp=on noreboot $append && ended=0 || ended=$?
    echo "uml.sh: the kernel has ended at $(date +%T) with status $ended, and is started again"
    # The clients of its sshd wait for an answer that nobody gives. This ends them, so that they connect again.
    kill -KILL -1 2>/dev/null || true
    # With noreboot, a reboot ends the process. Otherwise the process would start again by itself, while its old tap is
    # still in use. The changes of the disk stay. If the kernel cannot start, the loop pauses before the next attempt.
    sleep 1
done

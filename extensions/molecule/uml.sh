#!/bin/sh
# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Run User-Mode Linux until it is killed. Usage: uml.sh HOME PID IMAGE APPEND, from uml.py, in namespaces of its own.

set -eu
home=$1 image=$3 append=$4

ip link set lo up
ip tuntap add tap0 mode tap
ip address add 10.0.2.2/24 dev tap0
ip link set tap0 up
# Its memory is a file, parts of which are executed. What it writes to its disk goes to a file too: the image stays
# as it was built, and no write waits. Both are gone with the mount namespace.
mkdir -p "$home/memory"
mount -t tmpfs -o mode=700 memory "$home/memory"
export TMPDIR="$home/memory"
while :; do
    # The words of append are for the kernel to read.
    # shellcheck disable=SC2086
    "$image/linux" umid=kernel uml_dir="$TMPDIR" mem=1024M ubd0="$TMPDIR/changes,$image/root.img" root=/dev/ubda \
        vec0:transport=tap,ifname=tap0,depth=64,gro=1 con=null con0=null,fd:1 ssl=null seccomp=on noreboot $append && ended=0 || ended=$?
    echo "uml.sh: the kernel has ended at $(date +%T) with status $ended, and is started again"
    # Whoever is connected with its sshd waits for an answer that nobody gives: end them, and they connect anew.
    kill -KILL -1 2>/dev/null || true
    # With noreboot, a reboot ends the process, which would else start anew by itself and find its tap taken. What was
    # written stays. One that cannot start is not tried without a pause.
    sleep 1
done

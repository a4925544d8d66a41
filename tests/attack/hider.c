// Copyright (c) 2026, virtaudit contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Preloaded into qemu: does what a guest that has taken over its qemu can do. A thread keeps copies of all descriptors
// to itself. It takes them when the file HIDE appears, then renames it to HIDDEN, and ends when HIDDEN is removed.
#define _GNU_SOURCE
#include <linux/close_range.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ROUND_MICROSECONDS = 1000 };

static void *hide(void *unused)
{
    const char *when = getenv("HIDE"), *as_long_as = getenv("HIDDEN");

    while (access(when, F_OK))
        usleep(ROUND_MICROSECONDS);
    // qemu's sandbox kills a thread that calls unshare(2). This call closes nothing, but copies all descriptors, too.
    if (syscall(SYS_close_range, ~0U, ~0U, CLOSE_RANGE_UNSHARE) || rename(when, as_long_as))
        abort();
    while (!access(as_long_as, F_OK))
        usleep(ROUND_MICROSECONDS);
    return unused;
}

__attribute__((constructor)) static void start(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, hide, NULL))
        abort();
}

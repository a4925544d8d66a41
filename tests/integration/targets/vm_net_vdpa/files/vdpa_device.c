// Copyright (c) 2026, virtaudit contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Preloaded into qemu: answers the calls of a vdpa device for the character devices 1:5 and 1:7.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/vhost.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static int is_stand_in(int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISCHR(status.st_mode))
        return 0;
    return status.st_rdev == makedev(1, 5) || status.st_rdev == makedev(1, 7);
}

static int answer(unsigned long request, void *argument)
{
    static uint8_t status;

    if (request == VHOST_GET_FEATURES)
        *(uint64_t *)argument = 1ULL << 32; /* VIRTIO_F_VERSION_1 */
    else if (request == VHOST_GET_BACKEND_FEATURES)
        *(uint64_t *)argument = 1ULL << VHOST_BACKEND_F_IOTLB_MSG_V2;
    else if (request == VHOST_VDPA_GET_DEVICE_ID)
        *(uint32_t *)argument = 1; /* a network card */
    else if (request == VHOST_VDPA_GET_VRING_NUM)
        *(uint16_t *)argument = 256;
    else if (request == VHOST_VDPA_GET_STATUS)
        *(uint8_t *)argument = status;
    else if (request == VHOST_VDPA_SET_STATUS)
        status = *(uint8_t *)argument;
    else if (request == VHOST_VDPA_GET_IOVA_RANGE)
        *(struct vhost_vdpa_iova_range *)argument = (struct vhost_vdpa_iova_range){0, UINT64_MAX};
    else if (request == VHOST_VDPA_GET_CONFIG)
        memset(((struct vhost_vdpa_config *)argument)->buf, 0, ((struct vhost_vdpa_config *)argument)->len);
    else if (request == VHOST_VDPA_GET_CONFIG_SIZE)
        *(uint32_t *)argument = 64;
    else if (request == VHOST_VDPA_GET_VQS_COUNT)
        *(uint32_t *)argument = 2;
    return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
    static int (*real)(int, unsigned long, ...);
    va_list arguments;
    void *argument;

    va_start(arguments, request);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    if (_IOC_TYPE(request) == VHOST_VIRTIO && is_stand_in(fd))
        return answer(request, argument);
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "ioctl");
    return real(fd, request, argument);
}

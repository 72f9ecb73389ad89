/* SPDX-License-Identifier: Apache-2.0 */
#include "control/pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_SWAPPED (UINT64_C(1) << 62)
#define ENTRY_FRAME   ((UINT64_C(1) << 55) - 1)

static void say(struct pagemap_page *out, enum pagemap_kind kind, const char *text)
{
    out->kind = kind;
    snprintf(out->text, sizeof(out->text), "%s", text);
}

void pagemap_decode(uint64_t entry, hva_t hva, struct pagemap_page *out)
{
    memset(out, 0, sizeof(*out));
    if (entry & ENTRY_SWAPPED) {
        say(out, PAGEMAP_SWAPPED, "the host has swapped this page out");
    } else if (!(entry & ENTRY_PRESENT)) {
        say(out, PAGEMAP_NONE, "no host page yet: nobody has touched this address");
    } else if (!(entry & ENTRY_FRAME)) {
        say(out, PAGEMAP_HIDDEN,
            "in host memory, but the host shows frame numbers only to CAP_SYS_ADMIN (run the VM as "
            "root to see "
            "them)");
    } else {
        say(out, PAGEMAP_PRESENT, "by /proc/self/pagemap");
        out->hpa = (entry & ENTRY_FRAME) << PAGE_SHIFT | (hva.v & (PAGE_SIZE - 1));
    }
}

/* A page of a file can be there without this process's page tables knowing. */
static bool is_elsewhere(hva_t hva)
{
    unsigned char there = 0;
    void *page = hva_ptr(hva_make(hva.v & ~(uint64_t)(PAGE_SIZE - 1)));

    return mincore(page, PAGE_SIZE, &there) == 0 && there & 1;
}

void pagemap_look_up(hva_t hva, struct pagemap_page *out)
{
    uint64_t entry = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;

    memset(out, 0, sizeof(*out));
    if (fd >= 0) {
        n = pread(fd, &entry, sizeof(entry), (off_t)((hva.v >> PAGE_SHIFT) * sizeof(entry)));
        close(fd);
    }
    if (n == (ssize_t)sizeof(entry)) {
        pagemap_decode(entry, hva, out);
        if (out->kind == PAGEMAP_NONE && is_elsewhere(hva))
            say(out, PAGEMAP_HIDDEN, "in host memory, but not in this process's page tables now");
        return;
    }
    out->kind = PAGEMAP_UNREADABLE;
    snprintf(out->text, sizeof(out->text),
             "not known: this host does not let /proc/self/pagemap be read (%s)",
             n < 0 ? strerror(errno) : "it is empty");
}

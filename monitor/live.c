#include "live.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

static int is_ring(const struct dirent *entry) {
    const char *end = strrchr(entry->d_name, '.');
    return end && strcmp(end, ".ring") == 0;
}

static uint64_t rss_of(uint64_t pid) {
    char path[64];
    unsigned long long total = 0, pages = 0;
    (void)snprintf(path, sizeof path, "/proc/%llu/statm", (unsigned long long)pid);
    FILE *in = fopen(path, "r");
    if (!in)
        return 0;
    int n = fscanf(in, "%llu %llu", &total, &pages);
    (void)fclose(in); // only read from
    return n == 2 ? pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static bool is_alive(const struct points_page *page) {
    return page->state != STATE_ENDED && page->pid > 0 && page->pid < INT32_MAX &&
           (kill((pid_t)page->pid, 0) == 0 || errno == EPERM);
}

void live_read(const char *ring_dir, struct live *ret_live) {
    struct dirent **names = NULL;
    int n = scandir(ring_dir, &names, is_ring, alphasort);
    ret_live->count = 0;
    for (int i = 0; i < n; i++) {
        struct live_process *p = &ret_live->processes[ret_live->count];
        if (ret_live->count < LIVE_MAX &&
            snprintf(p->path, sizeof p->path, "%s/%s", ring_dir, names[i]->d_name) <
                (int)sizeof p->path &&
            points_read_page(p->path, &p->page) == 0) {
            p->alive = is_alive(&p->page);
            p->rss_bytes = p->alive ? rss_of(p->page.pid) : 0;
            ret_live->count++;
        }
        free(names[i]);
    }
    free(names);
}

const char *live_state_name(uint64_t state) {
    static const char *const names[] = {"starting", "running", "waiting", "stopping", "ended"};
    return state < COUNT(names) ? names[state] : "unknown";
}

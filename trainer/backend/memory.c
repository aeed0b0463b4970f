// Reads what the kernel says in /proc and in the files of the control group (cgroups(7), proc(5)).
#include "backend/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

// The number behind `key` in a file of "key: N kB" lines, in bytes; 0 if there is none.
static size_t kilobytes_of(const char *path, const char *key) {
    char line[256];
    size_t n = strlen(key), kb = 0;
    FILE *f = fopen(path, "re");

    while (f && fgets(line, sizeof line, f))
        // The colon is compared too: a key may be the beginning of a longer one.
        if (!strncmp(line, key, n) && line[n] == ':')
            kb = strtoull(line + n + 1, NULL, 10);
    if (f)
        (void)fclose(f); // only read
    return kb << 10;
}

size_t memory_resident(void) {
    return kilobytes_of("/proc/self/status", "VmRSS");
}

size_t memory_peak(void) {
    return kilobytes_of("/proc/self/status", "VmHWM");
}

// The number in a file of one line; `other` if there is none ("max").
static size_t group_limit(const char *folder, const char *file, size_t other) {
    char path[4352], text[64] = "";
    (void)snprintf(path, sizeof path, "/sys/fs/cgroup%s/%s", folder, file); // cut: not there
    FILE *f = fopen(path, "re");
    char *line = f ? fgets(text, sizeof text, f) : NULL;

    if (f)
        (void)fclose(f); // only read
    return line && *text >= '0' && *text <= '9' ? strtoull(text, NULL, 10) : other;
}

// The group's limit less the resident memory of this process. The group also counts page cache,
// which the kernel takes back when memory is short, so its own figure would be too small.
// The limits of the groups around this one are not read.
static size_t group_available(void) {
    char line[4200] = "";
    FILE *f = fopen("/proc/self/cgroup", "re");

    // Version 2 has one hierarchy, number 0. The lines of version 1 have other numbers.
    while (f && fgets(line, sizeof line, f) && strncmp(line, "0::", 3) != 0)
        ;
    if (f)
        (void)fclose(f); // only read
    if (strncmp(line, "0::", 3) != 0)
        return SIZE_MAX;
    line[strcspn(line, "\n")] = 0;
    // A container's own group is "/", and its limit is a file of the topmost folder.
    const char *folder = strcmp(line + 3, "/") != 0 ? line + 3 : "";
    // With nothing left the result is 1, because 0 means that the limit is unknown.
    size_t max = group_limit(folder, "memory.max", SIZE_MAX), own = memory_resident();
    return max == SIZE_MAX ? max : max > own ? max - own : 1;
}

size_t memory_available(void) {
    size_t machine = kilobytes_of("/proc/meminfo", "MemAvailable");

    return machine ? MIN(machine, group_available()) : 0;
}

const char *memory_text(size_t bytes, char ret[16]) {
    // 1000 and not 1024: 1.0 GiB is easier to read than 1020 MiB.
    double mib = (double)bytes / (1 << 20);

    if (mib < 1000)
        (void)snprintf(ret, 16, "%.0f MiB", mib); // fits
    else
        (void)snprintf(ret, 16, "%.1f GiB", mib / 1024);
    return ret;
}

// memory - the memory of this process and of this machine, as the kernel counts it.
#ifndef MEMORY_H
#define MEMORY_H

#include <stddef.h>

// Bytes resident now, and at most since the start (VmRSS, VmHWM). 0: unknown.
size_t memory_resident(void);
size_t memory_peak(void);
// Bytes that can be allocated without swapping: MemAvailable, or less if the process's control
// group (cgroup v2) allows less. 0: unknown.
size_t memory_available(void);

// "1.5 GiB", "300 MiB"; returns ret.
const char *memory_text(size_t bytes, char ret[16]);

#endif

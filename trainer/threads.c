// Shared by the programs that compute: trainer, translate and bench_step.
#include "threads.h"

#include <stdlib.h>
#include <unistd.h>

void threads_wait_briefly(char **argv) {
    // Set by the user, or by us before the second start.
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    (void)setenv("GOMP_SPINCOUNT", "1000", 1); // without memory for it we spin
    char self[4096];
    // libgomp reads the variable when it is loaded, so the program starts again.
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return;
    self[n] = 0;
    (void)execv(self, argv); // where it fails we spin
}

#include "fuzz/fuzz.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    if (*argc == 2 && strcmp((*argv)[1], "seeds") == 0) {
        fuzz_seeds();
        exit(0);
    }
    return 0;
}

void fuzz_write(const char *path, const void *bytes, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size || close(fd))
        BUG("cannot write %s", path);
}

void fuzz_write_text(const char *path, const char *text) {
    fuzz_write(path, text, strlen(text));
}

#include "base/program_path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

// The folder of this program's file, symbolic links resolved.
static int own_folder(char ret[PATH_MAX]) {
    // The kernel's link, because argv[0] may be any text.
    ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);

    if (n < 0)
        return err_set(ERR_IO, "cannot tell where this program lies: %s", strerror(errno));
    ret[n] = 0;
    *strrchr(ret, '/') = 0; // an absolute path
    return ERR_OK;
}

int plugin_sibling(const char *program, char ret_path[PATH_MAX]) {
    char folder[PATH_MAX];
    int err = own_folder(folder);

    if (err)
        return err;
    if (snprintf(ret_path, PATH_MAX, "%s/%s", folder, program) >= PATH_MAX)
        return err_set(ERR_IO, "%s/%s: too long", folder, program);
    return ERR_OK;
}

int plugin_path(const char *name, char ret_path[PATH_MAX]) {
    char file[64], folder[PATH_MAX];
    int err = own_folder(folder);

    if (err)
        return err;
    // Letters, digits and '-' only: no name leads out of lib/.
    if (name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")] ||
        snprintf(file, sizeof file, "lib/device_%s.so", name) >= (int)sizeof file)
        return err_set(ERR_DEVICE, "device = \"%.40s\": no such device", name);
    char *slash = strrchr(folder, '/'); // above build/bin is build
    if (slash)
        *slash = 0;
    if (snprintf(ret_path, PATH_MAX, "%s/%s", folder, file) >= PATH_MAX)
        return err_set(ERR_IO, "%s/%s: too long", folder, file);
    return ERR_OK;
}

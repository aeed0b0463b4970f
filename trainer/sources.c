#include "sources.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "fs.h"
#include "util.h"

// ---- finding ----

// The only file that a pattern fits. ERR_AGAIN: none.
static int find_pattern(const char *pattern, char ret_path[SOURCES_PATH]) {
    glob_t found = {0};
    int err = glob(pattern, GLOB_NOSORT, NULL, &found);
    if (err == GLOB_NOMATCH || (!err && !found.gl_pathc))
        err = ERR_AGAIN;
    else if (err)
        err = err_set(ERR_IO, "look for '%s'", pattern);
    else if (found.gl_pathc > 1)
        err = err_set(ERR_DATA, "%zu files are like '%s'; name one", found.gl_pathc, pattern);
    else if (!text_copy(ret_path, SOURCES_PATH, found.gl_pathv[0]))
        err = err_set(ERR_IO, "a path too long in '%s'", pattern);
    globfree(&found);
    return err;
}

static int find_exactly(const char *folder, const char *net, char ret_path[SOURCES_PATH]) {
    static const char *const forms[] = {"%s/%s.safetensors", "%s/%s.pth", "%s/latest_net_%s.pth",
                                        "%s/checkpoints/latest/%s.safetensors"};
    char path[SOURCES_PATH];
    for (size_t i = 0; i < COUNT(forms); i++) {
        if (snprintf(path, sizeof path, forms[i], folder, net) >= (int)sizeof path)
            return err_set(ERR_IO, "the path '%.100s...' is too long", folder);
        if (fs_exists(path)) {
            memcpy(ret_path, path, sizeof path);
            return ERR_OK;
        }
    }
    if (strpbrk(folder, "*?[\\")) // it would be a pattern itself
        return ERR_AGAIN;
    (void)snprintf(path, sizeof path, "%s/*_net_%s.pth", folder, net); // shorter than the last form
    return find_pattern(path, ret_path);
}

int sources_find(const char *folder, const char *net, char ret_path[SOURCES_PATH]) {
    int err = find_exactly(folder, net, ret_path);
    if (err == ERR_AGAIN && strlen(net) == 1)
        return find_exactly(folder, net[0] == 'G' ? "G_A" : "D_A", ret_path);
    if (err == ERR_AGAIN && (!strcmp(net, "G_A") || !strcmp(net, "D_A")))
        return find_exactly(folder, net[0] == 'G' ? "G" : "D", ret_path);
    return err;
}

// ---- names ----

// Whether `word` stands alone in the name.
static bool names(const char *name, const char *word) {
    size_t n = strlen(word);
    for (const char *at = strstr(name, word); at; at = strstr(at + 1, word))
        if ((at == name || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[n]) &&
            at[n] != '_')
            return true;
    return false;
}

const char *sources_net_of(const char *path) {
    static const char *const words[][2] = {{"G_A", "G_A"}, {"G_B", "G_B"}, {"D_A", "D_A"},
                                           {"D_B", "D_B"}, {"G", "G_A"},   {"D", "D_A"}};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    for (size_t i = 0; i < COUNT(words); i++)
        if (names(name, words[i][0]))
            return words[i][1];
    return NULL;
}

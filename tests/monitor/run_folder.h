// run_folder - a run's folder with effective settings, as `up` would make it: FOLDER/runs/NAME.
#ifndef RUN_FOLDER_H
#define RUN_FOLDER_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/util.h"
#include "config/config.h"

static inline char *run_folder_path(const char *folder, const char *run) {
    return xasprintf("%s/runs/%s", folder, run);
}

// Makes FOLDER/data and the run with `n` more settings. Ends the program if it cannot.
static inline struct config *run_folder_make(const char *folder, const char *run,
                                             const char *const *more, int n) {
    static const char *const parts[] = {"data", "data/trainA", "data/trainB", "runs"};
    const char *sets[32];
    struct config *config = NULL;
    struct config_problems problems;
    char *path = NULL;
    for (size_t i = 0; i < COUNT(parts); i++) {
        path = xasprintf("%s/%s", folder, parts[i]);
        (void)mkdir(path, 0700); // may be there from another run
        free(path);
    }
    sets[0] = xasprintf("name=%s", run);
    sets[1] = xasprintf("dataroot=%s/data", folder);
    for (int i = 0; i < n; i++)
        sets[2 + i] = more[i];
    if (config_resolve(NULL, folder, sets, n + 2, &config, &problems)) {
        (void)fprintf(stderr, "%s\n", problems.count ? problems.items[0].text : err_text());
        exit(1);
    }
    config_problems_fini(&problems);
    free((char *)sets[0]);
    free((char *)sets[1]);
    path = run_folder_path(folder, run);
    char *sockets = xasprintf("%s/s", path), *conf = xasprintf("%s/pipeline.conf", path);
    (void)mkdir(path, 0700);
    (void)mkdir(sockets, 0700);
    FILE *out = fopen(conf, "w");
    if (!out || config_write(config, out) || fclose(out)) {
        perror(conf);
        exit(1);
    }
    free(path);
    free(sockets);
    free(conf);
    return config;
}

#endif

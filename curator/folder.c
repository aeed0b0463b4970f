// folder - every picture under a folder.
#include "curators.h"

static int scan(struct curation *c) {
    return walk_folder(c->root, c->folder, c->aside, &c->walk);
}

const struct curator curator_folder = {
    .name = "folder",
    .help = "every picture under root and its folders.\n"
            "           Settings: min_side, max_side, limit",
    .scan = scan,
};

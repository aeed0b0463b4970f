// draw - draws the demonstration's two data sets, in the layouts of the real ones. No sockets.
#include <stdio.h>

#include "base/err.h"
#include "base/flags.h"
#include "base/util.h"
#include "draw/draw_set.h"

static const char intro[] =
    "usage: draw --out DIR [--celeba N] [--anime N] [--seed S]\n"
    "Draws two sets of faces for training without real data. They are drawings that this program\n"
    "makes of random numbers; nobody is shown in them.\n";
static const char notes[] =
    "Each set gets three broken files besides: an empty one, one cut off, and a text.\n";

#define FACES_MAX 900000

static int read_arguments(int argc, char **argv, struct draw_set *ret) {
    struct draw_set set = {.celeba = 200, .anime = 200};
    int64_t seed = 1;
    const struct flag rows[] = {
        {.name = "--out",
         .value = "DIR",
         .text = &set.folder,
         .required = true,
         .help = "output folder; DIR/celeba and DIR/anime are made"},
        {.name = "--celeba",
         .value = "N",
         .number = &set.celeba,
         .max = FACES_MAX,
         .help = "faces resembling photographs, 178x218, with the tables of landmarks and "
                 "attributes (default 200; 0: none)"},
        {.name = "--anime",
         .value = "N",
         .number = &set.anime,
         .max = FACES_MAX,
         .help = "cartoon faces of mixed sizes, named INDEX_YEAR.jpg (default 200; 0: none)"},
        {.name = "--seed",
         .value = "S",
         .whole = &seed,
         .help = "another seed draws other faces (default 1)"},
    };
    const struct flags flags = {"draw", intro, rows, COUNT(rows), notes};
    int err = flags_read(&flags, argc, argv);
    if (err)
        return err;
    set.seed = (uint64_t)seed;
    *ret = set;
    return ERR_OK;
}

int main(int argc, char **argv) {
    struct draw_set set;
    int err = read_arguments(argc, argv, &set);
    if (err == ERR_STOPPED)
        return 0;
    if (!err)
        err = draw_set(&set);
    if (err)
        (void)fprintf(stderr, "draw: %s\n", err_text());
    else
        (void)printf("drew %d faces resembling photographs and %d cartoon faces in '%s' (seed "
                     "%llu): all are drawings made by this program, and 3 files of each set are "
                     "broken on purpose\n",
                     set.celeba, set.anime, set.folder, (unsigned long long)set.seed);
    return err_exit_code(err);
}

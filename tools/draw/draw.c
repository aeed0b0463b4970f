// draw - draws the demonstration's two data sets, in the layouts of the real ones. No sockets.
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/version_text.h"
#include "draw/draw_set.h"

static const char help[] =
    "usage: draw --out DIR [--celeba N] [--anime N] [--seed S]\n"
    "Draws two sets of faces to train on when no real data is at hand. They are drawings made by\n"
    "this program from random numbers; nobody is shown in them.\n"
    "\n"
    "  --out DIR     where to; DIR/celeba and DIR/anime are made\n"
    "  --celeba N    faces resembling photographs, 178x218, with the tables of landmarks and\n"
    "                attributes (default 200; 0: none)\n"
    "  --anime N     cartoon faces of mixed sizes, named INDEX_YEAR.jpg (default 200; 0: none)\n"
    "  --seed S      another seed draws other faces (default 1)\n"
    "  --help, --version\n"
    "\n"
    "Each set gets three broken files besides: an empty one, one cut off, and a text.\n";

static int parse_number(const char *name, const char *text, unsigned long long max,
                        unsigned long long *ret) {
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9' || v > max)
        return err_set(ERR_USAGE, "--%s %s: not a number of 0 to %llu", name, text, max);
    *ret = v;
    return ERR_OK;
}

static int parse(int argc, char **argv, struct draw_set *ret) {
    static const struct option options[] = {
        {"out", 1, NULL, 'o'},  {"celeba", 1, NULL, 'c'}, {"anime", 1, NULL, 'a'},
        {"seed", 1, NULL, 's'}, {"help", 0, NULL, 'h'},   {"version", 0, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    unsigned long long celeba = 200, anime = 200, seed = 1;
    struct draw_set set = {0};
    int option, err = ERR_OK;
    while (!err && (option = getopt_long(argc, argv, "hv", options, NULL)) != -1) {
        if (option == 'o')
            set.folder = optarg;
        else if (option == 'c')
            err = parse_number("celeba", optarg, 900000, &celeba);
        else if (option == 'a')
            err = parse_number("anime", optarg, 900000, &anime);
        else if (option == 's')
            err = parse_number("seed", optarg, UINT64_MAX, &seed);
        else if (option == 'h' || option == 'v') {
            (void)printf("%s%s", option == 'h' ? help : version_text(), option == 'h' ? "" : "\n");
            exit(0);
        } else
            err = err_set(ERR_USAGE, "see draw --help");
    }
    if (!err && (!set.folder || optind < argc))
        err = err_set(ERR_USAGE, "%s; see draw --help",
                      set.folder ? "too many arguments" : "--out is missing");
    if (err)
        return err;
    set.celeba = (int)celeba;
    set.anime = (int)anime;
    set.seed = seed;
    *ret = set;
    return ERR_OK;
}

int main(int argc, char **argv) {
    struct draw_set set;
    int err = parse(argc, argv, &set);
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

#include "evaluate.h"

#include <stdlib.h>

#include "err.h"
#include "picture.h"
#include "swd.h"
#include "util.h"

static void free_images(struct image *images, int n) {
    for (int i = 0; i < n; i++)
        image_fini(&images[i]);
    free(images);
}

// Distance of the fakes of net `net` from the domain they are to look like.
static int distance_of_fakes(struct model *m, int net, const struct held_out *held, const int n[2],
                             uint64_t seed, double *ret) {
    const struct image *real = held->real[net], *other = held->real[1 - net];
    struct image *fakes = xcalloc((size_t)n[net], sizeof *fakes);
    int err = ERR_OK;
    for (int i = 0; i < n[net] && !err; i++)
        err = picture_translate(m, net, other[0].c, &real[i], &fakes[i]);
    if (!err)
        err = swd(fakes, n[net], other, n[1 - net], seed, ret);
    free_images(fakes, n[net]);
    return err;
}

int evaluate(struct model *m, const struct held_out *held, const struct evaluate_options *options,
             struct evaluate_scores *ret_scores) {
    struct evaluate_scores s;
    int n[2] = {MIN(options->pictures, held->count[0]), MIN(options->pictures, held->count[1])};
    if (n[0] < 1 || n[1] < 1)
        return err_set(ERR_SHAPE, "no pictures to judge with");
    int err = swd(held->real[0], n[0], held->real[1], n[1], options->seed, &s.real);
    if (!err)
        err = distance_of_fakes(m, 0, held, n, options->seed, &s.a_to_b);
    if (!err)
        err = distance_of_fakes(m, 1, held, n, options->seed, &s.b_to_a);
    if (!err)
        *ret_scores = s;
    return err;
}

#include "evaluate.h"

#include <math.h>
#include <stdlib.h>

#include "err.h"
#include "pairs.h"
#include "picture.h"
#include "swd.h"
#include "util.h"

static void free_images(struct image *images, int n) {
    for (int i = 0; i < n; i++)
        image_fini(&images[i]);
    free(images);
}

struct judgement {
    struct model *model;
    const struct held_out *held;
    const struct evaluate_options *options;
    int n[2]; // pictures of A and B
};

static int make_fakes(const struct judgement *j, int net, struct image *ret_fakes) {
    int channels = j->held->real[1 - net][0].c;
    for (int i = 0; i < j->n[net]; i++) {
        if (*j->options->stop)
            return err_set(ERR_STOPPED, "asked to stop");
        int err = picture_translate(j->model, net, channels, &j->held->real[net][i], &ret_fakes[i]);
        if (err)
            return err;
    }
    return ERR_OK;
}

static void compare_pairs(const struct judgement *j, int net, const struct image *fakes,
                          struct evaluate_scores *scores) {
    const struct image *real = j->held->real[1 - net];
    int n = MIN(j->n[0], j->n[1]);
    bool is_large = MIN(real->w, real->h) >= PAIRS_SSIM_SIDE_MIN;
    double l1 = 0, ssim = 0;
    for (int i = 0; i < n; i++) {
        l1 += pairs_l1(&fakes[i], &real[i]);
        ssim += is_large ? pairs_ssim(&fakes[i], &real[i]) : NAN;
    }
    scores->l1[net] = l1 / n;
    scores->ssim[net] = ssim / n;
}

// What the fakes of net `net` are like: their distance from the domain they are to look like, and
// each beside its true picture.
static int judge_fakes(const struct judgement *j, int net, double *ret_distance,
                       struct evaluate_scores *scores) {
    struct image *fakes = xcalloc((size_t)j->n[net], sizeof *fakes);
    int err = make_fakes(j, net, fakes);
    if (!err)
        err = swd(fakes, j->n[net], j->held->real[1 - net], j->n[1 - net], j->options->seed,
                  ret_distance);
    if (!err && j->options->paired) // swd has found all of one size
        compare_pairs(j, net, fakes, scores);
    free_images(fakes, j->n[net]);
    return err;
}

int evaluate(struct model *m, const struct held_out *held, const struct evaluate_options *options,
             struct evaluate_scores *ret_scores) {
    struct judgement j = {m, held, options, {0}};
    struct evaluate_scores s = {.l1 = {NAN, NAN}, .ssim = {NAN, NAN}};
    for (int i = 0; i < 2; i++)
        j.n[i] = MIN(options->pictures, held->count[i]);
    if (j.n[0] < 1 || j.n[1] < 1)
        return err_set(ERR_SHAPE, "no pictures to judge with");
    int err = judge_fakes(&j, 0, &s.a_to_b, &s);
    if (!err && model_n_generators(m) > 1)
        err = judge_fakes(&j, 1, &s.b_to_a, &s);
    if (!err)
        err = swd(held->real[0], j.n[0], held->real[1], j.n[1], options->seed, &s.a_to_b_identity);
    if (!err)
        err = swd(held->real[1], j.n[1], held->real[0], j.n[0], options->seed, &s.b_to_a_identity);
    if (!err)
        *ret_scores = s;
    return err;
}

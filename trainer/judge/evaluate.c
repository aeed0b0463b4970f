// Runs the generators over the held-out images and calls the scores of this room.
#include "judge/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "judge/diversity.h"
#include "judge/pair_scores.h"
#include "judge/picture.h"
#include "judge/swd.h"

static void free_images(struct image *images, int n) {
    for (int i = 0; i < n; i++)
        image_fini(&images[i]);
    free(images);
}

struct evaluation {
    struct model *model;
    const struct held_out *held;
    const struct evaluate_options *options;
    int n[2]; // images of A and B
};

static int translate(const struct evaluation *j, int net, const struct image *im,
                     struct image *ret_fake) {
    // Between images: a stop need not wait for all of them.
    if (*j->options->stop)
        return err_set(ERR_STOPPED, "asked to stop");
    return picture_translate(j->model, net, j->held->real[1 - net][0].c, im, ret_fake);
}

static int make_fakes(const struct evaluation *j, int net, struct image *ret_fakes) {
    for (int i = 0; i < j->n[net]; i++) {
        int err = translate(j, net, &j->held->real[net][i], &ret_fakes[i]);
        if (err)
            return err;
    }
    return ERR_OK;
}

static double ssim(const struct image *a, const struct image *b) {
    // Smaller images have no window; NaN is not recorded.
    return MIN(a->w, a->h) >= PAIRS_SSIM_SIDE_MIN ? pairs_ssim(a, b) : NAN;
}

static void compare_pairs(const struct evaluation *j, int net, const struct image *fakes,
                          struct evaluate_scores *scores) {
    const struct image *real = j->held->real[1 - net];
    // Pairs have equal numbers; a domain may have more images.
    int n = MIN(j->n[0], j->n[1]);
    scores->l1 = scores->ssim = scores->psnr = 0;
    for (int i = 0; i < n; i++) {
        // Divided at once: the sums are means.
        scores->l1 += pairs_l1(&fakes[i], &real[i]) / n;
        scores->ssim += ssim(&fakes[i], &real[i]) / n;
        scores->psnr += pairs_psnr(&fakes[i], &real[i]) / n;
    }
}

// Translates there and back, one image at a time to save memory.
static int compare_cycle(const struct evaluation *j, int net, const struct image *fakes,
                         struct evaluate_scores *scores) {
    const struct image *real = j->held->real[net];
    scores->cycle_l1 = scores->cycle_ssim = 0;
    for (int i = 0; i < j->n[net]; i++) {
        struct image back;
        int err = translate(j, 1 - net, &fakes[i], &back);
        if (err)
            return err;
        scores->cycle_l1 += pairs_l1(&back, &real[i]) / j->n[net];
        scores->cycle_ssim += ssim(&back, &real[i]) / j->n[net];
        image_fini(&back);
    }
    return ERR_OK;
}

// Writes FOLDER/NAME/0000.png, ... and removes the old files.
static int write_pictures(const char *folder, const char *name, const struct image *pictures,
                          int n) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path - 16)
        return err_set(ERR_IO, "'%s' is too long", folder);
    // An earlier step may have written more images.
    int err = fs_exists(path) ? fs_remove_tree(path) : ERR_OK;
    if (!err)
        err = fs_mkdirs(path, 0777);
    for (int i = 0; i < n && !err; i++) {
        (void)snprintf(path, sizeof path, "%s/%s/%04d.png", folder, name, i); // fits
        err = image_save_png(path, &pictures[i]);
    }
    return err;
}

static int write_folders(const struct evaluation *j, int net, const struct image *fakes) {
    const char *folder = j->options->folder;
    if (!folder)
        return ERR_OK;
    // Named by the domain that net translates to, also where the run goes from B to A.
    bool to_a = held_out_domain(j->held, 1 - net) == 'A';
    int err = write_pictures(folder, to_a ? "fake_A" : "fake_B", fakes, j->n[net]);
    return err ? err
               : write_pictures(folder, to_a ? "real_A" : "real_B", j->held->real[1 - net],
                                j->n[1 - net]);
}

static int evaluate_net(const struct evaluation *j, int net, struct evaluate_scores *s) {
    const struct image *imitated = j->held->real[1 - net];
    struct image *fakes = xcalloc((size_t)j->n[net], sizeof *fakes);
    int err = make_fakes(j, net, fakes);
    if (!err)
        err = swd(fakes, j->n[net], imitated, j->n[1 - net], j->options->seed, &s->distance);
    if (!err) {
        // swd has checked that all have one size
        s->diversity = diversity(fakes, j->n[net]);
        s->of_imitated = diversity(imitated, j->n[1 - net]);
        if (j->options->paired)
            compare_pairs(j, net, fakes, s);
        err = write_folders(j, net, fakes);
    }
    // Translation there and back needs the other generator.
    if (!err && model_n_generators(j->model) > 1)
        err = compare_cycle(j, net, fakes, s);
    free_images(fakes, j->n[net]);
    return err;
}

int evaluate(struct model *m, const struct held_out *held, const struct evaluate_options *options,
             struct evaluate_scores ret_scores[2]) {
    struct evaluation j = {m, held, options, {0}};
    int err = ERR_OK;
    for (int i = 0; i < 2; i++)
        j.n[i] = MIN(options->pictures, held->count[i]);
    if (j.n[0] < 1 || j.n[1] < 1)
        return err_set(ERR_SHAPE, "no pictures to judge with");
    for (int net = 0; net < model_n_generators(m) && !err; net++) {
        struct evaluate_scores *s = &ret_scores[net];
        // Scores that do not apply stay NaN and are not recorded.
        *s = (struct evaluate_scores){NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
        err = evaluate_net(&j, net, s);
        if (!err)
            // The inputs as if they were fakes: the distance that a good generator must beat.
            err = swd(held->real[net], j.n[net], held->real[1 - net], j.n[1 - net], options->seed,
                      &s->identity);
    }
    return err;
}

double evaluate_diversity_share(const struct evaluate_scores *s) {
    // A single image, or equal ones, have no diversity to compare with.
    return s->of_imitated > 0 ? s->diversity / s->of_imitated : NAN;
}

double evaluate_total(const struct evaluate_scores *s, int n, bool paired) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        // Divided by the identity's distance, both directions have the same weight.
        sum += paired ? s[i].l1 : s[i].distance / s[i].identity;
    return sum / n;
}

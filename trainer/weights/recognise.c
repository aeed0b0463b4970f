// Guesses the family and options of a net from a few tensors, then lets weights_fit prove the
// guess.
#include "weights/recognise.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "base/util.h"

#define CHANNELS_MAX 65536 // larger nets are not built for the comparison
// unet_256 has 8 levels. One more is counted, so that a deeper net is refused by its name.
#define LEVELS_MAX 8
#define NAMES_SHOWN 40

// ---- looking for tensors ----

static const struct weights_tensor *find_tensor(const struct weights *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static const struct weights_tensor *find_tensor(const struct weights *w, const char *format, ...) {
    char name[128];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(name, sizeof name, format, args); // ours: short
    va_end(args);
    return weights_find(w, name);
}

static bool is_filter(const struct weights_tensor *t, int side) {
    return t && t->rank == 4 && t->dims[2] == side && t->dims[3] == side && t->dims[0] >= 1 &&
           t->dims[1] >= 1 && t->dims[0] <= CHANNELS_MAX && t->dims[1] <= CHANNELS_MAX;
}

// The norm behind convolution PREFIX.conv.
static const char *norm_of(const struct weights *w, const char *prefix, int conv) {
    // A convolution has a weight of rank 4 and a batch norm one of rank 1.
    const struct weights_tensor *norm = find_tensor(w, "%s%d.weight", prefix, conv + 1);
    if (norm && norm->rank == 1)
        return "batch";
    return find_tensor(w, "%s%d.bias", prefix, conv) ? "instance" : "none";
}

static void set_arch(struct recognised *r, enum recognised_role role, const char *arch) {
    r->role = role;
    (void)text_copy(r->arch, sizeof r->arch, arch); // fits
}

// ---- families ----

// The two places where maps are doubled, from module `at` on: by a transposed convolution (3
// modules), by CUT's filter or by interpolation, and a plain convolution (4). Returns the last
// convolution's module.
static int look_at_ups(const struct weights *w, struct recognised *r, int at) {
    bool filtered = find_tensor(w, "model.%d.filt", at) != NULL;
    bool plain = is_filter(find_tensor(w, "model.%d.weight", at + 1), 3);
    r->options.no_antialias_up = r->options.antialias && !filtered;
    if (plain && !filtered)
        r->options.upsample = "resize";
    return at + 2 * (plain ? 4 : 3) + 1;
}

static bool is_block(const struct weights *w, int i) {
    return find_tensor(w, "model.%d.conv_block.1.weight", i) != NULL;
}

static bool look_at_resnet(const struct weights *w, struct recognised *r) {
    const struct weights_tensor *first = find_tensor(w, "model.1.weight"), *last;
    char arch[32];
    int blocks = 0, at;
    if (!is_filter(first, 7))
        return false;
    // CUT inserts a filter module after each of the two strided convolutions.
    r->options.antialias = find_tensor(w, "model.7.filt") != NULL;
    // The first block's module: 1 border and 3 x 3 modules, and CUT's two filters.
    at = r->options.antialias ? 12 : 10;
    // The file decides how long these names go on, so the search has a bound.
    while (is_block(w, at + blocks) && blocks < 100)
        blocks++;
    if (!blocks)
        return false;
    (void)snprintf(arch, sizeof arch, "resnet_%dblocks", blocks); // fits
    set_arch(r, RECOGNISED_GENERATOR, arch);
    // A dropout module shifts the second convolution of a block from 5 to 6.
    r->options.dropout = is_filter(find_tensor(w, "model.%d.conv_block.6.weight", at), 3);
    last = find_tensor(w, "model.%d.weight", look_at_ups(w, r, at + blocks));
    r->options.in_nc = (int)first->dims[1];
    r->options.nf = (int)first->dims[0];
    r->options.out_nc = is_filter(last, 7) ? (int)last->dims[0] : r->options.in_nc;
    r->options.norm = norm_of(w, "model.", 1);
    return true;
}

static bool look_at_unet(const struct weights *w, struct recognised *r) {
    const struct weights_tensor *first = find_tensor(w, "model.model.0.weight");
    // Outermost: convolution, submodule, ReLU, transposed convolution.
    const struct weights_tensor *last = find_tensor(w, "model.model.3.weight");
    char arch[32], prefix[160] = "model.model.1.model.";
    int levels = 1;
    if (!is_filter(first, 4) || !is_filter(last, 4))
        return false;
    while (levels <= LEVELS_MAX && find_tensor(w, "%s1.weight", prefix)) {
        levels++;
        (void)strcat(prefix, "3.model."); // 20 and 9 times 8 fit
    }
    (void)snprintf(arch, sizeof arch, "unet_%d", 1 << levels); // fits
    set_arch(r, RECOGNISED_GENERATOR, arch);
    r->options.in_nc = (int)first->dims[1];
    // A transposed convolution has its filters as C,K,R,S.
    r->options.out_nc = (int)last->dims[1];
    r->options.nf = (int)first->dims[0];
    r->options.norm = norm_of(w, "model.model.1.model.", 1);
    return true;
}

static bool look_at_patch(const struct weights *w, struct recognised *r) {
    const struct weights_tensor *first = find_tensor(w, "model.0.weight");
    int n = -2; // it has two convolutions more than n_layers
    if (!is_filter(first, 4))
        return false;
    for (int i = 0; i < weights_count(w); i++)
        // Every convolution of a patch discriminator is 4 x 4, and nothing else is.
        n += is_filter(weights_at(w, i), 4);
    r->options.antialias = find_tensor(w, "model.2.filt") != NULL;
    r->options.norm = norm_of(w, "model.", r->options.antialias ? 3 : 2);
    r->options.in_nc = (int)first->dims[1];
    r->options.nf = (int)first->dims[0];
    r->options.n_layers = n;
    set_arch(r, RECOGNISED_DISCRIMINATOR, n == 3 ? "basic" : "n_layers");
    return true;
}

static bool look_at_pixel(const struct weights *w, struct recognised *r) {
    const struct weights_tensor *first = find_tensor(w, "net.0.weight");
    // Pixel: 1 x 1 convolutions only.
    if (!is_filter(first, 1))
        return false;
    r->options.in_nc = (int)first->dims[1];
    r->options.nf = (int)first->dims[0];
    r->options.norm = norm_of(w, "net.", 2);
    set_arch(r, RECOGNISED_DISCRIMINATOR, "pixel");
    return true;
}

// ---- the result ----

static int refuse_unknown(const struct weights *w) {
    char *names;
    size_t size;
    FILE *out = text_open(&names, &size);
    int n = weights_count(w);
    for (int i = 0; i < MIN(n, NAMES_SHOWN); i++)
        fprintf(out, "%s%s", i ? ", " : "", weights_at(w, i)->name);
    if (n > NAMES_SHOWN)
        fprintf(out, ", and %d more", n - NAMES_SHOWN);
    text_close(out);
    int err = err_set(ERR_MISMATCH,
                      "'%s' is none of the nets that can be used here (docs/weights.md); its "
                      "tensors: %s",
                      weights_path(w), names);
    free(names);
    return err;
}

static int compare_with_ours(const struct weights *w, const struct recognised *r) {
    struct net_options options = recognised_options(r);
    struct net *net;
    char text[160];
    int err = r->role == RECOGNISED_GENERATOR ? generator_new(&options, &net)
                                              : discriminator_new(&options, &net);
    if (err) // a number of blocks or levels that does not exist here
        return err_set(ERR_MISMATCH, "'%s' looks like %s: %s", weights_path(w), r->arch,
                       err_text());
    recognised_text(r, text, sizeof text);
    struct model_net here = {
        .name = text, .n_params = net_n_params(net), .params = net_params(net)};
    err = weights_fit(w, &here);
    net_free(net);
    return err;
}

int recognise(const struct weights *w, struct recognised *ret) {
    static bool (*const families[])(const struct weights *w, struct recognised *r) = {
        look_at_resnet, look_at_unet, look_at_patch, look_at_pixel};
    for (size_t i = 0; i < COUNT(families); i++) {
        struct recognised r = {0};
        if (!families[i](w, &r))
            continue;
        // The first family that matches decides; its error names the first difference.
        int err = compare_with_ours(w, &r);
        if (!err)
            *ret = r;
        return err;
    }
    return refuse_unknown(w);
}

struct net_options recognised_options(const struct recognised *r) {
    struct net_options options = r->options;
    options.arch = r->arch;
    return options;
}

void recognised_text(const struct recognised *r, char *ret, size_t n) {
    const struct net_options *o = &r->options;
    const char *filters = !o->antialias        ? ""
                          : o->no_antialias_up ? ", halved by filters (CUT)"
                                               : ", resampled by filters (CUT)";
    if (r->role == RECOGNISED_GENERATOR)
        (void)snprintf(ret, n, "generator %s, %d to %d channels, ngf %d, norm %s, %s%s%s", r->arch,
                       o->in_nc, o->out_nc, o->nf, o->norm,
                       strncmp(r->arch, "unet", 4) == 0 ? "dropout unknown (it has no parameters)"
                       : o->dropout                     ? "dropout"
                                                        : "no dropout",
                       filters, o->upsample ? ", doubled by interpolation" : "");
    else
        (void)snprintf(ret, n, "discriminator %s, %d channels, ndf %d, n_layers %d, norm %s%s",
                       r->arch, o->in_nc, o->nf, o->n_layers, o->norm, filters);
}

static void configure_generator(const struct recognised *r, bool reversed,
                                struct config_trainer *c) {
    const struct net_options *o = &r->options;
    config_set_text(&c->netG, r->arch);
    config_set_text(&c->norm, o->norm);
    c->ngf = o->nf;
    c->input_nc = reversed ? o->out_nc : o->in_nc;
    c->output_nc = reversed ? o->in_nc : o->out_nc;
    // A U-Net's dropout leaves no trace in the names, so the setting stays.
    if (strncmp(r->arch, "unet", 4) != 0)
        c->no_dropout = !o->dropout;
    if (o->upsample)
        config_set_text(&c->upsample, o->upsample);
    // Only CUT builds filtered nets.
    if (o->antialias) {
        config_set_text(&c->model, "cut");
        c->no_antialias = false;
        c->no_antialias_up = o->no_antialias_up;
    }
}

void recognised_configure(const struct recognised *r, bool reversed, struct config_trainer *c) {
    if (r->role == RECOGNISED_GENERATOR) {
        configure_generator(r, reversed, c);
        return;
    }
    config_set_text(&c->netD, r->arch);
    c->ndf = r->options.nf;
    if (r->options.n_layers)
        c->n_layers_D = r->options.n_layers;
}

// Checks that need more than one key: folders, sizes that must fit together, memory.
#include "config/draft.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/parse.h"
#include "base/program_path.h"
#include "base/util.h"
#include "config/layout.h"

static const struct config_origin *origin_of(struct config_draft *d, const char *path) {
    int domain;
    const struct config_key *key = config_key_find(path, &domain);
    return config_origin(d, key, domain);
}

// The place where `path` was set; for a default the key itself, so that a message names it.
static const char *where_of(struct config_draft *d, const char *path) {
    const struct config_origin *origin = origin_of(d, path);
    return origin->where ? origin->where : path;
}

// Whether the key's value may be blamed. After a misread line, a key that seems unset may have been
// meant by that line.
static bool is_sure(struct config_draft *d, const char *path) {
    return !d->misread || origin_of(d, path)->where;
}

// ---- dataroot ----

// A root and a dataroot of the same layer must agree: neither overrides the other.
static void check_both_set(struct config_draft *d, const char *key, int layer, const char *root,
                           const char *derived) {
    if (origin_of(d, key)->layer == layer && strcmp(root, derived) != 0)
        config_blame(d, where_of(d, key), "%s and dataroot are both set; set one", key);
}

// The curator `paired` detects the layout itself.
static void derive_pairs(struct config_draft *d, struct config_curator *c) {
    const char *dataroot = d->config->top.dataroot;
    config_set_text(&c->use, "paired");
    config_set_text(&c->root, dataroot);
}

static void blame_layout(struct config_draft *d, const char *dataroot) {
    char *there = layout_describe(dataroot);
    config_blame(d, where_of(d, "dataroot"),
                 "dataroot: %s has no trainA/ and trainB/ (nor train/A and train/B, A/train and "
                 "B/train, A/ and B/); %s",
                 dataroot, there);
    free(there);
}

static void derive_domain(struct config_draft *d, int domain) {
    struct config_curator *c = &d->config->curator[domain];
    const char letter[2] = {(char)('A' + domain), 0};
    const char *dataroot = d->config->top.dataroot;
    char key[32];
    snprintf(key, sizeof key, "curator.%s.root", letter);
    int layer = origin_of(d, "dataroot")->layer;
    // Later layers win: a root of the file overrides a dataroot of the preset.
    if (origin_of(d, key)->layer > layer) // the root's layer overrides dataroot's
        return;
    if (strcmp(d->config->loader.dataset_mode, "aligned") == 0) {
        check_both_set(d, key, layer, c->root, dataroot);
        derive_pairs(d, c);
        return;
    }
    // Both domains in one layout first; a folder may have pictures of one domain only.
    const struct layout *l = layout_find(dataroot, "AB");
    if (!l) // the other domain may have a root of its own
        l = layout_find(dataroot, letter);
    char *root = l ? layout_folder(dataroot, l->train, letter[0]) : NULL;
    if (!root)
        root = xasprintf("%s/train%s", dataroot, letter);
    check_both_set(d, key, layer, c->root, root);
    config_set_text(&c->use, "folder");
    free(c->root);
    c->root = root;
    bool said = domain && origin_of(d, "curator.A.root")->layer <= layer &&
                !layout_find(dataroot, "A"); // of A
    if (!l && !said && fs_is_dir(dataroot))  // else check_dataroot says it
        blame_layout(d, dataroot);
    // held_out follows the same rule, but a value of the same layer is kept.
    snprintf(key, sizeof key, "curator.%s.held_out", letter);
    if (origin_of(d, key)->layer >= layer)
        return;
    free(c->held_out);
    c->held_out = l ? layout_held_out(dataroot, l, letter) : NULL;
    if (!c->held_out)
        c->held_out = xstrdup("");
}

// ---- paths ----

// A shell replaces "~" only at the beginning of a word, so not in a file and not behind --set key=.
static void expand_home(char **path) {
    const char *home = getenv("HOME");
    // "~user" is left as it is: only the own home is known.
    if (**path != '~' || ((*path)[1] && (*path)[1] != '/') || !home || *home != '/')
        return;
    char *expanded = xasprintf("%s%s", home, *path + 1);
    free(*path);
    *path = expanded;
}

static void make_absolute(char **path) {
    char cwd[PATH_MAX];
    size_t length = strlen(*path);
    // A slash at the end would make equal folders differ as text.
    while (length > 1 && (*path)[length - 1] == '/')
        (*path)[--length] = 0;
    expand_home(path);
    if (!**path || **path == '/' || !getcwd(cwd, sizeof cwd))
        return;
    // Not realpath: links stay as written, and the folder may not exist yet.
    char *absolute = xasprintf("%s/%s", cwd, strncmp(*path, "./", 2) == 0 ? *path + 2 : *path);
    free(*path);
    *path = absolute;
}

static void set_workdir(char **workdir) {
    char cwd[PATH_MAX];
    if (!**workdir && getcwd(cwd, sizeof cwd))
        config_set_text(workdir, cwd);
    make_absolute(workdir);
}

static void check_folder(struct config_draft *d, int domain, const char *name, const char *path,
                         bool file) {
    char key[64];
    snprintf(key, sizeof key, "curator.%c.%s", 'A' + domain, name);
    // An empty text is a setting that was not made.
    if (*path && (file ? access(path, R_OK) != 0 : !fs_is_dir(path)))
        config_blame(d, where_of(d, key), "%s: there is no %s %s", key, file ? "file" : "folder",
                     path);
}

static void check_order(struct config_draft *d, int domain, const char *low, double low_value,
                        const char *high, double high_value) {
    char keys[2][64];
    snprintf(keys[0], sizeof keys[0], "curator.%c.%s", 'A' + domain, low);
    snprintf(keys[1], sizeof keys[1], "curator.%c.%s", 'A' + domain, high);
    // Blames only when both values are known to be meant.
    if (low_value > high_value && is_sure(d, keys[0]) && is_sure(d, keys[1]))
        config_blame(d, where_of(d, keys[0]), "curator.%c: %s %g is above %s %g", 'A' + domain, low,
                     low_value, high, high_value);
}

static void check_curator(struct config_draft *d, int domain) {
    struct config_curator *c = &d->config->curator[domain];
    const char letter = (char)('A' + domain);
    char key[64];
    snprintf(key, sizeof key, "curator.%c.root", letter);
    if (!*c->root && is_sure(d, key))
        config_blame(d, key,
                     "no pictures: set %s to a folder, or dataroot to one with trainA/ "
                     "and trainB/",
                     key);
    // A missing trainA/ of dataroot has been said already.
    if (origin_of(d, key)->layer > origin_of(d, "dataroot")->layer || !*d->config->top.dataroot)
        check_folder(d, domain, "root", c->root, false);
    check_folder(d, domain, "held_out", c->held_out, false);
    check_folder(d, domain, "landmarks", c->landmarks, true);
    check_folder(d, domain, "lists", c->lists, false);
    // labels may be a file or a folder.
    check_folder(d, domain, "labels", c->labels, !fs_is_dir(c->labels));
    check_order(d, domain, "night_luma", c->night_luma, "day_luma", c->day_luma);
    check_order(d, domain, "min_side", (double)c->min_side, "max_side", (double)c->max_side);
    if (c->quick && c->min_sharpness > 0)
        config_blame(d, where_of(d, key),
                     "curator.%c: min_sharpness needs whole pictures, quick does not decode them",
                     letter);
    snprintf(key, sizeof key, "curator.%c.command", letter);
    if (strcmp(c->use, "exec") == 0 && access(c->command, X_OK) != 0)
        config_blame(d, where_of(d, key), "%s: '%s' is no executable file", key, c->command);
}

// ---- pairs ----

// A pair gets one verdict, so the settings that decide on it must be equal in A and B.
static void check_same(struct config_draft *d, const char *name) {
    char key[2][64], value[2][64];
    for (int i = 0; i < 2; i++) {
        snprintf(key[i], sizeof key[i], "curator.%c.%s", 'A' + i, name);
        (void)config_get_text(d->config, key[i], value[i], sizeof value[i]);
    }
    if (strcmp(value[0], value[1]) != 0)
        config_blame(d, where_of(d, key[0]), "%s is %s and %s is %s: of pairs they are the same",
                     key[0], value[0], key[1], value[1]);
}

static void check_pairs(struct config_draft *d) {
    static const char *const same[] = {
        "limit",           "limit_by",        "hold_out",   "min_side",
        "max_side",        "quick",           "max_pixels", "max_pixels_per_byte",
        "drop_duplicates", "near_duplicates", "drop_leaks"};
    const struct config *c = d->config;
    int paired = 0;
    // The pairs' curator works for both domains or for none.
    for (int i = 0; i < 2; i++)
        paired += strcmp(c->curator[i].use, "paired") == 0;
    if (paired == 1)
        config_blame(d, where_of(d, "curator.A.use"),
                     "curator.A.use is %s and curator.B.use is %s: pairs need `paired` for both",
                     c->curator[0].use, c->curator[1].use);
    for (size_t i = 0; paired == 2 && i < COUNT(same); i++)
        check_same(d, same[i]);
    bool aligned = strcmp(c->loader.dataset_mode, "aligned") == 0;
    if (aligned && paired == 0)
        config_blame(d, where_of(d, "loader.dataset_mode"),
                     "loader.dataset_mode = aligned needs pairs: set dataroot, or use = \"paired\" "
                     "for both curators");
    if (!aligned && strcmp(c->trainer.model, "pix2pix") == 0)
        config_blame(d, where_of(d, "trainer.model"),
                     "trainer.model = pix2pix learns from pairs: set loader.dataset_mode = "
                     "\"aligned\"");
}

// ---- sizes ----

// The number that the sides of images must be divisible by.
// U-Nets halve the image 8 or 7 times; ResNets twice.
static long long divisor(const struct config_trainer *t) {
    return strcmp(t->netG, "unet_256") == 0 ? 256 : strcmp(t->netG, "unet_128") == 0 ? 128 : 4;
}

// The norm in front of the discriminator's last layer needs more than one value.
static void check_discriminator(struct config_draft *d) {
    const struct config_trainer *t = &d->config->trainer;
    long long crop = d->config->loader.crop_size;
    long long layers = strcmp(t->netD, "basic") == 0 ? 3 : t->n_layers_D;
    // Each layer of stride 2 halves the sides; the last ones need some pixels left.
    long long least = MAX(8, 3LL << layers);
    bool sure = is_sure(d, "loader.crop_size") && is_sure(d, "trainer.netD");
    if (sure && strcmp(t->netD, "pixel") != 0 && crop < least)
        config_blame(d, where_of(d, "loader.crop_size"),
                     "loader.crop_size %lld is too small for a discriminator of %lld "
                     "layers; %lld is the least",
                     crop, layers, least);
}

// Which setting is the side, or the width, of what is trained on.
static const char *side_key(const struct config_loader *l) {
    return strstr(l->preprocess, "crop") ? "crop_size" : "load_size";
}

static long long side_of(const struct config_loader *l) {
    return strstr(l->preprocess, "crop") ? l->crop_size : l->load_size;
}

static void check_crop(struct config_draft *d) {
    const struct config_loader *l = &d->config->loader;
    const struct config_trainer *t = &d->config->trainer;
    // The nearest sizes that work, below and above, for the message.
    long long side = side_of(l), by = divisor(t), low = side / by * by;
    char key[32];
    snprintf(key, sizeof key, "loader.%s", side_key(l));
    const char *where = where_of(d, key);
    bool sure = is_sure(d, key) && is_sure(d, "loader.preprocess"); // 4 divides for every net
    if (strcmp(l->preprocess, "none") == 0)
        return;
    if (l->crop_size > l->load_size && strcmp(l->preprocess, "crop") != 0 &&
        is_sure(d, "loader.crop_size") && is_sure(d, "loader.load_size"))
        config_blame(d, where_of(d, "loader.crop_size"),
                     "loader.crop_size %lld is larger than loader.load_size %lld",
                     (long long)l->crop_size, (long long)l->load_size);
    if (sure && side % by && low)
        config_blame(d, where, "%s %lld: %s needs sides divisible by %lld; %lld and %lld work", key,
                     side, t->netG, by, low, low + by);
    else if (sure && side % by)
        config_blame(d, where, "%s %lld: %s needs sides divisible by %lld; %lld works", key, side,
                     t->netG, by, by);
    check_discriminator(d);
}

static void check_pool(struct config_draft *d) {
    const struct config *c = d->config;
    if (c->pool.pool_size && strcmp(c->trainer.model, "cycle_gan") != 0)
        config_blame(d, where_of(d, "pool.pool_size"), "pool.pool_size %lld: %s has no pool; use 0",
                     (long long)c->pool.pool_size, c->trainer.model);
    long long slots = c->pool.pool_size + 2 * c->loader.batch_size;
    long long side = side_of(&c->loader), channels = c->trainer.input_nc + c->trainer.output_nc;
    // Two bytes a number in bf16, else four.
    int number = strcmp(c->trainer.dtype, "bf16") == 0 ? 2 : 4;
    double bytes = (double)slots * (double)(side * side) * (double)channels * number;
    if (c->pool.pool_size == 0 || bytes <= (double)c->pool.memory)
        return;
    char budget[32];
    parse_print_size(c->pool.memory, budget, sizeof budget);
    config_blame(d, where_of(d, "pool.pool_size"),
                 "the pool does not fit: (%lld pictures + 2 x batch %lld) x %lld x %lld x %lld "
                 "channels of both tables x %d bytes = %.0f MiB, pool.memory is %s",
                 (long long)c->pool.pool_size, (long long)c->loader.batch_size, side, side,
                 channels, number, bytes / 1048576, budget);
}

// Images are decoded to 1 or 3 channels, whatever the file has.
static void check_channels(struct config_draft *d, const char *key, int64_t channels) {
    if (channels != 1 && channels != 3)
        config_blame(d, where_of(d, key),
                     "%s %lld: images have 1 channel (gray) or 3; no curator gives others", key,
                     (long long)channels);
}

// Whether this build has the plugin. Whether it works here is known only after opening it.
static bool has_cuda(void) {
    char path[PATH_MAX];
    return plugin_path("cuda", path) == ERR_OK && fs_exists(path);
}

static void check_run(struct config_draft *d) {
    const struct config *c = d->config;
    const struct config_trainer *t = &c->trainer;
    const char *name = c->top.name;
    size_t length = strlen(name);
    if (length == 0 || length > 64 || name[0] == '.' || name[0] == '-' ||
        name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")])
        config_blame(d, where_of(d, "name"),
                     "name: '%.80s' cannot name a folder here: 1 to 64 of "
                     "letters, digits, . _ - and neither . nor - first",
                     name);
    if (t->n_epochs + t->n_epochs_decay < 1 && t->max_steps == 0 && !d->misread)
        config_blame(d, where_of(d, "trainer.n_epochs"),
                     "nothing to train: n_epochs + "
                     "n_epochs_decay is 0 and so is max_steps");
    if (strcmp(t->device, "cuda") == 0 && !has_cuda())
        config_blame(d, where_of(d, "trainer.device"),
                     "trainer.device: this build has no CUDA; "
                     "use \"cpu\" or \"auto\"");
    if (strcmp(t->device, "cpu") == 0 && strcmp(t->dtype, "auto") != 0 &&
        strcmp(t->dtype, "fp32") != 0)
        config_blame(d, where_of(d, "trainer.dtype"),
                     "trainer.dtype: the CPU computes with fp32; use \"auto\" or \"fp32\"");
}

// Reported once, and not at all if both domains have a root of their own.
static void check_dataroot(struct config_draft *d) {
    const char *dataroot = d->config->top.dataroot;
    int layer = origin_of(d, "dataroot")->layer;
    bool used = origin_of(d, "curator.A.root")->layer <= layer ||
                origin_of(d, "curator.B.root")->layer <= layer;
    if (*dataroot && used && !fs_is_dir(dataroot))
        config_blame(d, where_of(d, "dataroot"), "dataroot: there is no folder %s", dataroot);
}

void config_check(struct config_draft *d) {
    struct config *c = d->config;
    d->misread = d->problems->count > 0;
    set_workdir(&c->top.workdir);
    if (!fs_is_dir(c->top.workdir))
        config_blame(d, where_of(d, "workdir"), "workdir: there is no folder %s", c->top.workdir);
    make_absolute(&c->top.dataroot);
    make_absolute(&c->trainer.init_from);
    check_dataroot(d);
    for (int domain = 0; domain < 2; domain++) {
        struct config_curator *k = &c->curator[domain];
        make_absolute(&k->root);
        make_absolute(&k->held_out);
        make_absolute(&k->landmarks);
        make_absolute(&k->labels);
        make_absolute(&k->lists);
        make_absolute(&k->command);
        if (*c->top.dataroot)
            derive_domain(d, domain);
        check_curator(d, domain);
    }
    check_run(d);
    check_channels(d, "trainer.input_nc", c->trainer.input_nc);
    check_channels(d, "trainer.output_nc", c->trainer.output_nc);
    check_crop(d);
    if (d->misread) // these conditions use many keys
        return;
    check_pairs(d);
    check_pool(d);
}

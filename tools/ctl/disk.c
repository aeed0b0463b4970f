// disk - how much disk space a run needs, computed from the shapes of its nets.
#include "ctl/ctl.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"

// Parameters of a k x k convolution with bias.
static int64_t conv(int64_t in, int64_t out, int64_t k) {
    return in * out * k * k + out;
}

// 7x7, two convolutions of stride 2, the blocks, and the way back (Johnson et al. 2016).
static int64_t resnet(int64_t f, int64_t in, int64_t out, int64_t blocks) {
    return conv(in, f, 7) + conv(f, 2 * f, 3) + conv(2 * f, 4 * f, 3) +
           blocks * 2 * conv(4 * f, 4 * f, 3) + conv(4 * f, 2 * f, 3) + conv(2 * f, f, 3) +
           conv(f, out, 7);
}

// Skip connections double the input channels of every convolution on the way up but the innermost.
static int64_t unet(int64_t f, int64_t in, int64_t out, int64_t levels) {
    int64_t down = conv(in, f, 4) + conv(f, 2 * f, 4) + conv(2 * f, 4 * f, 4) +
                   conv(4 * f, 8 * f, 4) + (levels - 4) * conv(8 * f, 8 * f, 4);
    int64_t up = conv(8 * f, 8 * f, 4) + (levels - 5) * conv(16 * f, 8 * f, 4) +
                 conv(16 * f, 4 * f, 4) + conv(8 * f, 2 * f, 4) + conv(4 * f, f, 4) +
                 conv(2 * f, out, 4);
    return down + up;
}

// Shapes as in trainer/nets; ctl links no nets.
int64_t net_generator_parameters(const struct config_trainer *t, int in, int out) {
    if (strcmp(t->netG, "unet_128") == 0)
        return unet(t->ngf, in, out, 7);
    if (strcmp(t->netG, "unet_256") == 0)
        return unet(t->ngf, in, out, 8);
    return resnet(t->ngf, in, out, strtol(t->netG + strlen("resnet_"), NULL, 10));
}

int64_t net_discriminator_parameters(const struct config_trainer *t, int in) {
    int64_t f = t->ndf, from = f, count = conv(in, f, 4);
    int64_t layers = strcmp(t->netD, "basic") == 0 ? 3 : t->n_layers_D;
    if (strcmp(t->netD, "pixel") == 0)
        return conv(in, f, 1) + conv(f, 2 * f, 1) + conv(2 * f, 1, 1);
    for (int64_t k = 1; k <= layers; k++) {
        // Channels double with each layer up to eight times ndf.
        int64_t to = f * MIN(1 << k, 8);
        count += conv(from, to, 4);
        from = to;
    }
    return count + conv(from, 1, 4);
}

// nftw passes no context, so the sum is a global of this file.
static int64_t tree_bytes;

static int add_file(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
    // Blocks rather than lengths: files may have holes.
    tree_bytes += (int64_t)st->st_blocks * 512;
    return 0;
}

int disk_check(const struct config *c, const char *run_dir) {
    const struct config_trainer *t = &c->trainer;
    int in = (int)t->input_nc, out = (int)t->output_nc;
    // Two generators and two discriminators, also for models that have fewer.
    int64_t parameters = net_generator_parameters(t, in, out) +
                         net_generator_parameters(t, out, in) +
                         net_discriminator_parameters(t, in) + net_discriminator_parameters(t, out);
    int64_t slot = c->loader.crop_size * c->loader.crop_size * (in + out) * 4;
    int64_t pool = c->pool.pool_size * slot;
    int64_t whole = parameters * 4 * 3 + pool; // weights, Adam's two moments, the pool
    // One file of weights for each kept epoch.
    int64_t old = (t->n_epochs + t->n_epochs_decay) / t->keep_weights_every * parameters * 4;
    int64_t arena = pool + 2 * c->loader.batch_size * slot;
    int64_t rings = (6 + c->loader.count) * c->monitor.ring;
    int64_t need = (t->keep + 1) * whole + old + arena +
                   rings; // + 1: the new one is whole before the oldest goes
    uint64_t available;
    tree_bytes = 0;
    (void)nftw(run_dir, add_file, 16, FTW_PHYS); // unreadable files are not counted
    int err = fs_free_bytes(run_dir, &available);
    if (err)
        return err;
    double gib = 1 << 30;
    fprintf(stderr,
            "disk: %.2f GiB for %lld + 1 checkpoints of %.0f MB, %.2f GiB for older weights, pool "
            "and rings; %.1f GiB free\n",
            (double)((t->keep + 1) * whole) / gib, (long long)t->keep, (double)whole / 1e6,
            (double)(old + arena + rings) / gib, (double)available / gib);
    // The run's files on disk need not fit again.
    if (need > tree_bytes && (uint64_t)(need - tree_bytes) > available)
        return err_set(ERR_SPACE,
                       "%s: %.2f GiB more are needed, %.2f GiB are free; trainer.keep and "
                       "trainer.keep_weights_every say how many checkpoints stay",
                       run_dir, (double)(need - tree_bytes) / gib, (double)available / gib);
    return ERR_OK;
}

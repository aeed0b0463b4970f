// bench_loader - how fast a run's batches are made, without trainer or sockets; see --help.
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/bench_speed.h"

#include "base/err.h"
#include "base/util.h"
#include "source.h"
#include "work.h"

static const char help[] =
    "bench_loader [--seconds S]\n"
    "\n"
    "One core: pictures per second of CPU time from JPEG files to cropped training pictures, a "
    "JSON\n"
    "line for each of three workloads, medians of seven rounds of S (0.4) seconds that take "
    "turns:\n"
    "  decode       libjpeg-turbo alone, in full, from memory\n"
    "  loader       read, checked against its digest, decoded, resized, cropped, mirrored\n"
    "  cache        the same from the cache\n"
    "  pillow       the same by Pillow (scaled: by its draft mode), to bytes\n"
    "  torchvision  by torchvision's transforms on Pillow, to a normalised tensor\n"
    "  vips         decoded, resized and cropped by libvips, from memory\n"
    "  share_of_decode, times_pillow, ..   the loader's rate over that one, round by round\n"
    "  low, high    the loader's slowest and fastest round\n"
    "0: not installed. Pictures of ../shared/data if they are there, else drawn ones.\n"
    "\n"
    "bench_loader --run DIR [--batches N] [--dump FILE]\n"
    "\n"
    "Makes the first N batches (default: an epoch) of a run whose curators have finished, with "
    "its\n"
    "settings and its loader.threads, twice: from files, then with what the cache has kept. Two\n"
    "JSON lines:\n"
    "  pass         \"files\" or \"cache\"\n"
    "  batches, pictures, threads\n"
    "  img_per_s    pictures of either domain per second of wall clock\n"
    "  read_us, decode_us, resize_us   mean per picture that was not cached\n"
    "  cache_mb     bytes kept at the end\n"
    "--dump writes the batches of the first pass to FILE: per batch A's bytes, then B's, as\n"
    "[n,h,w,c], nothing between them: to feed another trainer with the same pictures.\n";

struct bench {
    const char *run, *dump;
    double seconds;
    uint64_t batches;
    struct config *config;
    struct manifest *manifest[2];
    struct items items;
    struct source source;
    FILE *out;
};

static int dump(const struct bench *b, const struct work_batch *batch) {
    struct msg *m = xmalloc(sizeof *m);
    struct link_frame frames[2];
    int err = work_pack(batch, m, frames);
    for (int side = 0; !err && side < 2; side++) {
        if (fwrite(frames[side].bytes, 1, frames[side].size, b->out) != frames[side].size)
            err = err_set(ERR_IO, "write '%s' failed", b->dump);
        free(frames[side].bytes);
    }
    free(m);
    return err;
}

static int make_batch(struct bench *b, struct work *w, uint64_t k, struct source_times *times) {
    uint64_t per_epoch = items_batches(&b->items);
    struct msg_ticket t = {.epoch = 1 + k / per_epoch, .index = k % per_epoch};
    t.count = items_in_batch(&b->items, t.index);
    int err = work_begin(w, &t, 0);
    if (err)
        return err;
    struct work_batch *batch;
    while (!(batch = work_next(w))) {
        struct pollfd p = {.fd = work_fd(w), .events = POLLIN};
        (void)poll(&p, 1, 1000); // a time-out only means another look
    }
    err = batch->err ? err_set(batch->err, "%s", batch->text) : b->out ? dump(b, batch) : ERR_OK;
    times->read_us += batch->times.read_us;
    times->decode_us += batch->times.decode_us;
    times->resize_us += batch->times.resize_us;
    times->cache_hits += batch->times.cache_hits;
    work_batch_free(w, batch);
    return err;
}

static int pass(struct bench *b, const char *name) {
    int threads = (int)b->config->loader.threads;
    struct work *w = work_new(&b->source, threads, 1);
    struct source_times times = {0};
    uint64_t pictures = 0;
    int64_t begun_us = now_us();
    int err = ERR_OK;
    for (uint64_t k = 0; k < b->batches && !err; k++) {
        err = make_batch(b, w, k, &times);
        pictures += 2 * items_in_batch(&b->items, k % items_batches(&b->items));
    }
    double seconds = (double)(now_us() - begun_us) * 1e-6;
    double made = (double)MAX(pictures - times.cache_hits, 1);
    work_free(w);
    if (!err)
        printf("{\"bench\":\"loader\",\"pass\":\"%s\",\"batches\":%llu,\"pictures\":%llu,"
               "\"threads\":%d,\"img_per_s\":%.1f,\"read_us\":%.1f,\"decode_us\":%.1f,"
               "\"resize_us\":%.1f,\"cache_mb\":%.1f}\n",
               name, (unsigned long long)b->batches, (unsigned long long)pictures, threads,
               (double)pictures / seconds, (double)times.read_us / made,
               (double)times.decode_us / made, (double)times.resize_us / made,
               (double)cache_bytes(b->source.cache) * 1e-6);
    return err;
}

static int load(struct bench *b) {
    int err = config_load_effective("pipeline.conf", &b->config);
    if (err)
        return err;
    bool swapped = strcmp(b->config->top.direction, "BtoA") == 0;
    err = manifest_load(swapped ? "manifest/B.manifest" : "manifest/A.manifest", &b->manifest[0]);
    if (!err)
        err =
            manifest_load(swapped ? "manifest/A.manifest" : "manifest/B.manifest", &b->manifest[1]);
    if (!err)
        err = items_init(&b->items, b->config, b->manifest);
    if (err)
        return err;
    if (!b->batches)
        b->batches = items_batches(&b->items);
    source_init(&b->source, b->config, &b->items, b->manifest, NULL);
    return ERR_OK;
}

static int run(struct bench *b) {
    if (b->dump && !(b->out = fopen(b->dump, "wb")))
        return err_set(ERR_IO, "open '%s' failed", b->dump);
    if (chdir(b->run))
        return err_set(ERR_IO, "there is no folder '%s'", b->run);
    int err = load(b);
    if (!err)
        err = pass(b, "files");
    if (b->out && fclose(b->out) && !err)
        err = err_set(ERR_IO, "write '%s' failed", b->dump);
    b->out = NULL;
    return err ? err : pass(b, "cache");
}

static void fini(struct bench *b) {
    if (b->source.cache)
        source_fini(&b->source);
    manifest_free(b->manifest[0]);
    manifest_free(b->manifest[1]);
    config_free(b->config);
}

int main(int argc, char **argv) {
    struct bench b = {.seconds = 0.4};
    bool usage = false;
    work_keep_memory();
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--help") == 0)
            return fputs(help, stdout) < 0;
        if (strcmp(argv[i], "--run") == 0)
            b.run = value;
        else if (strcmp(argv[i], "--dump") == 0)
            b.dump = value;
        else if (strcmp(argv[i], "--batches") == 0)
            b.batches = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            usage |= (b.seconds = atof(value)) <= 0;
        else
            usage = true;
        i++;
    }
    if (usage)
        return fputs(help, stderr), 2;
    int err = b.run ? run(&b) : speed_all(b.seconds);
    if (err)
        (void)fprintf(stderr, "bench_loader: %s\n", err_text());
    fini(&b);
    return err_exit_code(err);
}

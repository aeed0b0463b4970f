// inspect - the only place that reads and decodes candidates. Threads take pictures from a counter
// and write only to the picture they took.
#include "pictures/inspect.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "image/settings.h"
#include "pictures/check.h"

// As image_load's limit; larger files are no training pictures.
#define FILE_MAX_BYTES ((size_t)512 << 20)

// Probing without limits tells a huge picture from a broken one.
static const struct image_limits no_limits = {.max_pixels = INT64_MAX,
                                              .max_pixels_per_byte = INT64_MAX};

// The last error's text without its leading "'name': ", since the verdict has the path already.
static const char *error_about(const char *name) {
    const char *text = err_text();
    size_t n = strlen(name);
    bool named = text[0] == '\'' && strncmp(text + 1, name, n) == 0;
    return named && strncmp(text + 1 + n, "': ", 3) == 0 ? text + n + 4 : text;
}

// Tells a broken picture from a file that is none: it begins like a format that is read.
static bool begins_as_picture(const uint8_t *bytes, size_t size) {
    return (size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) ||
           (size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) ||
           (size >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0);
}

static void look_at_half(const struct image *im, const struct image *gray, enum image_half half,
                         struct image_stats *ret_stats, struct image_histogram *ret_histogram) {
    struct image part, gray_part;
    image_cut_half(im, half, &part);
    image_cut_half(gray, half, &gray_part);
    image_stats(&part, &gray_part, ret_stats, ret_histogram);
    image_fini(&part);
    image_fini(&gray_part);
}

// One decoding proves that the file is whole, and gives its looks and its hash.
static void look_at(const struct inspect_how *how, const struct image *im, struct picture *p) {
    struct image gray;
    enum image_half half = how->half;
    image_gray(im, &gray);
    // On the heap, because most pictures of a large set may be rejected and never need it.
    p->histogram = xcalloc(1, sizeof *p->histogram);
    if (half) {
        enum image_half opposite = half == IMAGE_LEFT ? IMAGE_RIGHT : IMAGE_LEFT;
        // The other domain's curator sees these halves swapped and reaches the same verdict.
        look_at_half(im, &gray, half, &p->stats, p->histogram);
        look_at_half(im, &gray, opposite, &p->opposite, NULL);
    } else {
        image_stats(im, &gray, &p->stats, p->histogram);
    }
    if (how->quick)
        p->stats.sharpness = 0; // averaged blocks have no sharpness
    dhash_of(&gray, &p->hash);
    image_fini(&gray);
    p->known = true;
}

// A probe without limits has passed. Finds out which limit the picture exceeds.
static bool is_within_limits(const struct inspect_how *how, const struct image_info *info,
                             const uint8_t *bytes, size_t size, struct picture *p) {
    struct image_info same;
    double pixels = (double)info->w * info->h;
    if (image_probe(p->path, bytes, size, &how->decode.limits, &same) == ERR_OK)
        return true;
    if (pixels > (double)how->decode.limits.max_pixels)
        picture_reject(p, "too_large", pixels, "%dx%d pixels, max_pixels is %lld", info->w, info->h,
                       (long long)how->decode.limits.max_pixels);
    else
        // floor: a message with the setting's unit, whole pixels per byte.
        picture_reject(p, "bomb", floor(pixels / (double)size),
                       "%dx%d pixels in %zu bytes, max_pixels_per_byte is %lld", info->w, info->h,
                       size, (long long)how->decode.limits.max_pixels_per_byte);
    return false;
}

static void inspect_read(const struct inspect_how *how, const uint8_t *bytes, size_t size,
                         struct picture *p) {
    struct image_info info;
    p->size = size;
    // Before the probe, which would call an empty file damaged.
    if (size == 0) {
        picture_reject(p, "empty", NAN, "a file of 0 bytes");
        return;
    }
    if (image_probe(p->path, bytes, size, &no_limits, &info)) {
        const char *reason = begins_as_picture(bytes, size) ? "broken" : "not_a_picture";
        picture_reject(p, reason, NAN, "%s", error_about(p->path));
        return;
    }
    if (!is_within_limits(how, &info, bytes, size, p))
        return;
    struct image im;
    // Decoded in full: only this proves that the file is whole.
    if (image_decode_how(p->path, bytes, size, &how->decode, 3, &im)) {
        picture_reject(p, "broken", NAN, "%s", error_about(p->path));
        return;
    }
    if (how->half && im.w < 2) {
        picture_reject(p, "not_a_pair", im.w, "%d pixel wide: no two pictures side by side", im.w);
        image_fini(&im);
        return;
    }
    // The digest is of the bytes that were decoded, not of a second read.
    digest_bytes(bytes, size, p->sha256);
    // A quick decode has a reduced size, so the header's size counts. It is not used with EXIF
    // turning.
    p->w = how->quick ? info.w : how->half ? im.w / 2 : im.w;
    p->h = how->quick ? info.h : im.h;
    p->orientation = (uint8_t)image_file_orientation(p->path, bytes, size);
    look_at(how, &im, p);
    image_fini(&im);
}

void inspect_bytes(const struct inspect_how *how, struct picture *p) {
    uint8_t *bytes;
    size_t size;
    char *full = xasprintf("%s/%s", how->root, p->path);
    int err = fs_read(full, FILE_MAX_BYTES, &bytes, &size);
    // A file above 512 MiB is ERR_LIMIT (fs_read).
    if (err) {
        picture_reject(p, err == ERR_LIMIT ? "too_large" : "unreadable", NAN, "%s", err_text());
    } else {
        inspect_read(how, bytes, size, p);
        // Bad for its bytes alone, so the cache may keep the verdict.
        p->bad = !p->known;
        free(bytes);
    }
    free(full);
}

struct shared {
    const struct inspect_job *job;
    struct inspect_how how;
    atomic_size_t next, done, read;
    atomic_bool late;
};

// Threads share one counter. Each picture is inspected by itself, so the result does not depend on
// the thread that takes it.
static void *inspect_in_thread(void *argument) {
    struct shared *s = argument;
    const struct inspect_job *job = s->job;
    size_t i;
    // Each fetch gives an index to one thread only: no lock is needed for the pictures.
    while ((i = atomic_fetch_add(&s->next, 1)) < job->pictures->count) {
        // Between pictures only; one picture takes milliseconds.
        if (job->cancel && atomic_load(job->cancel))
            break;
        if (job->until_us && now_us() >= job->until_us) {
            atomic_store(&s->late, true);
            break;
        }
        struct picture *p = &job->pictures->items[i];
        // Pictures that came from the cache are still checked: the bounds may have changed.
        bool wanted = p->verdict == VERDICT_OPEN && !p->later;
        if (wanted && !p->known) {
            inspect_bytes(&s->how, p);
            (void)atomic_fetch_add(&s->read, 1); // read after all threads ended
        }
        if (wanted && p->known)
            check_picture(job->settings, job->half ? job->other : NULL, p);
        if (wanted && p->verdict == VERDICT_OPEN)
            check_crop(job->reading, p);
        size_t done = atomic_fetch_add(&s->done, 1) + 1;
        if (job->progress && done % 64 == 0)
            job->progress(job->context, done, job->pictures->count);
    }
    return NULL;
}

static int thread_count(const struct inspect_job *job) {
    long long n = job->settings->threads;
    if (n == 0)
        n = core_count();
    return (int)MIN(n,
                    (long long)(job->pictures->count + 63) / 64); // one thread for each 64 pictures
}

int inspect_all(const struct inspect_job *job, struct inspect_done *ret_done) {
    struct image_how decode = image_settings_how(job->reading, job->settings->max_pixels);
    bool quick = job->settings->quick && !job->half && !decode.apply_exif;
    // INSPECT_QUICK_SIDE pixels suffice for means and the hash; sharpness is not measured then.
    if (quick)
        decode.fit_w = decode.fit_h = INSPECT_QUICK_SIDE;
    struct shared s = {.job = job, .how = {job->root, decode, job->half, quick}};
    // 0 keeps the decoder's own limit.
    if (job->settings->max_pixels_per_byte)
        s.how.decode.limits.max_pixels_per_byte = job->settings->max_pixels_per_byte;
    int helpers = 0, n = MAX(thread_count(job), 1);
    pthread_t *threads = xcalloc((size_t)n, sizeof *threads);
    while (helpers < n - 1 && pthread_create(&threads[helpers], NULL, inspect_in_thread, &s) == 0)
        // Fewer threads than wanted only take longer.
        helpers++;
    (void)inspect_in_thread(
        &s); // the caller works too, so the job ends even if no thread could be made
    for (int i = 0; i < helpers; i++)
        (void)pthread_join(threads[i], NULL); // fails for no thread that was made
    free(threads);
    *ret_done = (struct inspect_done){atomic_load(&s.read), !atomic_load(&s.late)};
    // After joining: no thread touches the pictures any more.
    if (job->cancel && atomic_load(job->cancel))
        return err_set(ERR_STOPPED, "stopped while pictures were read");
    return ERR_OK;
}

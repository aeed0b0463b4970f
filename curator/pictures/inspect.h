// inspect - decodes and measures every picture: readable, whole, of usable size and looks. The same
// for every kind. Runs in many threads; the results do not depend on their number.
//
// Reasons: empty, unreadable, not_a_picture, not_a_pair (one pixel wide), too_large (more pixels
// than may be decoded), bomb (more pixels than its bytes can honestly hold), broken (the decoder's
// text is the detail), and those of check.h. Sizes are checked on the header, before anything is
// allocated for the pixels.
#ifndef INSPECT_H
#define INSPECT_H

#include <stdatomic.h>

#include "config/config.h"
#include "image/image.h"
#include "pictures/picture.h"

// `quick` decodes a JPEG at the smallest n/8 that leaves INSPECT_QUICK_SIDE pixels a side. All of
// its coded data is read all the same: what damages a picture is found there, not in turning
// coefficients into pixels.
#define INSPECT_QUICK_SIDE 16

// The same for all pictures of a job; threads share it read-only.
struct inspect_how {
    const char *root;
    struct image_how decode;
    enum image_half half; // what of the file is the picture
    bool quick;           // not of a half, nor with apply_exif
};

// Reads root/path, takes its SHA-256, decodes it in full, once, and measures: `known`, or rejected.
// Of a half, size is that of the narrower one, so that both domains decide alike. Any thread.
void inspect_bytes(const struct inspect_how *how, struct picture *p);

struct inspect_job {
    const char *root;
    enum image_half half;
    const struct config_curator *settings; // threads, limits of decoding, bounds of check.h
    const struct config_loader *reading;   // exif, alpha, truncated; NULL: as the reference
    const struct config_curator *other;    // of a half: the other domain's; else not looked at
    struct pictures *pictures;             // those OPEN, not `known`, not `later` are read
    const atomic_bool *cancel;             // NULL: cannot be stopped
    int64_t until_us;                      // by now_us: no picture is begun after it; 0: none
    // NULL, or called now and then from any thread.
    void (*progress)(void *context, size_t done, size_t total);
    void *context;
};

struct inspect_done {
    size_t read; // files
    bool all;    // false: the time was up
    // So that the caller can save its cache between two calls.
};

// ERR_STOPPED if *cancel became true. *ret_done is written in any case.
int inspect_all(const struct inspect_job *job, struct inspect_done *ret_done);

#endif

// conveyor - pictures from files to who works on them and back to files, read and written by
// threads beside him.
//
//   conveyor_open; while (conveyor_next(...)) { job->out = ...; conveyor_give(...); }
//   conveyor_close
//
// Pictures come in the listing's order. A file that cannot be read, decoded or written ends its
// own job only; a disk without room ends all. Bytes bound what is held at a time: files read,
// pictures decoded, results not yet written; a picture larger than that comes alone.
#ifndef CONVEYOR_H
#define CONVEYOR_H

#include <stdbool.h>
#include <stddef.h>

#include "image/image.h"
#include "translate/listing.h"

struct conveyor;

struct conveyor_job {
    const struct listing_item *item;
    size_t bytes;     // see conveyor_bytes
    struct image in;  // decoded
    struct image out; // to be made; taken by conveyor_give
};

struct conveyor_options {
    const struct listing *listing; // lent
    int channels_in, channels_out; // of pictures: 1 or 3
    int threads;                   // that read and write
    int quality;                   // of JPEG
    size_t bytes;
    struct image_how how; // files become pixels
    // Told of each picture's end, in any order, one at a time, from any thread. `problem` is NULL
    // or why there is no result (it names the file).
    void (*ended)(void *context, const struct conveyor_job *job, const char *problem);
    void *context;
};

struct conveyor *conveyor_open(const struct conveyor_options *options);

// What a picture takes of `bytes` while it is under way: at most, in any of its stages.
size_t conveyor_bytes(const struct conveyor_options *options, int w, int h, size_t file_bytes);

// The next picture; NULL: there is none, or all has ended because of a failure that
// conveyor_close returns. With `holds` the caller has pictures that he has not given back: then
// NULL also if the next one waits for their room.
struct conveyor_job *conveyor_next(struct conveyor *c, bool holds);

// Gives a picture back: translated (err 0; job->in and job->out are taken), or failed with `err`,
// whose text is err_text.
void conveyor_give(struct conveyor *c, struct conveyor_job *job, int err);

// Ends everything that was not begun.
void conveyor_stop(struct conveyor *c);

// Waits for what is under way. ERR_SPACE: the disk is full.
int conveyor_close(struct conveyor *c);

#endif

// conveyor - reads, decodes, encodes and writes images on worker threads while the caller processes
// them.
//
//   conveyor_open; while (conveyor_next(...)) { job->out = ...; conveyor_give(...); }
//   conveyor_close
//
// Images come in the order of the file list. A file that cannot be read, decoded or written fails
// its own job only. A full disk ends everything. `bytes` limits the memory of files read, images
// decoded image and results not yet written. An image above the limit is processed alone.
#ifndef CONVEYOR_H
#define CONVEYOR_H

#include <stdbool.h>
#include <stddef.h>

#include "image/image.h"
#include "translate/file_list.h"

struct conveyor;

struct conveyor_job {
    const struct file_list_item *item;
    size_t bytes;     // see conveyor_bytes
    struct image in;  // decoded image
    struct image out; // set by the caller, taken by conveyor_give
};

struct conveyor_options {
    const struct file_list *list;  // lent
    int channels_in, channels_out; // 1 or 3
    int threads;                   // workers
    int quality;                   // of JPEG, 1 to 100
    size_t bytes;
    struct image_how how; // files become pixels
    // Called once per image when it is done, in any order, from any thread, never concurrently.
    // `problem` is NULL, or the reason of the failure, which names the file.
    void (*ended)(void *context, const struct conveyor_job *job, const char *problem);
    void *context;
};

// Starts the workers. `options` is copied; its list and context are lent until conveyor_close.
struct conveyor *conveyor_open(const struct conveyor_options *options);

// The most memory that an image needs at once while it is processed.
size_t conveyor_bytes(const struct conveyor_options *options, int w, int h, size_t file_bytes);

// The next image. NULL: there is none left, or everything has ended by a failure that
// conveyor_close returns. `holds`: the caller holds images that it has not given back. Then NULL
// also means that the next image needs their memory.
struct conveyor_job *conveyor_next(struct conveyor *c, bool holds);

// Gives an image back. err = 0: it is translated, and job->in and job->out are taken. Else it has
// failed with `err`, and err_text() is the reason.
void conveyor_give(struct conveyor *c, struct conveyor_job *job, int err);

// Drops all jobs that have not begun.
void conveyor_stop(struct conveyor *c);

// Waits for the jobs in flight. ERR_SPACE: the disk is full.
int conveyor_close(struct conveyor *c);

#endif

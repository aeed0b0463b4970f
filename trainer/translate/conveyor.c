// Jobs move through the stages in one direction. The workers take the next step of any job; the
// caller takes and gives.
#include "translate/conveyor.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"

// Bounds the memory of a file, which is read whole.
#define FILE_MAX ((size_t)512 << 20)

enum stage {
    WAITING,
    READING,
    READ,
    DECODING,
    DECODED,
    TAKEN,
    TRANSLATED,
    WRITING,
    ENDED,
};

// The public part is first: a job is both.
struct job {
    struct conveyor_job public;
    enum stage stage;
    uint8_t *file;
    size_t file_size;
    struct output_stamp stamp; // of the file
};

struct conveyor {
    struct conveyor_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t *threads;
    struct job *jobs;
    int n;
    int next_read, next_decoded, next_given; // the first not yet read, decoded, given
    int n_read;                              // read and not yet decoded
    int n_taken;                             // held by the caller
    int n_translated, first_translated;      // waiting to be written; lower bound of the first
    size_t in_flight;
    int err; // the failure that ended everything
    char *text;
    bool stopped;
};

// A progressive JPEG needs two extra bytes a sample while it is decoded. A PNG that does not
// compress needs twice the image while it is encoded. In between both images are held.
size_t conveyor_bytes(const struct conveyor_options *o, int w, int h, size_t file_bytes) {
    return file_bytes + (size_t)w * (size_t)h * (size_t)(3 * MAX(o->channels_in, o->channels_out));
}

// ---- the steps of a job; called without the lock ----

// The limit of the command line is checked here first, since the error names its option.
static int check_pixels(const struct conveyor *c, const char *path, const struct job *j) {
    struct image_limits limits = c->options.how.limits;
    int64_t most = limits.max_pixels;
    struct image_info info;
    // Without its own limit the probe gives the true size for the message.
    limits.max_pixels = INT64_MAX;
    int err = image_probe(path, j->file, j->file_size, &limits, &info);
    if (err || (int64_t)info.w * info.h <= most)
        return err;
    return err_set(ERR_FORMAT,
                   "'%s': %dx%d pixels are more than --max-megapixels %lld; %lld would do", path,
                   info.w, info.h, (long long)(most >> 20),
                   (long long)(((int64_t)info.w * info.h - 1) >> 20) + 1);
}

static int read_job(const struct conveyor *c, struct job *j) {
    const char *path = j->public.item->in;
    struct image_info info = {0};
    // Before reading: a file that changes meanwhile keeps the old time, so --resume looks at it
    // again.
    int err = output_stamp_stat(path, &j->stamp);

    if (!err)
        err = fs_read(path, FILE_MAX, &j->file, &j->file_size);
    if (!err)
        digest_bytes(j->file, j->file_size, j->stamp.digest);
    if (!err)
        err = check_pixels(c, path, j);
    if (!err)
        err = image_probe(path, j->file, j->file_size, &c->options.how.limits, &info);
    if (!err)
        j->public.bytes = conveyor_bytes(&c->options, info.w, info.h, j->file_size);
    return err;
}

static int decode_job(const struct conveyor *c, struct job *j) {
    int err = image_decode_how(j->public.item->in, j->file, j->file_size, &c->options.how,
                               c->options.channels_in, &j->public.in);

    free(j->file);
    j->file = NULL;
    return err;
}

static int write_job(const struct conveyor *c, struct job *j) {
    const char *path = j->public.item->out;
    const struct image *im = &j->public.out;

    int err = file_list_is_jpeg(path) ? image_save_jpeg(path, im, c->options.quality)
                                      : image_save_png(path, im);
    // Only now: a record without its output would make --resume skip the image.
    if (!err && c->options.list->record)
        err = output_record_add(c->options.list->record, j->public.item->out_name,
                                j->public.item->in_name, &j->stamp);
    return err;
}

// ---- the threads; called with the lock ----

static void end_job(struct conveyor *c, struct job *j, int err) {
    bool held = j->stage >= DECODING;

    j->stage = ENDED;
    c->in_flight -= held ? j->public.bytes : 0;
    free(j->file);
    j->file = NULL;
    image_fini(&j->public.in);
    image_fini(&j->public.out);
    c->options.ended(c->options.context, &j->public, err ? err_text() : NULL);
}

static void fail_all(struct conveyor *c, int err) {
    c->err = err;
    c->text = xstrdup(err_text());
    c->stopped = true;
}

static bool has_room(const struct conveyor *c, const struct job *j) {
    return !c->in_flight || c->in_flight + j->public.bytes <= c->options.bytes;
}

static struct job *to_write(struct conveyor *c) {
    while (c->n_translated && c->jobs[c->first_translated].stage != TRANSLATED)
        c->first_translated++;
    return c->n_translated ? &c->jobs[c->first_translated] : NULL;
}

static struct job *to_decode(struct conveyor *c) {
    while (c->next_decoded < c->n && c->jobs[c->next_decoded].stage > READ)
        c->next_decoded++;
    struct job *j = &c->jobs[c->next_decoded];
    return c->next_decoded < c->n && j->stage == READ && has_room(c, j) ? j : NULL;
}

static void write_one(struct conveyor *c, struct job *j) {
    j->stage = WRITING;
    c->n_translated--;
    pthread_mutex_unlock(&c->lock);
    int err = write_job(c, j);
    pthread_mutex_lock(&c->lock);
    if (err == ERR_SPACE && !c->err)
        fail_all(c, err);
    end_job(c, j, err);
}

static void decode_one(struct conveyor *c, struct job *j) {
    j->stage = DECODING;
    c->n_read--;
    c->in_flight += j->public.bytes;
    pthread_mutex_unlock(&c->lock);
    int err = decode_job(c, j);
    pthread_mutex_lock(&c->lock);
    if (err)
        end_job(c, j, err);
    else
        j->stage = DECODED;
}

static void read_one(struct conveyor *c) {
    struct job *j = &c->jobs[c->next_read++];

    j->stage = READING;
    c->n_read++;
    pthread_mutex_unlock(&c->lock);
    int err = read_job(c, j);
    pthread_mutex_lock(&c->lock);
    if (err) {
        c->n_read--;
        end_job(c, j, err);
    } else {
        j->stage = READ;
    }
}

static bool all_given(const struct conveyor *c) {
    return c->stopped || c->next_given >= c->n;
}

// Does one step. Writing comes first: it frees memory. False: there is nothing to do now.
static bool do_next(struct conveyor *c) {
    struct job *j = to_write(c);

    if (j) {
        write_one(c, j);
        return true;
    }
    j = c->stopped ? NULL : to_decode(c);
    if (j) {
        decode_one(c, j);
        return true;
    }
    if (c->stopped || c->next_read >= c->n || c->n_read >= c->options.threads)
        return false;
    read_one(c);
    return true;
}

static void *run_worker(void *context) {
    struct conveyor *c = context;

    pthread_mutex_lock(&c->lock);
    for (;;) {
        if (do_next(c))
            pthread_cond_broadcast(&c->changed);
        else if (all_given(c) && !c->n_taken && !c->n_translated)
            break;
        else
            pthread_cond_wait(&c->changed, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

// ---- the caller's side ----

struct conveyor *conveyor_open(const struct conveyor_options *options) {
    struct conveyor *c = xcalloc(1, sizeof *c);

    c->options = *options;
    c->n = options->list->n;
    c->jobs = xcalloc((size_t)c->n + 1, sizeof *c->jobs);
    for (int i = 0; i < c->n; i++)
        c->jobs[i].public.item = &options->list->items[i];
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    c->threads = xcalloc((size_t)options->threads, sizeof *c->threads);
    for (int i = 0; i < options->threads; i++)
        if (pthread_create(&c->threads[i], NULL, run_worker, c))
            BUG("no thread");
    return c;
}

struct conveyor_job *conveyor_next(struct conveyor *c, bool holds) {
    struct job *found = NULL;

    pthread_mutex_lock(&c->lock);
    while (!found && !all_given(c)) {
        struct job *j = &c->jobs[c->next_given];
        if (j->stage == ENDED) {
            c->next_given++;
        } else if (j->stage == DECODED) {
            found = j;
            c->next_given++;
        } else if (holds && j->stage == READ && !has_room(c, j)) {
            break;
        } else {
            pthread_cond_wait(&c->changed, &c->lock);
        }
    }
    if (found) {
        found->stage = TAKEN;
        c->n_taken++;
    }
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return found ? &found->public : NULL;
}

void conveyor_give(struct conveyor *c, struct conveyor_job *job, int err) {
    struct job *j = (struct job *)job;

    pthread_mutex_lock(&c->lock);
    image_fini(&job->in);
    c->n_taken--;
    if (err) {
        end_job(c, j, err);
    } else {
        j->stage = TRANSLATED;
        c->n_translated++;
        c->first_translated = MIN(c->first_translated, (int)(j - c->jobs));
    }
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

void conveyor_stop(struct conveyor *c) {
    pthread_mutex_lock(&c->lock);
    c->stopped = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

int conveyor_close(struct conveyor *c) {
    for (int i = 0; i < c->options.threads; i++)
        (void)pthread_join(c->threads[i], NULL); // it was started
    for (int i = 0; i < c->n; i++) {
        free(c->jobs[i].file);
        image_fini(&c->jobs[i].public.in);
        image_fini(&c->jobs[i].public.out);
    }
    int err = c->err ? err_set(c->err, "%s", c->text) : ERR_OK;
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c->text);
    free(c->threads);
    free(c->jobs);
    free(c);
    return err;
}

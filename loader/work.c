// work - one lock for the lists, none for the images: every image belongs to the thread that makes
// it until the batch is complete.
#include "work.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"

struct job {
    struct work_batch batch;
    int begun, total, finished; // of 2 * count images (A's, then B's), or of count pairs
    struct job *next;
};

struct list {
    struct job *first, *last;
};

struct work {
    struct source *source;
    pthread_mutex_t lock;
    pthread_cond_t something;
    struct list open, done;
    // `used` counts batches from work_begin to work_batch_free, wherever they are.
    int slots, used, fd, n_threads;
    bool stop;
    pthread_t *threads;
};

static void list_push(struct list *l, struct job *job) {
    job->next = NULL;
    // Writes the link of the last job, or the head of an empty list.
    *(l->last ? &l->last->next : &l->first) = job;
    l->last = job;
}

static struct job *list_pop(struct list *l) {
    struct job *job = l->first;
    if (job && !(l->first = job->next))
        l->last = NULL;
    return job;
}

static void job_free(struct job *job) {
    for (int side = 0; side < 2; side++) {
        for (uint64_t i = 0; i < job->batch.ticket.count; i++)
            image_fini(&job->batch.image[side][i]);
        free(job->batch.image[side]);
        free(job->batch.record[side]);
    }
    free(job);
}

static void add_times(struct source_times *sum, const struct source_times *t) {
    sum->read_us += t->read_us;
    sum->decode_us += t->decode_us;
    sum->resize_us += t->resize_us;
    sum->cache_hits += t->cache_hits;
}

// Makes image (or pair) number `number` of the batch.
static int make_one(struct source *s, struct work_batch *b, int number,
                    struct source_times *times) {
    // Pairs have count numbers, single images 2 * count, so side is 0 for pairs.
    int count = (int)b->ticket.count, side = number / count, i = number % count;
    struct item item = items_get(s->items, (enum items_split)b->ticket.split, b->ticket.epoch,
                                 b->ticket.index, (uint64_t)i);
    if (!s->items->aligned)
        return source_get(s, &item, side, &b->image[side][i], &b->record[side][i], times);
    struct image both[2] = {0};
    int err = source_get_pair(s, &item, both, &b->record[0][i], times);
    b->record[1][i] = b->record[0][i];
    // Moved, not copied: the batch owns the pixels from here.
    for (side = 0; side < 2; side++)
        b->image[side][i] = both[side];
    return err;
}

// Makes the next image of the job. Called with the lock held; releases it meanwhile.
static void make_next(struct work *w, struct job *job) {
    struct work_batch *b = &job->batch;
    // The lock is held: each number is taken once.
    int number = job->begun++;
    if (number == 0)
        b->started_us = now_us();
    if (job->begun == job->total)
        (void)list_pop(&w->open); // `job` is the first of the list: threads always take that one
    (void)pthread_mutex_unlock(&w->lock);

    struct source_times times = {0};
    int err = make_one(w->source, b, number, &times);

    (void)pthread_mutex_lock(&w->lock);
    // The first error of a batch is enough; the other images are still finished.
    add_times(&b->times, &times);
    if (err && !b->err) {
        b->err = err;
        (void)text_copy(b->text, sizeof b->text, err_text()); // may be cut
    }
    if (++job->finished < job->total)
        return;
    b->done_us = now_us();
    list_push(&w->done, job);
    uint64_t one = 1;
    (void)!write(w->fd, &one, sizeof one); // fails only if 2^64 batches wait
}

static void *thread_main(void *context) {
    struct work *w = context;
    (void)pthread_mutex_lock(&w->lock);
    // A stop is noticed between two images.
    while (!w->stop) {
        if (w->open.first)
            make_next(w, w->open.first);
        else
            (void)pthread_cond_wait(&w->something, &w->lock);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

void work_keep_memory(void) {
    // Both refuse only values that are out of range.
    // A larger threshold keeps images on the heap, which reuses touched pages.
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 128 << 20);
}

struct work *work_new(struct source *source, int threads, int slots) {
    struct work *w = xcalloc(1, sizeof *w);
    w->source = source;
    w->slots = slots;
    (void)pthread_mutex_init(&w->lock, NULL); // neither can fail with default attributes
    (void)pthread_cond_init(&w->something, NULL);
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    w->threads = xcalloc((size_t)threads, sizeof *w->threads);
    for (; w->n_threads < threads; w->n_threads++)
        if (pthread_create(&w->threads[w->n_threads], NULL, thread_main, w))
            // Fewer threads than wanted still work; none at all cannot.
            break;
    if (w->fd < 0 || w->n_threads == 0)
        BUG("no file descriptor or thread left at the start");
    return w;
}

void work_free(struct work *w) {
    if (!w)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->stop = true;
    (void)pthread_cond_broadcast(&w->something);
    (void)pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->n_threads; i++)
        (void)pthread_join(w->threads[i], NULL);
    struct job *job;
    while ((job = list_pop(&w->open)))
        job_free(job);
    while ((job = list_pop(&w->done)))
        job_free(job);
    (void)close(w->fd);
    (void)pthread_cond_destroy(&w->something);
    (void)pthread_mutex_destroy(&w->lock);
    free(w->threads);
    free(w);
}

int work_begin(struct work *w, const struct msg_ticket *ticket, uint64_t session) {
    // The message's array of records bounds the count.
    if (ticket->count == 0 || ticket->count > COUNT(((struct msg_batch *)0)->record_a) ||
        ticket->split > ITEMS_HELD_OUT)
        return err_set(ERR_PEER, "a ticket for %llu pictures of split %llu",
                       (unsigned long long)ticket->count, (unsigned long long)ticket->split);
    (void)pthread_mutex_lock(&w->lock);
    bool full = w->used == w->slots;
    // The slot is taken before the memory is allocated.
    w->used += !full;
    (void)pthread_mutex_unlock(&w->lock);
    if (full)
        return err_set(ERR_LIMIT, "more tickets than the %d credits given", w->slots);

    struct job *job = xcalloc(1, sizeof *job);
    struct work_batch *b = &job->batch;
    b->ticket = *ticket;
    b->session = session;
    b->begun_us = now_us();
    for (int side = 0; side < 2; side++) {
        b->image[side] = xcalloc(ticket->count, sizeof *b->image[side]);
        b->record[side] = xcalloc(ticket->count, sizeof *b->record[side]);
    }
    job->total = (w->source->items->aligned ? 1 : 2) * (int)ticket->count;
    // All threads are woken: a ticket has work for several.
    (void)pthread_mutex_lock(&w->lock);
    list_push(&w->open, job);
    (void)pthread_cond_broadcast(&w->something);
    (void)pthread_mutex_unlock(&w->lock);
    return ERR_OK;
}

struct work_batch *work_next(struct work *w) {
    uint64_t count;
    // Non-blocking: without an event the read fails, and the list is asked all the same.
    (void)!read(w->fd, &count, sizeof count); // resets the event; whether there is a batch, the
                                              // list says
    (void)pthread_mutex_lock(&w->lock);
    struct job *job = list_pop(&w->done);
    (void)pthread_mutex_unlock(&w->lock);
    return job ? &job->batch : NULL; // its first member: the job is the batch's allocation
}

void work_batch_free(struct work *w, struct work_batch *b) {
    if (!b)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->used--;
    (void)pthread_mutex_unlock(&w->lock);
    job_free((struct job *)b);
}

int work_fd(const struct work *w) {
    return w->fd;
}

static void free_frame(void *bytes, void *hint) {
    free(bytes);
}

// The images of one domain, one behind the other: the only copy between decoder and socket.
static int pack_side(const struct work_batch *b, int side, struct link_frame *ret) {
    // The first image gives the size that all others must have.
    const struct image *first = &b->image[side][0];
    size_t one = (size_t)first->w * (size_t)first->h * (size_t)first->c;
    for (uint64_t i = 1; i < b->ticket.count; i++) {
        const struct image *im = &b->image[side][i];
        if (im->w != first->w || im->h != first->h)
            return err_set(ERR_DATA,
                           "a batch's real_%c holds pictures of %dx%d and %dx%d: set "
                           "loader.batch_size = 1, or a preprocess that gives one size",
                           'A' + side, first->w, first->h, im->w, im->h);
    }
    uint8_t *bytes = xmalloc(one * b->ticket.count);
    // Frames are N,H,W,C bytes, image after image.
    for (uint64_t i = 0; i < b->ticket.count; i++)
        memcpy(bytes + i * one, b->image[side][i].pixels, one);
    *ret =
        (struct link_frame){.bytes = bytes, .size = one * b->ticket.count, .free_fn = free_frame};
    return ERR_OK;
}

static void pack_shape(const struct work_batch *b, struct msg_batch *m) {
    m->n_shape = 6;
    for (int side = 0; side < 2; side++) {
        const struct image *im = &b->image[side][0];
        m->shape[side * 3] = (uint64_t)im->h;
        m->shape[side * 3 + 1] = (uint64_t)im->w;
        m->shape[side * 3 + 2] = (uint64_t)im->c;
    }
}

int work_pack(const struct work_batch *b, struct msg *ret_msg, struct link_frame ret_frames[2]) {
    int err = pack_side(b, 0, &ret_frames[0]);
    if (err)
        return err;
    err = pack_side(b, 1, &ret_frames[1]);
    if (err) {
        free(ret_frames[0].bytes);
        return err;
    }
    memset(ret_msg, 0, sizeof *ret_msg);
    ret_msg->type = MSG_batch;
    struct msg_batch *m = &ret_msg->batch;
    m->split = b->ticket.split;
    m->epoch = b->ticket.epoch;
    m->index = b->ticket.index;
    m->count = b->ticket.count;
    pack_shape(b, m);
    m->n_record_a = m->n_record_b = (uint32_t)b->ticket.count;
    memcpy(m->record_a, b->record[0], b->ticket.count * sizeof *m->record_a);
    memcpy(m->record_b, b->record[1], b->ticket.count * sizeof *m->record_b);
    m->n_time_us = 5;
    m->time_us[0] = (uint64_t)b->times.read_us;
    m->time_us[1] = (uint64_t)b->times.decode_us;
    m->time_us[2] = (uint64_t)b->times.resize_us;
    m->time_us[3] = (uint64_t)(b->done_us - b->begun_us);
    m->cache_hits = b->times.cache_hits;
    return ERR_OK;
}

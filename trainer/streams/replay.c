// Each kind of request has one state, so at most one of a kind is unanswered, and all can be
// repeated after a restart of the pool.
#include "streams/replay.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

// The requests in the order in which they are sent, and the progress of one.
enum request_kind { OPEN, RESTORE, EXCHANGE_A, EXCHANGE_B, SAVE, REQUESTS };
enum progress { IDLE, WANTED, SENT };

#define LENT_US 1000 // interval of checks whether lent fakes have been returned

// Counts frames that ZeroMQ's thread has not returned.
struct lent {
    pthread_mutex_t lock;
    pthread_cond_t all_back;
    int n;
};

// The answer for one table.
struct answer {
    zmq_msg_t *frames; // [n_frames]
    int n_frames;
    const void **pictures; // [batch]
};

struct replay {
    struct replay_options options;
    struct link *link;
    enum progress request[REQUESTS];
    size_t slot_bytes[REPLAY_TABLES];
    uint64_t restore_step;
    char restore_path[513], restore_digest[65];
    uint64_t step, n;
    const void *fake[REPLAY_TABLES];
    struct lent lent;
    struct answer answers[REPLAY_TABLES];
    char save_path[513], saved_digest[65];
};

void replay_new(const struct replay_options *options, struct replay **ret_replay) {
    struct replay *r = xcalloc(1, sizeof *r);
    r->options = *options;
    pthread_mutex_init(&r->lent.lock, NULL); // the default kind cannot fail
    pthread_cond_init(&r->lent.all_back, NULL);
    *ret_replay = r;
}

// ---- lending ----

static void lent_add(struct lent *l, int n) {
    pthread_mutex_lock(&l->lock);
    // ZeroMQ's I/O thread calls give_back, hence the lock.
    l->n += n;
    if (!l->n)
        pthread_cond_signal(&l->all_back);
    pthread_mutex_unlock(&l->lock);
}

static void give_back(void *bytes, void *hint) {
    lent_add(hint, -1);
}

static bool lent_any(const struct replay *r) {
    // The lock is no visible state: const holds for the caller.
    struct lent *l = (struct lent *)&r->lent;
    pthread_mutex_lock(&l->lock);
    bool any = l->n > 0;
    pthread_mutex_unlock(&l->lock);
    return any;
}

// Returns soon: a closed socket drops its unsent frames.
static void lent_wait(struct lent *l) {
    pthread_mutex_lock(&l->lock);
    while (l->n)
        pthread_cond_wait(&l->all_back, &l->lock);
    pthread_mutex_unlock(&l->lock);
    pthread_cond_destroy(&l->all_back);
    pthread_mutex_destroy(&l->lock);
}

static void answer_drop(struct answer *a) {
    for (int i = 0; i < a->n_frames; i++)
        zmq_msg_close(&a->frames[i]);
    free(a->frames);
    a->frames = NULL;
    a->n_frames = 0;
}

void replay_free(struct replay *r) {
    if (!r)
        return;
    // Before waiting: the closed socket returns the frames.
    link_close(r->link);
    lent_wait(&r->lent);
    for (int i = 0; i < REPLAY_TABLES; i++) {
        answer_drop(&r->answers[i]);
        free(r->answers[i].pictures);
    }
    free(r);
}

int replay_begin(struct replay *r, const struct replay_begin *begin) {
    for (int i = 0; i < REPLAY_TABLES; i++) {
        r->slot_bytes[i] = begin->slot_bytes[i];
        r->answers[i].pictures = xcalloc(r->options.batch, sizeof *r->answers[i].pictures);
    }
    if (!r->options.capacity)
        return ERR_OK;
    r->restore_step = begin->step;
    if (begin->path && begin->step &&
        (!text_copy(r->restore_path, sizeof r->restore_path, begin->path) ||
         !text_copy(r->restore_digest, sizeof r->restore_digest, begin->digest)))
        BUG("path of a pool's snapshot");
    // RESTORE also at step 0, with an empty path: the pool then begins empty.
    r->request[OPEN] = r->request[RESTORE] = WANTED;
    // No answer holds a larger frame.
    r->options.link.frame_max_bytes =
        r->options.batch * MAX(r->slot_bytes[REPLAY_FAKE_A], r->slot_bytes[REPLAY_FAKE_B]);
    return link_open(&r->options.link, &r->link);
}

// Whether a request of this kind or a later one is unanswered.
static bool is_owed(const struct replay *r, enum request_kind from) {
    for (int i = from; i < REQUESTS; i++)
        if (r->request[i] != IDLE)
            return true;
    return lent_any(r);
}

bool replay_busy(const struct replay *r) {
    return is_owed(r, OPEN);
}

void replay_exchange(struct replay *r, uint64_t step, uint64_t n,
                     const void *const fake[REPLAY_TABLES]) {
    // A new exchange would overwrite fakes that ZeroMQ still reads.
    if (is_owed(r, EXCHANGE_A) || n > r->options.batch)
        BUG("exchange of %llu at step %llu", (unsigned long long)n, (unsigned long long)step);
    memcpy(r->fake, fake, sizeof r->fake);
    for (int t = 0; t < REPLAY_TABLES; t++) {
        answer_drop(&r->answers[t]);
        for (uint64_t i = 0; i < n; i++)
            // Without a pool the fakes are the result. With one, the answers replace these
            // pointers.
            r->answers[t].pictures[i] = (const char *)fake[t] + i * r->slot_bytes[t];
    }
    if (!r->options.capacity)
        return;
    r->step = step;
    r->n = n;
    r->request[EXCHANGE_A] = r->request[EXCHANGE_B] = WANTED;
}

const void *const *replay_pooled(const struct replay *r, int table) {
    return r->answers[table].pictures;
}

void replay_save(struct replay *r, uint64_t step, const char *path) {
    if (!r->options.capacity)
        return;
    if (is_owed(r, EXCHANGE_A) || !text_copy(r->save_path, sizeof r->save_path, path))
        BUG("snapshot at step %llu", (unsigned long long)step);
    r->step = step;
    r->request[SAVE] = WANTED;
}

const char *replay_saved_digest(const struct replay *r) {
    return r->options.capacity ? r->saved_digest : NULL;
}

// ---- sending ----

static void fill_open(const struct replay *r, struct msg *m) {
    m->type = MSG_pool_open;
    m->pool_open.capacity = r->options.capacity;
    m->pool_open.batch = r->options.batch;
    m->pool_open.n_slot_bytes = REPLAY_TABLES;
    for (int i = 0; i < REPLAY_TABLES; i++)
        m->pool_open.slot_bytes[i] = r->slot_bytes[i];
}

static void fill_restore(const struct replay *r, struct msg *m) {
    m->type = MSG_pool_restore;
    m->pool_restore.step = r->restore_step;
    memcpy(m->pool_restore.path, r->restore_path, sizeof r->restore_path);
    memcpy(m->pool_restore.digest, r->restore_digest, sizeof r->restore_digest);
}

static void fill_save(const struct replay *r, struct msg *m) {
    m->type = MSG_pool_save;
    m->pool_save.step = r->step;
    memcpy(m->pool_save.path, r->save_path, sizeof r->save_path);
}

static int send_exchange(struct replay *r, struct msg *m, int table) {
    struct link_frame frame = {.bytes = (void *)r->fake[table],
                               .size = r->n * r->slot_bytes[table],
                               .free_fn = give_back,
                               .hint = &r->lent};
    m->type = MSG_exchange;
    m->exchange.table = (uint64_t)table;
    m->exchange.step = r->step;
    m->exchange.count = r->n;
    // Before sending: ZeroMQ's thread may return the frame at once.
    lent_add(&r->lent, 1);
    int err = link_send(r->link, m, &frame);
    if (err)
        // An unsent frame is not returned by give_back.
        lent_add(&r->lent, -1);
    return err;
}

static int send_request(struct replay *r, enum request_kind kind) {
    struct msg *m = xcalloc(1, sizeof *m);
    int err;
    if (kind == OPEN)
        fill_open(r, m);
    else if (kind == RESTORE)
        fill_restore(r, m);
    else if (kind == SAVE)
        fill_save(r, m);
    if (kind == EXCHANGE_A || kind == EXCHANGE_B)
        err = send_exchange(r, m, kind - EXCHANGE_A);
    else
        err = link_send(r->link, m, NULL);
    free(m);
    return err;
}

// The answers to OPEN and RESTORE must come before anything else is sent.
static int send_wanted(struct replay *r) {
    for (int i = 0; i < REQUESTS; i++) {
        if (r->request[i] == WANTED && link_is_up(r->link)) {
            int err = send_request(r, (enum request_kind)i);
            if (err)
                // The socket is full; the request stays WANTED.
                return err == ERR_AGAIN ? ERR_OK : err;
            r->request[i] = SENT;
        }
        // Later requests stay WANTED until the pool has its tables.
        if (i <= RESTORE && r->request[i] != IDLE)
            return ERR_OK;
    }
    return ERR_OK;
}

// A new session: unanswered requests are sent again, after OPEN.
static void resend_unanswered(struct replay *r) {
    // A new pool process has no tables, whatever the old one had answered.
    r->request[OPEN] = WANTED;
    for (int i = RESTORE; i < REQUESTS; i++)
        if (r->request[i] == SENT)
            r->request[i] = WANTED;
}

// ---- answers ----

static int refuse_unasked(const struct link_in *in) {
    return err_set(ERR_PEER, "the pool sent a %s that nobody asked for", msg_name(in->msg.type));
}

static int check_pictures(const struct replay *r, const struct link_in *in) {
    size_t bytes = r->slot_bytes[in->msg.exchanged.table];
    // The link has checked that count equals the number of frames.
    if (in->msg.exchanged.count != r->n)
        return err_set(ERR_PEER, "the pool sent %llu pictures for %llu",
                       (unsigned long long)in->msg.exchanged.count, (unsigned long long)r->n);
    for (int i = 0; i < in->n_frames; i++)
        if (zmq_msg_size(&in->frames[i]) != bytes)
            return err_set(ERR_PEER, "the pool sent a picture of %zu bytes for one of %zu",
                           zmq_msg_size(&in->frames[i]), bytes);
    return ERR_OK;
}

static int take_exchanged(struct replay *r, struct link_in *in) {
    const struct msg_exchanged *e = &in->msg.exchanged;
    if (e->table >= REPLAY_TABLES || r->request[EXCHANGE_A + e->table] != SENT ||
        e->step != r->step)
        return refuse_unasked(in);
    int err = check_pictures(r, in);
    if (err)
        return err;
    struct answer *a = &r->answers[e->table];
    answer_drop(a);
    a->frames = in->frames;
    a->n_frames = in->n_frames;
    for (int i = 0; i < a->n_frames; i++)
        a->pictures[i] = zmq_msg_data(&a->frames[i]);
    // link_in_fini would close them.
    in->frames = NULL; // now owned by the answer
    in->n_frames = 0;
    r->request[EXCHANGE_A + e->table] = IDLE;
    return ERR_OK;
}

static int take_saved(struct replay *r, struct link_in *in) {
    if (r->request[SAVE] != SENT || in->msg.pool_saved.step != r->step)
        return refuse_unasked(in);
    // Goes into state.json (checkpoint/write.c).
    memcpy(r->saved_digest, in->msg.pool_saved.digest, sizeof r->saved_digest);
    r->request[SAVE] = IDLE;
    return ERR_OK;
}

static int take_answer(struct replay *r, struct link_in *in, enum request_kind kind) {
    if (r->request[kind] != SENT)
        return refuse_unasked(in);
    r->request[kind] = IDLE;
    return ERR_OK;
}

static int take_refusal(const struct msg_refuse *m) {
    // The number comes from outside; only our error codes are passed on.
    bool known = m->err < 0 && m->err > -64;
    return err_set(known ? (int)m->err : ERR_PEER, "the pool refuses: %s", m->text);
}

static int take_message(struct replay *r, struct link_in *in) {
    switch (in->msg.type) {
    case MSG_pool_opened:
        return take_answer(r, in, OPEN);
    case MSG_pool_restored:
        return take_answer(r, in, RESTORE);
    case MSG_exchanged:
        return take_exchanged(r, in);
    case MSG_pool_saved:
        return take_saved(r, in);
    case MSG_refuse:
        return take_refusal(&in->msg.refuse);
    default:
        return refuse_unasked(in);
    }
}

static int take_event(struct replay *r, struct link_in *in) {
    // LINK_DOWN needs nothing: requests wait for the next session.
    if (in->event == LINK_UP)
        resend_unanswered(r);
    return in->event == LINK_MSG ? take_message(r, in) : ERR_OK;
}

int replay_poll(struct replay *r) {
    while (r->link) {
        struct link_in in;
        int err = link_next(r->link, &in);
        if (!err && in.event == LINK_NONE)
            return send_wanted(r);
        if (!err) {
            err = take_event(r, &in);
            link_in_fini(&in);
        }
        if (err)
            return err;
    }
    return ERR_OK;
}

void replay_finish(struct replay *r) {
    if (r->link && link_is_up(r->link))
        (void)link_fin(r->link); // a pool that has gone needs no end
}

bool replay_is_up(const struct replay *r) {
    return r->link && link_is_up(r->link);
}

void *replay_socket(struct replay *r) {
    return r->link ? link_socket(r->link) : NULL;
}

int64_t replay_due_us(const struct replay *r) {
    int64_t due = r->link ? link_due_us(r->link) : INT64_MAX;
    // No socket event tells that a frame was returned, so it is polled.
    return lent_any(r) ? MIN(due, now_us() + LENT_US) : due;
}

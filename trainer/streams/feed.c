// Slots hold the batches between wish and use. A slot goes from FREE over WANTED, ISSUED and READY
// back to FREE.
#include "streams/feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

// Clients are numbered by the hub from 0, so they index an array.
#define CLIENTS_MAX 256

enum slot_state { SLOT_FREE, SLOT_WANTED, SLOT_ISSUED, SLOT_READY };

struct slot {
    enum slot_state state;
    uint64_t order; // tickets go out in this order
    struct msg_ticket ticket;
    int client;
    int64_t issued_us;
    struct feed_batch batch;
};

struct client {
    bool ready, refused;
    uint64_t credits;
};

struct feed {
    struct feed_options options;
    struct hub *hub;
    bool ready, expected;
    struct manifest_summary manifests[2];
    struct client clients[CLIENTS_MAX];
    struct slot slots[FEED_AHEAD_MAX];
    uint64_t order;
    uint64_t held_next, held_end;        // held-out pictures still to be asked for
    uint64_t epoch, index, batches_left; // next training batch
    uint64_t dropped;
};

int feed_open(const struct feed_options *options, struct feed **ret_feed) {
    struct feed *f = xcalloc(1, sizeof *f);
    f->options = *options;
    int err = hub_open(&options->link, &f->hub);
    if (err) {
        free(f);
        return err;
    }
    *ret_feed = f;
    return ERR_OK;
}

void feed_close(struct feed *f) {
    if (!f)
        return;
    for (int i = 0; i < FEED_AHEAD_MAX; i++)
        feed_batch_fini(&f->slots[i].batch);
    hub_close(f->hub);
    free(f);
}

void feed_expect(struct feed *f, const struct manifest_summary manifests[2]) {
    memcpy(f->manifests, manifests, sizeof f->manifests);
    f->expected = true;
}

bool feed_ready(const struct feed *f) {
    return f->ready;
}

const struct manifest_summary *feed_manifests(const struct feed *f) {
    return f->manifests;
}

// ---- batches: from (epoch, index) to pictures ----

static uint64_t epoch_items(const struct feed *f) {
    uint64_t n[2];
    for (int i = 0; i < 2; i++) {
        n[i] = f->manifests[i].count;
        if (f->options.max_dataset_size)
            n[i] = MIN(n[i], f->options.max_dataset_size);
    }
    return MAX(n[0], n[1]);
}

uint64_t feed_epoch_batches(const struct feed *f) {
    uint64_t size = f->options.batch_size;
    return (epoch_items(f) + size - 1) / size;
}

void feed_batch_fini(struct feed_batch *b) {
    for (int i = 0; i < 2; i++) {
        // Non-NULL pixels mean that the frame is valid. A zeroed frame must not be closed.
        if (b->pixels[i])
            (void)zmq_msg_close(&b->frames[i]); // fails for a closed one only
        free(b->records[i]);
    }
    *b = (struct feed_batch){0};
}

void feed_want_held_out(struct feed *f, uint64_t n) {
    f->held_next = 0;
    f->held_end = n;
}

void feed_want_training(struct feed *f, uint64_t epoch, uint64_t index, uint64_t count) {
    f->epoch = epoch;
    f->index = index;
    f->batches_left = count;
}

static struct msg_ticket next_training_ticket(struct feed *f) {
    uint64_t size = f->options.batch_size;
    // The last batch of an epoch may be smaller.
    struct msg_ticket t = {
        .epoch = f->epoch, .index = f->index, .count = MIN(size, epoch_items(f) - f->index * size)};
    f->batches_left--;
    // Tickets run ahead of the training, over the end of the epoch.
    if (++f->index == feed_epoch_batches(f)) {
        f->index = 0;
        f->epoch++;
    }
    return t;
}

// ---- slots ----

int feed_batches_held(const struct feed *f) {
    int n = 0;
    for (int i = 0; i < FEED_AHEAD_MAX; i++)
        n += f->slots[i].state != SLOT_FREE;
    return n;
}

int feed_loaders(const struct feed *f) {
    int n = 0;
    for (int i = 0; i < CLIENTS_MAX; i++)
        n += f->clients[i].ready;
    return n;
}

uint64_t feed_dropped(const struct feed *f) {
    return f->dropped;
}

static uint64_t all_credits(const struct feed *f) {
    uint64_t n = 0;
    for (int i = 0; i < CLIENTS_MAX; i++)
        n += f->clients[i].ready ? f->clients[i].credits : 0;
    // As many tickets as slots, so free_slot always finds one.
    return MIN(n, FEED_AHEAD_MAX);
}

static struct slot *free_slot(struct feed *f) {
    for (int i = 0; i < FEED_AHEAD_MAX; i++)
        if (f->slots[i].state == SLOT_FREE)
            return &f->slots[i];
    BUG("more batches than slots");
}

static struct slot *find_slot(struct feed *f, uint64_t split, uint64_t epoch, uint64_t index) {
    for (int i = 0; i < FEED_AHEAD_MAX; i++) {
        struct slot *s = &f->slots[i];
        // A linear search of 256 slots costs nothing beside a batch of images.
        if (s->state != SLOT_FREE && s->ticket.split == split && s->ticket.epoch == epoch &&
            s->ticket.index == index)
            return s;
    }
    return NULL;
}

static void want_tickets(struct feed *f) {
    uint64_t held = (uint64_t)feed_batches_held(f);
    // READY batches count too, so memory stays bounded while the trainer is slow.
    for (uint64_t room = all_credits(f); held < room; held++) {
        struct msg_ticket ticket;
        // Held-out images first: the first sheet and scores need them.
        if (f->held_next < f->held_end)
            ticket =
                (struct msg_ticket){.split = 1, .epoch = 1, .index = f->held_next++, .count = 1};
        else if (f->batches_left)
            ticket = next_training_ticket(f);
        else
            return;
        *free_slot(f) = (struct slot){.state = SLOT_WANTED, .order = f->order++, .ticket = ticket};
    }
}

// ---- issuing tickets ----

static uint64_t credit_left(const struct feed *f, int client) {
    const struct client *c = &f->clients[client];
    uint64_t used = 0;
    for (int i = 0; c->ready && i < FEED_AHEAD_MAX; i++)
        // Counted anew, not kept: a counter could drift when sessions end.
        used += f->slots[i].state == SLOT_ISSUED && f->slots[i].client == client;
    return c->ready && used < c->credits ? c->credits - used : 0;
}

// The loader with most credit left, other than `except`; -1: none.
static int choose_client(const struct feed *f, int except) {
    uint64_t best = 0;
    int client = -1;
    for (int i = 0; i < CLIENTS_MAX; i++) {
        uint64_t left = i == except ? 0 : credit_left(f, i);
        if (left > best) {
            best = left;
            client = i;
        }
    }
    return client;
}

// ERR_AGAIN: the socket is full, or the session has just ended. The slot stays unchanged.
static int issue_ticket(struct feed *f, struct slot *s, int client) {
    struct msg *m = xcalloc(1, sizeof *m);
    m->type = MSG_ticket;
    m->ticket = s->ticket;
    // A struct msg has room for the largest message, so it is on the heap.
    int err = hub_send(f->hub, client, m, NULL);
    free(m);
    if (err)
        return err;
    s->state = SLOT_ISSUED;
    s->client = client;
    s->issued_us = now_us();
    return ERR_OK;
}

static struct slot *first_wanted(struct feed *f) {
    struct slot *first = NULL;
    for (int i = 0; i < FEED_AHEAD_MAX; i++) {
        struct slot *s = &f->slots[i];
        // The lowest order first: a batch whose loader died comes before newer ones.
        if (s->state == SLOT_WANTED && (!first || s->order < first->order))
            first = s;
    }
    return first;
}

static int issue_tickets(struct feed *f) {
    for (struct slot *s = first_wanted(f); s; s = first_wanted(f)) {
        int client = choose_client(f, -1);
        if (client < 0)
            return ERR_OK;
        int err = issue_ticket(f, s, client);
        if (err)
            // The rest is tried again at the next poll.
            return err == ERR_AGAIN ? ERR_OK : err;
    }
    return ERR_OK;
}

// Prefers another loader. A single loader is asked again: it may have lost the ticket.
static int reissue_ticket(struct feed *f, struct slot *s) {
    int client = choose_client(f, s->client);
    if (client < 0)
        client = s->client;
    points_event(f->options.points, "warn", "ticket_again", 0,
                 "batch %llu of epoch %llu has not come from loader client %d; asked of client %d",
                 (unsigned long long)s->ticket.index, (unsigned long long)s->ticket.epoch,
                 s->client, client);
    int err = issue_ticket(f, s, client);
    // Also after a failed send: otherwise every poll would try, and report, again.
    s->issued_us = now_us();
    return err == ERR_AGAIN ? ERR_OK : err;
}

static int check_timeouts(struct feed *f) {
    int64_t oldest = now_us() - f->options.ticket_timeout_us;
    for (int i = 0; i < FEED_AHEAD_MAX; i++) {
        struct slot *s = &f->slots[i];
        int err = s->state == SLOT_ISSUED && s->issued_us < oldest ? reissue_ticket(f, s) : ERR_OK;
        if (err)
            return err;
    }
    return ERR_OK;
}

// ---- receiving ----

static void void_tickets(struct feed *f, int client) {
    for (int i = 0; i < FEED_AHEAD_MAX; i++)
        if (f->slots[i].state == SLOT_ISSUED && f->slots[i].client == client)
            // The order stays, so the ticket goes out before newer ones.
            f->slots[i].state = SLOT_WANTED;
    f->clients[client] = (struct client){0};
}

static int refuse_loader(struct feed *f, int client, int why, const char *text) {
    struct msg *m = xcalloc(1, sizeof *m);
    m->type = MSG_refuse;
    m->refuse.err = why;
    (void)text_copy(m->refuse.text, sizeof m->refuse.text, text); // may be cut
    int err = hub_send(f->hub, client, m, NULL);
    free(m);
    // Its tickets go to other loaders; the flag must follow, since this zeroes the client.
    void_tickets(f, client);
    f->clients[client].refused = true;
    points_event(f->options.points, "error", "loader_refused", 0, "%s", text);
    return err == ERR_AGAIN ? ERR_OK : err;
}

static int other_data(struct feed *f, int client, const struct manifest_summary got[2]) {
    // The domain to name: B if A agrees.
    int i = strcmp(got[0].digest, f->manifests[0].digest) == 0;
    if (!f->ready) // the data differ from the checkpoint's, not from another loader's
        return err_set(ERR_MISMATCH,
                       "the pictures of domain %c are not those of the checkpoint (manifest %.12s "
                       "of %llu, was %.12s of %llu); --fork NEW or --fresh begins another run",
                       'A' + i, got[i].digest, (unsigned long long)got[i].count,
                       f->manifests[i].digest, (unsigned long long)f->manifests[i].count);
    return refuse_loader(f, client, ERR_MISMATCH,
                         "this loader reads other pictures than the first one");
}

static int take_ready(struct feed *f, int client, const struct msg_loader_ready *r) {
    struct manifest_summary got[2] = {{.count = r->count_a, .held_out = r->held_a},
                                      {.count = r->count_b, .held_out = r->held_b}};
    (void)text_copy(got[0].digest, sizeof got[0].digest, r->digest_a); // fits
    (void)text_copy(got[1].digest, sizeof got[1].digest, r->digest_b); // fits
    // Counts come from outside: an epoch needs a batch, and numbers must fit an int.
    if (!r->credits || !r->count_a || !r->count_b || r->count_a > INT32_MAX ||
        r->count_b > INT32_MAX)
        return refuse_loader(f, client, ERR_PEER, "loader_ready without credits or pictures");
    if ((f->ready || f->expected) && !manifest_same_data(got, f->manifests))
        return other_data(f, client, got);
    // The first loader defines the data unless a checkpoint has. Later ones are equal to it.
    memcpy(f->manifests, got, sizeof got);
    f->ready = true;
    f->clients[client] = (struct client){.ready = true, .credits = MIN(r->credits, FEED_AHEAD_MAX)};
    return ERR_OK;
}

// Why a batch is invalid. NULL: it is valid.
static const char *wrong_batch(const struct feed *f, const struct msg_ticket *t,
                               const struct link_in *in) {
    const struct msg_batch *b = &in->msg.batch;
    // Checked against our ticket, not against the message itself.
    if (b->count != t->count || b->n_record_a != t->count || b->n_record_b != t->count)
        return "another number of pictures";
    if (b->n_shape != 6 || in->n_frames != 2)
        return "no shape or no pixels";
    for (int i = 0; i < 2; i++) {
        const uint64_t *hwc = &b->shape[3 * i];
        if (hwc[0] < 1 || hwc[0] > 65535 || hwc[1] < 1 || hwc[1] > 65535)
            return "an impossible size";
        if (hwc[2] != (uint64_t)f->options.channels[i])
            return "another number of channels";
        uint64_t bytes = t->count * hwc[0] * hwc[1] * hwc[2]; // below 2^10 2^32 2^6
        if (bytes > BATCH_BYTES_MAX || zmq_msg_size(&in->frames[i]) != bytes)
            return "more or fewer pixels than its shape says";
    }
    return NULL;
}

static void keep_batch(struct slot *s, struct link_in *in) {
    const struct msg_batch *b = &in->msg.batch;
    const uint64_t *records[2] = {b->record_a, b->record_b};
    struct feed_batch *ret = &s->batch;
    *ret = (struct feed_batch){
        .split = b->split, .epoch = b->epoch, .index = b->index, .n = (int)b->count};
    for (int i = 0; i < 2; i++) {
        ret->h[i] = (int)b->shape[3 * i];
        ret->w[i] = (int)b->shape[3 * i + 1];
        ret->c[i] = (int)b->shape[3 * i + 2];
        ret->records[i] = xmalloc(b->count * sizeof *ret->records[i]);
        memcpy(ret->records[i], records[i], b->count * sizeof *ret->records[i]);
        (void)zmq_msg_init(&ret->frames[i]);                 // cannot fail
        (void)zmq_msg_move(&ret->frames[i], &in->frames[i]); // both are valid
        ret->pixels[i] = zmq_msg_data(&ret->frames[i]);      // also marks that the frame is owned
    }
    s->state = SLOT_READY;
}

static int take_batch(struct feed *f, struct link_in *in) {
    const struct msg_batch *b = &in->msg.batch;
    struct slot *s = find_slot(f, b->split, b->epoch, b->index);
    // An answer to a ticket that was issued twice: equal by number, so either copy serves.
    if (!s || s->state == SLOT_READY) {
        f->dropped++;
        return ERR_OK;
    }
    const char *wrong = wrong_batch(f, &s->ticket, in);
    if (wrong) {
        char text[256];
        (void)snprintf(text, sizeof text, "batch %llu of epoch %llu has %s",
                       (unsigned long long)b->index, (unsigned long long)b->epoch, wrong);
        return refuse_loader(f, in->client, ERR_PEER, text);
    }
    keep_batch(s, in);
    return ERR_OK;
}

static int take_message(struct feed *f, struct link_in *in) {
    // Messages sent before the refusal arrived are ignored, not refused again.
    if (f->clients[in->client].refused)
        return ERR_OK;
    if (in->msg.type == MSG_loader_ready)
        return take_ready(f, in->client, &in->msg.loader_ready);
    if (in->msg.type == MSG_batch && f->clients[in->client].ready)
        return take_batch(f, in);
    return refuse_loader(f, in->client, ERR_PEER, "a message that no loader sends to a trainer");
}

static int take_event(struct feed *f, struct link_in *in) {
    if (in->client < 0 || in->client >= CLIENTS_MAX)
        return ERR_OK; // a loader above CLIENTS_MAX gets no tickets
    if (in->event == LINK_MSG)
        return take_message(f, in);
    void_tickets(f, in->client); // LINK_UP, _DOWN, _FIN: its tickets are void
    return ERR_OK;
}

int feed_poll(struct feed *f) {
    for (;;) {
        struct link_in in;
        int err = hub_next(f->hub, &in);
        if (!err && in.event == LINK_NONE)
            break;
        if (!err) {
            err = take_event(f, &in);
            link_in_fini(&in);
        }
        if (err)
            return err;
    }
    if (!f->ready)
        return ERR_OK;
    // Before the timeouts and the sending: a new credit is used in the same poll.
    want_tickets(f);
    int err = check_timeouts(f);
    return err ? err : issue_tickets(f);
}

void feed_batch_move(struct feed_batch *from, struct feed_batch *ret_batch) {
    *ret_batch = *from;
    for (int i = 0; i < 2; i++) {
        (void)zmq_msg_init(&ret_batch->frames[i]);                   // cannot fail
        (void)zmq_msg_move(&ret_batch->frames[i], &from->frames[i]); // both are valid
        (void)zmq_msg_close(&from->frames[i]);                       // empty now
        // Again: small messages lie inside of the zmq_msg_t, so their data moves with it.
        ret_batch->pixels[i] = zmq_msg_data(&ret_batch->frames[i]);
    }
    *from = (struct feed_batch){0};
}

int feed_take(struct feed *f, uint64_t split, uint64_t epoch, uint64_t index,
              struct feed_batch *ret_batch) {
    struct slot *s = find_slot(f, split, epoch, index);
    if (!s || s->state != SLOT_READY)
        return ERR_AGAIN;
    feed_batch_move(&s->batch, ret_batch);
    *s = (struct slot){.state = SLOT_FREE};
    return ERR_OK;
}

void feed_finish(struct feed *f) {
    f->batches_left = 0;
    // No new tickets. Answers in flight may still come and are dropped at feed_close.
    f->held_next = f->held_end;
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (f->clients[i].ready)
            (void)hub_fin(f->hub, i); // a loader that has gone needs no end
}

void *feed_socket(struct feed *f) {
    return hub_socket(f->hub);
}

int64_t feed_due_us(const struct feed *f) {
    int64_t due = hub_due_us(f->hub);
    for (int i = 0; i < FEED_AHEAD_MAX; i++)
        if (f->slots[i].state == SLOT_ISSUED)
            // One microsecond later, since check_timeouts asks for "older than".
            due = MIN(due, f->slots[i].issued_us + f->options.ticket_timeout_us + 1);
    return due;
}

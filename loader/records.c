// records - a small client of the curator's protocol: one request in flight, repeated after a lost
// session. The manifest ends as a file, so a restarted loader needs no transfer.
#include "records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

struct records {
    char domain[8];
    struct link *link;
    struct msg_manifest_info info;
    struct manifest *manifest; // incomplete while `done` is false
    size_t have;               // records received
    bool done;
};

int records_open(const struct link_options *common, const char *domain, struct records **ret) {
    struct records *r = xcalloc(1, sizeof *r);
    (void)text_copy(r->domain, sizeof r->domain, domain); // "A" or "B"
    // link_open copies the endpoint.
    char *endpoint = xasprintf("ipc://s/curator-%s", domain);
    struct link_options options = *common;
    options.endpoint = endpoint;
    int err = link_open(&options, &r->link);
    free(endpoint);
    if (err)
        records_close(r);
    else
        *ret = r;
    return err;
}

void records_close(struct records *r) {
    if (!r)
        return;
    link_close(r->link);
    manifest_free(r->manifest);
    free(r);
}

struct manifest *records_manifest(struct records *r) {
    return r->done ? r->manifest : NULL;
}

void *records_socket(struct records *r) {
    return r->link ? link_socket(r->link) : NULL;
}

int64_t records_due_us(const struct records *r) {
    return r->link ? link_due_us(r->link) : INT64_MAX;
}

static void finish(struct records *r) {
    r->done = true;
    // The manifest never changes during a run, so the session is not needed any more.
    (void)link_fin(r->link); // if it fails, the curator ends the session by its time-out
    link_close(r->link);
    r->link = NULL;
}

static int request_chunk(struct records *r) {
    struct msg m = {.type = MSG_manifest_chunk_ask};
    m.manifest_chunk_ask.first = r->have;
    // Held-out records follow the training records in the same numbering.
    m.manifest_chunk_ask.count =
        MIN((uint64_t)MANIFEST_CHUNK, r->info.count + r->info.held_out - r->have);
    return link_send(r->link, &m, NULL);
}

// A name of its own: the curator's file must not be written by two processes.
static char *own_path(const struct records *r) {
    return xasprintf("manifest/%s.fetched", r->domain);
}

// Takes the file if it is a manifest with the announced digest.
static bool take_file(struct records *r, const char *path) {
    struct manifest *m;
    if (manifest_load(path, &m))
        return false;
    // An older file of other settings may still be there, so the digest decides.
    if (strcmp(m->digest, r->info.digest) == 0) {
        r->manifest = m;
        return true;
    }
    manifest_free(m);
    return false;
}

static bool take_from_disk(struct records *r) {
    char *by_curator = xasprintf("manifest/%s.manifest", r->domain), *own = own_path(r);
    // The curator's file first: usually both processes share the folder.
    bool found = take_file(r, by_curator) || take_file(r, own);
    free(by_curator);
    free(own);
    return found;
}

static int take_info(struct records *r, const struct msg_manifest_info *info) {
    // A second LINK_UP starts over, so an incomplete manifest is dropped.
    manifest_free(r->manifest);
    r->manifest = NULL;
    r->info = *info;
    if (take_from_disk(r)) {
        finish(r);
        return ERR_OK;
    }
    // The count comes from a peer, so it is bounded before memory is allocated for it.
    if (info->count + info->held_out > 100u << 20)
        return err_set(ERR_LIMIT, "curator %s announces %llu pictures; 104857600 are the limit",
                       r->domain, (unsigned long long)(info->count + info->held_out));
    struct manifest *m = xcalloc(1, sizeof *m);
    (void)text_copy(m->domain, sizeof m->domain, info->domain); // checked by the message's bounds
    m->root = xstrdup(info->root);
    m->count = info->count;
    m->held_out = info->held_out;
    m->records = xcalloc(m->count + m->held_out, sizeof *m->records);
    r->manifest = m;
    r->have = 0;
    return request_chunk(r);
}

static int parse_lines(struct records *r, const char *text, size_t size, size_t count) {
    size_t all = r->manifest->count + r->manifest->held_out;
    // A count of 0 would ask for the same records for ever.
    if (count == 0 || count > all - r->have)
        return err_set(ERR_PEER, "curator %s sent %zu records, %zu are missing", r->domain, count,
                       all - r->have);
    for (size_t i = 0; i < count; i++) {
        const char *end = memchr(text, '\n', size);
        if (!end)
            return err_set(ERR_PEER, "curator %s sent a chunk that ends within a record",
                           r->domain);
        // manifest_parse checks the path: it stays inside the root.
        size_t line = (size_t)(end - text);
        int err = manifest_parse(text, line, &r->manifest->records[r->have]);
        if (err)
            return err;
        r->have++;
        text = end + 1;
        size -= line + 1;
    }
    return ERR_OK;
}

static int complete_manifest(struct records *r) {
    // Sealing sorts and computes the digest, which covers every record.
    manifest_seal(r->manifest);
    if (strcmp(r->manifest->digest, r->info.digest) != 0)
        return err_set(ERR_MISMATCH, "manifest of curator %s: digest %s announced, %s received",
                       r->domain, r->info.digest, r->manifest->digest);
    char *path = own_path(r);
    int err = manifest_save(r->manifest, path);
    free(path);
    // The session ends even if saving failed; the error is passed on.
    finish(r);
    return err;
}

static int take_chunk(struct records *r, struct link_in *in) {
    const struct msg_manifest_chunk *chunk = &in->msg.manifest_chunk;
    if (!r->manifest || chunk->first != r->have)
        return ERR_OK; // answers a request of an earlier session
    int err = parse_lines(r, zmq_msg_data(&in->frames[0]), zmq_msg_size(&in->frames[0]),
                          (size_t)chunk->count);
    if (err)
        return err;
    return r->have < r->manifest->count + r->manifest->held_out ? request_chunk(r)
                                                                : complete_manifest(r);
}

static int take_event(struct records *r, struct link_in *in) {
    if (in->event == LINK_UP)
        return link_send(r->link, &(struct msg){.type = MSG_manifest_ask}, NULL);
    if (in->event != LINK_MSG)
        return ERR_OK; // after a lost session LINK_UP comes again and starts over
    if (in->msg.type == MSG_manifest_info)
        return take_info(r, &in->msg.manifest_info);
    if (in->msg.type == MSG_manifest_chunk)
        return take_chunk(r, in);
    if (in->msg.type == MSG_refuse)
        return err_set(ERR_DATA, "curator %s: %s", r->domain, in->msg.refuse.text);
    return err_set(ERR_PEER, "curator %s sent a %s", r->domain, msg_name(in->msg.type));
}

int records_step(struct records *r, bool *ret_done) {
    while (!r->done) {
        struct link_in in;
        int err = link_next(r->link, &in);
        if (err)
            return err;
        if (in.event == LINK_NONE)
            break;
        err = take_event(r, &in);
        link_in_fini(&in);
        if (err && err != ERR_AGAIN) // a full socket: the next session repeats the request
            return err;
    }
    *ret_done = r->done;
    return ERR_OK;
}

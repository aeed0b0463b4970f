// note - the supervisor's records for the database, through a ring like those of all processes.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zmq.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "ctl/ctl.h"
#include "points/points.h"

// The script waits for each note, so not long.
#define FLUSH_MS 500

static int note_end(struct points *p, const char *const *words) {
    struct msg m = {.type = MSG_process_end};
    (void)text_copy(m.process_end.process, sizeof m.process_end.process, words[0]);
    m.process_end.instance = strtoull(words[1], NULL, 10);
    m.process_end.incarnation = strtoull(words[2], NULL, 10);
    m.process_end.exit_code = strtoll(words[3], NULL, 10);
    m.process_end.ts_us = wall_us();
    points_put(p, &m);
    return ERR_OK;
}

static int note_event(struct points *p, const char *const *words) {
    points_event(p, words[0], words[1], 0, "%s", words[2]);
    return ERR_OK;
}

static int note_state(struct points *p, const char *const *words) {
    struct msg m = {.type = MSG_run_state};
    (void)text_copy(m.run_state.status, sizeof m.run_state.status, words[0]);
    m.run_state.ts_us = wall_us();
    points_put(p, &m);
    return ERR_OK;
}

static const struct {
    const char *name;
    int words;
    int (*note)(struct points *p, const char *const *words);
} notes[] = {{"end", 4, note_end}, {"event", 3, note_event}, {"state", 1, note_state}};

// A command line may hold several notes.
static int put_notes(struct points *p, const struct ctl_options *o) {
    int at = 0, err = ERR_OK;
    while (!err && at < o->n_words) {
        size_t i = 0;
        while (i < COUNT(notes) && strcmp(notes[i].name, o->words[at]) != 0)
            i++;
        // `at` is the name's place; its words have to follow.
        if (i == COUNT(notes) || at + notes[i].words >= o->n_words)
            return err_set(ERR_USAGE, "note: '%s'? see ctl --help", o->words[at]);
        err = notes[i].note(p, o->words + at + 1);
        at += 1 + notes[i].words;
    }
    return err;
}

// Every call of `ctl note` opens the ring as a new incarnation.
static uint64_t next_incarnation(void) {
    struct points_page page;
    return points_read_page("ring/supervisor-0.ring", &page) ? 1 : page.incarnation + 1;
}

int ctl_note(const struct ctl_options *o) {
    struct config *c = NULL;
    struct points *p = NULL;
    void *zmq = NULL;
    if (!o->run)
        // Relative paths below are those of the run's folder.
        return err_set(ERR_USAGE, "note wants --run DIR");
    if (chdir(o->run))
        return fs_failed("open", o->run);
    int err = config_load_effective("pipeline.conf", &c);
    if (err)
        goto out;
    zmq = zmq_ctx_new();
    struct points_options options = {
        .zmq = zmq,
        .endpoint = "ipc://s/monitor",
        .run = c->top.name,
        .ring_dir = "ring",
        .self = {.process = "supervisor", .incarnation = next_incarnation()},
        .ring_bytes = 1 << 20,
        .spill_bytes = 64 << 20,
    };
    err = points_open(&options, &p);
    if (!err)
        err = put_notes(p, o);
    // A monitor that is down takes the records when it comes back.
    if (!err)
        (void)points_flush(p, o->quick ? 0
                                       : FLUSH_MS); // the rest stays in the ring for the next drain

out:
    points_close(p);
    if (zmq)
        zmq_ctx_term(zmq);
    config_free(c);
    return err;
}

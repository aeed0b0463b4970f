// stderr, so that a program can use stdout. The lock also orders the lines of all threads.
#include "translate/progress_bar.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"

#define BAR 30
#define BAR_US 100000
#define LINE_US 5000000

struct progress_bar {
    pthread_mutex_t lock;
    int total, ended, failed;
    double part;
    bool terminal, quiet, shown; // shown: the bar is on the last line
    int64_t begun_us, shown_us;
};

struct progress_bar *progress_bar_new(int total, bool quiet) {
    struct progress_bar *t = xcalloc(1, sizeof *t);

    pthread_mutex_init(&t->lock, NULL);
    t->total = total;
    t->quiet = quiet;
    t->terminal = isatty(STDERR_FILENO);
    t->begun_us = t->shown_us = now_us();
    return t;
}

static double elapsed_s(const struct progress_bar *t) {
    return (double)(now_us() - t->begun_us) / 1e6;
}

static void remaining_text(double s, char ret[32]) {
    if (s < 60)
        (void)snprintf(ret, 32, "%.0f s left", s);
    else if (s < 6000)
        (void)snprintf(ret, 32, "%.0f min left", s / 60);
    else
        (void)snprintf(ret, 32, "%.1f h left", s / 3600);
}

static void print_bar(const struct progress_bar *t, double done, const char *rest) {
    char bar[BAR + 1];
    int full = (int)(done / t->total * BAR);

    for (int i = 0; i < BAR; i++)
        bar[i] = i < full ? '#' : '.';
    bar[BAR] = 0;
    // \r returns to the begin of the line, ESC [K clears its rest.
    fprintf(stderr, "\r[%s] %d of %d  %.2f s a picture, %s\033[K", bar, t->ended, t->total,
            elapsed_s(t) / done, rest);
    (void)fflush(stderr); // nothing is lost if stderr is closed
}

// Updates the bar, or prints a line, if the last time is long enough ago.
static void show_progress(struct progress_bar *t) {
    double done = t->ended + t->part;
    int64_t now = now_us();
    char rest[32];

    // Nothing after the last image: progress_bar_end prints the sum.
    if (t->quiet || now - t->shown_us < (t->terminal ? BAR_US : LINE_US) || done <= 0 ||
        t->ended == t->total)
        return;
    t->shown_us = now;
    remaining_text(elapsed_s(t) / done * (t->total - done), rest);
    if (t->terminal)
        print_bar(t, done, rest);
    else if (t->part > 0)
        log_line("%d of %d and %.0f %% of the next, %s", t->ended, t->total, 100 * t->part, rest);
    else
        log_line("%d of %d, %.2f s a picture, %s", t->ended, t->total, elapsed_s(t) / done, rest);
    t->shown = t->terminal;
}

// Clears the bar, so that a line can be printed.
static void clear_bar(struct progress_bar *t) {
    if (t->shown)
        fputs("\r\033[K", stderr);
    t->shown = false;
}

void progress_bar_ended(struct progress_bar *t, const char *problem) {
    pthread_mutex_lock(&t->lock);
    t->ended++;
    t->part = 0;
    if (problem) {
        t->failed++;
        clear_bar(t);
        log_line("left out: %s", problem);
    }
    show_progress(t);
    pthread_mutex_unlock(&t->lock);
}

void progress_bar_part(struct progress_bar *t, double part) {
    pthread_mutex_lock(&t->lock);
    t->part = part;
    show_progress(t);
    pthread_mutex_unlock(&t->lock);
}

void progress_bar_print(struct progress_bar *t, const char *text) {
    pthread_mutex_lock(&t->lock);
    clear_bar(t);
    log_line("%s", text);
    pthread_mutex_unlock(&t->lock);
}

int progress_bar_failed(const struct progress_bar *t) {
    return t->failed;
}

void progress_bar_end(struct progress_bar *t, int present) {
    char there[48] = "";

    clear_bar(t);
    if (present)
        (void)snprintf(there, sizeof there, ", %d were there already", present);
    log_line("%d translated, %d left out%s, %.1f s", t->ended - t->failed, t->failed, there,
             elapsed_s(t));
    pthread_mutex_destroy(&t->lock);
    free(t);
}

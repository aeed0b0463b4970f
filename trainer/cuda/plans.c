// The plan file: its table in memory, sorted by text, its writer and its reader.
#include "cuda/plans.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "base/util.h"

#define HEAD "cuDNN plans 1"
#define DEVICE_TEXT 300
// Far more than the problems of any model; it bounds the memory that a file can ask for.
#define PLANS_MAX 65536

struct entry {
    char text[CUDA_PROBLEM_TEXT];
    struct cuda_problem problem;
    struct cuda_plan plan;
};

struct cuda_plans {
    int64_t cudnn;
    char device[DEVICE_TEXT];
    int count, capacity;
    // Sorted: the same plans are written in the same order, whatever the order of their making.
    struct entry *entries; // by text
};

struct cuda_plans *cuda_plans_new(int64_t cudnn, const char *device) {
    struct cuda_plans *p = xcalloc(1, sizeof *p);

    p->cudnn = cudnn;
    (void)text_copy(p->device, sizeof p->device, device); // a name that long is cut everywhere
    return p;
}

void cuda_plans_free(struct cuda_plans *p) {
    if (!p)
        return;
    free(p->entries);
    free(p);
}

int cuda_plans_count(const struct cuda_plans *p) {
    return p->count;
}

// The index of the text, or where it has to be inserted.
static int place(const struct cuda_plans *p, const char *text) {
    int low = 0, high = p->count;

    while (low < high) {
        int middle = (low + high) / 2;
        if (strcmp(p->entries[middle].text, text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct cuda_plans *p, int i, const char *text) {
    return i < p->count && strcmp(p->entries[i].text, text) == 0;
}

const struct cuda_plan *cuda_plans_find(const struct cuda_plans *p,
                                        const struct cuda_problem *problem) {
    char text[CUDA_PROBLEM_TEXT];

    cuda_problem_print(problem, text);
    int i = place(p, text);
    return is_at(p, i, text) ? &p->entries[i].plan : NULL;
}

void cuda_plans_add(struct cuda_plans *p, const struct cuda_problem *problem,
                    const struct cuda_plan *plan) {
    struct entry e = {.problem = *problem, .plan = *plan};

    cuda_problem_print(problem, e.text);
    int i = place(p, e.text);
    if (is_at(p, i, e.text))
        BUG("a second plan for %s", e.text);
    if (p->count == p->capacity) {
        p->capacity = MAX(32, 2 * p->capacity);
        p->entries = xrealloc(p->entries, (size_t)p->capacity * sizeof *p->entries);
    }
    memmove(p->entries + i + 1, p->entries + i, (size_t)(p->count - i) * sizeof *p->entries);
    p->entries[i] = e;
    p->count++;
}

// FNV-1a with 64 bits: its offset basis and prime. It finds accidents, not forgery.
static uint64_t sum_of(const char *bytes, size_t size) {
    uint64_t sum = 0xcbf29ce484222325u;

    for (size_t i = 0; i < size; i++)
        sum = (sum ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return sum;
}

static void print_entry(FILE *f, const struct entry *e) {
    (void)fprintf(f, "%s: engine %" PRId64 " knobs", e->text, e->plan.engine);
    for (int k = 0; k < e->plan.n_knobs; k++)
        (void)fprintf(f, " %d=%" PRId64, e->plan.knobs[k].type, e->plan.knobs[k].value);
    (void)fputc('\n', f);
}

// The sum is over all bytes before the last line.
char *cuda_plans_write(const struct cuda_plans *p) {
    char *text, *all;
    size_t size;
    FILE *f = text_open(&text, &size);

    (void)fprintf(f, HEAD "\ncudnn %" PRId64 "\ndevice %s\n", p->cudnn, p->device);
    for (int i = 0; i < p->count; i++)
        print_entry(f, &p->entries[i]);
    text_close(f);
    all = xasprintf("%send %d %016" PRIx64 "\n", text, p->count, sum_of(text, size));
    free(text);
    return all;
}

// Takes a decimal number off *at. strtoll alone would accept leading spaces and a plus sign.
static bool take_number(const char **at, int64_t *ret) {
    char *end;

    if (**at != '-' && (**at < '0' || **at > '9'))
        return false;
    errno = 0;
    *ret = strtoll(*at, &end, 10);
    if (errno || end == *at)
        return false;
    *at = end;
    return true;
}

static bool take_word(const char **at, const char *word) {
    size_t size = strlen(word);

    if (strncmp(*at, word, size) != 0)
        return false;
    *at += size;
    return true;
}

static bool parse_plan(const char *at, struct cuda_plan *plan) {
    *plan = (struct cuda_plan){0};
    if (!take_word(&at, " engine ") || !take_number(&at, &plan->engine) ||
        !take_word(&at, " knobs"))
        return false;
    while (*at) {
        // cuDNN's types of knobs are small; the bound only keeps them within an int.
        int64_t type;
        if (plan->n_knobs == CUDA_KNOBS || !take_word(&at, " ") || !take_number(&at, &type) ||
            type < 0 || type > 1000 || !take_word(&at, "=") ||
            !take_number(&at, &plan->knobs[plan->n_knobs].value))
            return false;
        plan->knobs[plan->n_knobs++].type = (int)type;
    }
    return plan->engine >= 0;
}

// The text before the colon is the problem; cuda_problem_parse accepts its exact form alone.
static bool parse_entry(const char *line, struct entry *e) {
    const char *colon = strchr(line, ':');

    if (!colon || (size_t)(colon - line) >= sizeof e->text)
        return false;
    memcpy(e->text, line, (size_t)(colon - line));
    e->text[colon - line] = 0;
    return cuda_problem_parse(e->text, &e->problem) && parse_plan(colon + 1, &e->plan);
}

// The text that is read, and the current line for error messages.
struct reader {
    const char *name, *text, *at;
    int line;
    char buffer[1024];
};

static int fail(const struct reader *r, const char *why) {
    return err_set(ERR_FORMAT, "%s:%d: %s", r->name, r->line, why);
}

// The next line, without its end, in r->buffer.
static int next_line(struct reader *r) {
    const char *end = strchr(r->at, '\n');

    r->line++;
    if (!end)
        return fail(r, "the file of cuDNN plans ends too early");
    if ((size_t)(end - r->at) >= sizeof r->buffer)
        return fail(r, "the line is too long");
    memcpy(r->buffer, r->at, (size_t)(end - r->at));
    r->buffer[end - r->at] = 0;
    r->at = end + 1;
    return ERR_OK;
}

// The three lines: format and version, cuDNN, device.
static int read_head(struct reader *r, struct cuda_plans *p) {
    const char *at;
    int err = next_line(r);

    if (err)
        return err;
    if (strcmp(r->buffer, HEAD) != 0)
        return fail(r, "this is no file of cuDNN plans, or one of another version");
    err = next_line(r);
    if (err)
        return err;
    at = r->buffer;
    if (!take_word(&at, "cudnn ") || !take_number(&at, &p->cudnn) || *at)
        return fail(r, "not cudnn and its version");
    err = next_line(r);
    if (err)
        return err;
    at = r->buffer;
    if (!take_word(&at, "device ") || !text_copy(p->device, sizeof p->device, at))
        return fail(r, "not device and its name");
    return ERR_OK;
}

// One line between head and end.
static int read_entry(struct reader *r, struct cuda_plans *p) {
    struct entry e;

    if (!parse_entry(r->buffer, &e))
        return fail(r, "not a convolution, an engine and its knobs");
    if (is_at(p, place(p, e.text), e.text))
        return fail(r, "the convolution has a plan already");
    if (p->count == PLANS_MAX)
        return fail(r, "too many plans");
    cuda_plans_add(p, &e.problem, &e.plan);
    return ERR_OK;
}

// The end line has to match byte for byte, and nothing may follow it.
static int read_end(struct reader *r, const struct cuda_plans *p, size_t size_before) {
    char expected[64];

    (void)snprintf(expected, sizeof expected, "end %d %016" PRIx64, p->count,
                   sum_of(r->text, size_before));
    if (strcmp(r->buffer, expected) != 0)
        return fail(r, "the sum of the bytes before is another: the file was changed or cut");
    return *r->at ? fail(r, "there is something behind the end") : ERR_OK;
}

int cuda_plans_read(const char *name, const char *text, struct cuda_plans **ret_plans) {
    // The head fills in cuDNN's version and the device.
    struct cuda_plans *p = cuda_plans_new(0, "");
    struct reader r = {.name = name, .text = text, .at = text};
    int err = read_head(&r, p);

    while (!err) {
        // The sum ends where the end line begins.
        size_t before = (size_t)(r.at - text);
        err = next_line(&r);
        if (!err && strncmp(r.buffer, "end ", 4) == 0) {
            err = read_end(&r, p, before);
            break;
        }
        if (!err)
            err = read_entry(&r, p);
    }
    if (err) {
        cuda_plans_free(p);
        return err;
    }
    *ret_plans = p;
    return ERR_OK;
}

// Engine numbers and knobs mean something else in another cuDNN, or do not fit another GPU.
int cuda_plans_check(const struct cuda_plans *p, const char *name, int64_t cudnn,
                     const char *device) {
    if (p->cudnn != cudnn)
        return err_set(ERR_MISMATCH,
                       "%s: its plans are of cuDNN %" PRId64 ", installed is %" PRId64
                       ": the run can only be continued exactly with the cuDNN it began with",
                       name, p->cudnn, cudnn);
    if (strcmp(p->device, device) != 0)
        return err_set(ERR_MISMATCH,
                       "%s: its plans are of the device \"%s\", this one is \"%s\": the run can "
                       "only be continued exactly on such a device",
                       name, p->device, device);
    return ERR_OK;
}

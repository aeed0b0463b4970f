// output_record - remembers which input each output in OUT was made from.
//
// The file OUT/.translated gets one line when an output is complete, with tabs between the fields:
//
//   SHA-256, bytes and modification time (ns) of the input; output; input
//
// Paths are relative to OUT and IN, with %XX for '%' and control bytes. Of several lines with one
// input or output the last counts. A line cut off by a kill is ignored.
#ifndef OUTPUT_RECORD_H
#define OUTPUT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OUTPUT_RECORD_FILE ".translated"

// Identifies the content of an input.
struct output_stamp {
    uint8_t digest[32];
    uint64_t bytes;
    int64_t mtime_ns;
};

struct output_record;

// Reads the file in `folder`. A missing file is an empty record. ERR_IO.
int output_record_open(const char *folder, struct output_record **ret);
void output_record_close(struct output_record *r); // accepts NULL

// The output made from input `in`, or the input that `out` was made from. NULL: not recorded. Lent.
const char *output_record_output(const struct output_record *r, const char *in);
const char *output_record_input(const struct output_record *r, const char *out);

// Whether the file at `path` is still the recorded input `in`. Equal size and time suffice; with
// another time the digest decides.
bool output_record_is_current(const struct output_record *r, const char *in, const char *path);

// The size and time of a file; the digest is left to the caller. ERR_IO.
int output_stamp_stat(const char *path, struct output_stamp *ret);

// Appends a line. Thread-safe. ERR_IO, ERR_SPACE.
int output_record_add(struct output_record *r, const char *out, const char *in,
                      const struct output_stamp *stamp);

#endif

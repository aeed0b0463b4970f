// safetensors - reads and writes files of named tensors.
//
//   byte 0   u64, little-endian: n, length of the header
//   byte 8   header: JSON object, padded with spaces so that 8 + n is a multiple of 8
//            {"__metadata__": {"format": "pt"},
//             "NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
//   8 + n    the tensors, row-major, little-endian, without holes, in the header's order
//
// Offsets count from 8 + n. Reading is strict: an unknown key, another type, an overlap, a hole, a
// missing or surplus byte is refused before any tensor is read. Memory: less than 5 times the
// header, which has at most 256 KiB. Source: the format's specification,
// https://github.com/huggingface/safetensors.
#ifndef SAFETENSORS_H
#define SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#define SAFETENSORS_HEADER_MAX (256 << 10)
#define SAFETENSORS_RANK_MAX 4

enum safetensors_type {
    SAFETENSORS_F32,
    SAFETENSORS_I64,
    SAFETENSORS_F16, // the following only when reading
    SAFETENSORS_BF16,
    SAFETENSORS_F64
};

struct safetensor {
    const char *name;
    enum safetensors_type type;
    int rank; // 0: one number
    int64_t dims[SAFETENSORS_RANK_MAX];
    const void *data; // for writing: lent
    uint64_t begin;   // for reading: offset in the data
    uint64_t bytes;   // for reading: size
};

// Writes and syncs `path`, which may exist. Names are printable ASCII without " and \ (else BUG).
// Fails with ERR_IO, ERR_SPACE.
int safetensors_write(const char *path, const struct safetensor *tensors, int n);

// The same, but `source` provides the data of one tensor after the other. The data is lent until
// the next call. An error of `source` is returned.
typedef int safetensors_source(void *context, int i, const void **ret_data);
int safetensors_write_from(const char *path, const struct safetensor *tensors, int n,
                           safetensors_source *source, void *context);

struct safetensors {
    int fd; // -1: closed
    uint64_t data_start;
    int count;
    struct safetensor *tensors; // in the order of their data; names owned by this struct
    char *path;
};

// Reads and checks the header. ERR_IO, ERR_FORMAT (the text names path and what is wrong).
int safetensors_open(const char *path, struct safetensors *ret_file);
void safetensors_close(struct safetensors *f);

// NULL if there is none of that name.
const struct safetensor *safetensors_find(const struct safetensors *f, const char *name);

// Reads the tensor's bytes. ERR_IO.
int safetensors_read(const struct safetensors *f, const struct safetensor *t, void *ret_data);
// Reads `size` bytes from byte `at` of the tensor. BUG beyond its end.
int safetensors_read_part(const struct safetensors *f, const struct safetensor *t, uint64_t at,
                          void *ret_data, size_t size);

#endif

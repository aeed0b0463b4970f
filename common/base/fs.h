// fs - files and folders, with errors that name the path.
#ifndef FS_H
#define FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The error of a system call on `path`, by errno: "WHAT 'PATH': No such file or directory".
// ERR_SPACE if the disk or the quota is full, else ERR_IO.
int fs_failed(const char *what, const char *path);

// mkdir -p with mode. ERR_IO.
int fs_mkdirs(const char *path, unsigned mode);
// A whole regular file; *ret_bytes is malloc'ed with a 0 behind it. ERR_IO; ERR_LIMIT above max.
int fs_read(const char *path, size_t max, uint8_t **ret_bytes, size_t *ret_size);
// All of it, from where the file stands. `path` is for the error. ERR_IO, ERR_SPACE.
int fs_write_all(int fd, const char *path, const void *bytes, size_t size);
// Written beside `path`, fsynced, renamed over it, folder fsynced. ERR_IO, ERR_SPACE.
int fs_write_atomic(const char *path, const void *bytes, size_t size);
int fs_sync_dir(const char *path);
// rm -r; not an error if it is not there.
int fs_remove_tree(const char *path);
bool fs_exists(const char *path);
bool fs_is_dir(const char *path);
// Free bytes for us on the file system of path.
int fs_free_bytes(const char *path, uint64_t *ret_bytes);

#endif

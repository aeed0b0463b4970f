// fs - files and folders, with errors that name the path.
#ifndef FS_H
#define FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// mkdir -p with mode. ERR_IO.
int fs_mkdirs(const char *path, unsigned mode);
// A whole regular file; *ret_bytes is malloc'ed with a 0 behind it. ERR_IO; ERR_LIMIT above max.
int fs_read(const char *path, size_t max, uint8_t **ret_bytes, size_t *ret_size);
// Written beside `path`, fsynced, renamed over it, folder fsynced. ERR_IO, ERR_SPACE.
int fs_write_atomic(const char *path, const void *bytes, size_t size);
int fs_sync_dir(const char *path);
// rm -r; not an error if it is not there.
int fs_remove_tree(const char *path);
bool fs_exists(const char *path);
bool fs_is_dir(const char *path);
// Free bytes for us on the file system of path.
int fs_free_bytes(const char *path, uint64_t *ret_bytes);
// Takes an exclusive lock on the file (made if missing, our pid written into it); ERR_BUSY with the
// holder's pid in the text. The lock lives until *ret_fd is closed or the process ends.
int fs_lock(const char *path, int *ret_fd);

#endif

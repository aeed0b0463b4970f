// fs - files and folders, with errors that name the path.
#ifndef FS_H
#define FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Turns errno after a system call on `path` into an error: "WHAT 'PATH': No such file or
// directory". Returns ERR_SPACE if the disk or the quota is full, else ERR_IO.
int fs_failed(const char *what, const char *path);

// mkdir -p with mode. ERR_IO.
int fs_mkdirs(const char *path, unsigned mode);
// Reads a whole regular file. *ret_bytes is malloc'ed and has a 0 behind its last byte. ERR_IO;
// ERR_LIMIT for a file of more than max bytes.
int fs_read(const char *path, size_t max, uint8_t **ret_bytes, size_t *ret_size);
// Writes all bytes at the file's position. `path` is for the message. ERR_IO, ERR_SPACE.
int fs_write_all(int fd, const char *path, const void *bytes, size_t size);
// Writes PATH.tmp, syncs it, renames it to `path` and syncs the folder: a reader sees the old file
// or the whole new one. ERR_IO, ERR_SPACE.
int fs_write_atomic(const char *path, const void *bytes, size_t size);
// Makes renames and new names in a folder survive a power loss. ERR_IO.
int fs_sync_dir(const char *path);
// rm -r; a missing path is no error.
int fs_remove_tree(const char *path);
// Whether there is anything of that name, even a broken link.
bool fs_exists(const char *path);
// Whether it is a folder, or a link to one.
bool fs_is_dir(const char *path);
// Bytes that this user may still write on the file system of `path`.
int fs_free_bytes(const char *path, uint64_t *ret_bytes);

#endif

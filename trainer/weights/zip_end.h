// zip_end - checks the number of entries that a zip archive claims.
#ifndef ZIP_END_H
#define ZIP_END_H

#define ZIP_ENTRIES_MAX 2048

// libzip allocates memory for as many entries as the record at the end of the file claims. So every
// candidate for that record is checked first. ERR_LIMIT: more than ZIP_ENTRIES_MAX entries. ERR_IO.
// ERR_FORMAT: there is no such record.
int zip_end_check(const char *path);

#endif

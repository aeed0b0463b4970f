// zip_end - how many entries a zip archive claims, before a library believes it.
#ifndef ZIP_END_H
#define ZIP_END_H

#define ZIP_ENTRIES_MAX 2048

// Looks at every record at the end of the file that may be the archive's. A library takes memory
// for as many entries as the record says. ERR_LIMIT: more than ZIP_ENTRIES_MAX; ERR_IO; ERR_FORMAT:
// there is no such record.
int zip_end_check(const char *path);

#endif

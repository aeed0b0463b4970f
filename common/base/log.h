// log - lines on stderr for a person: "2026-11-23 04:05:06 trainer: text". Modules return errors
// instead; only main and the loops log.
#ifndef LOG_H
#define LOG_H

void log_name(const char *process); // kept, not copied
// One line, cut at 2047 bytes, with the local time and the process's name.
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

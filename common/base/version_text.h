// version_text - "0.1.0+abcdef123456": VERSION and the git hash of the build.
#ifndef VERSION_TEXT_H
#define VERSION_TEXT_H

const char *version_text(void);

#endif

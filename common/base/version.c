// A file of its own: it is the only object that a new commit makes the build compile again.
#include "base/version_text.h"

#include "version.h"

const char *version_text(void) {
    return VERSION_TEXT;
}

#include "base/version_text.h"

#include "version.h"

const char *version_text(void) {
    return VERSION_TEXT;
}

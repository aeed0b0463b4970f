// Short, and a file of its own: the objects that embed files depend on them in the build.
#include "page.h"

#include <string.h>

#include "base/util.h"
#include "embed.h"

EMBED(page_html, "page.html");
EMBED(page_css, "page.css");
EMBED(page_js, "page.js");

const struct page_file *page_find(const char *path) {
    static const struct page_file files[] = {
        {"/", "text/html; charset=utf-8", page_html},
        {"/page.css", "text/css; charset=utf-8", page_css},
        {"/page.js", "text/javascript; charset=utf-8", page_js},
    };
    for (size_t i = 0; i < COUNT(files); i++)
        if (strcmp(path, files[i].path) == 0)
            return &files[i];
    return NULL;
}

// page - the dashboard's own files, embedded in the program.
#ifndef PAGE_H
#define PAGE_H

struct page_file {
    const char *path; // "/page.js"
    const char *kind; // "text/javascript; charset=utf-8"
    const char *text;
};

// The file of a URL path; "/" is the page. NULL: there is none.
const struct page_file *page_find(const char *path);

#endif

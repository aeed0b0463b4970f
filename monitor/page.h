// page - the dashboard's own files, part of the program.
#ifndef PAGE_H
#define PAGE_H

struct page_file {
    const char *path; // "/page.js"
    const char *kind; // "text/javascript; charset=utf-8"
    const char *text;
};

// NULL: there is no such file. "/" is the page.
const struct page_file *page_find(const char *path);

#endif

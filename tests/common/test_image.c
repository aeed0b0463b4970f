#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"
#include "image.h"
#include "util.h"

static void answer(char *line) {
    char *field[7];
    for (int i = 0; i < 7; i++)
        field[i] = strsep(&line, "\t");
    struct image im, out;
    enum preprocess p;
    if (!field[6] || !preprocess_from_name(field[1], &p) ||
        image_load(field[0], &image_default_limits, 3, &im)) {
        (void)printf("error %s\n", err_text());
        return;
    }
    preprocess_apply(p, &im, atoi(field[2]), atoi(field[3]), atoi(field[4]), atoi(field[5]),
                     atoi(field[6]) != 0, &out);
    (void)printf("%d %d %d\n", out.w, out.h, out.c);
    (void)fwrite(out.pixels, 1, (size_t)out.w * (size_t)out.h * (size_t)out.c, stdout);
    image_fini(&im);
    image_fini(&out);
}

// The other end of pillow_parity.py.
static int serve(void) {
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        answer(line);
        (void)fflush(stdout); // a lost reader shows in its own exit status
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--serve") == 0)
        return serve();
    return 0;
}

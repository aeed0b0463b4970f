// draw_set - files around the drawings. The tables are built in memory and written last.
#include "draw/draw_set.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "draw/canvas.h"
#include "draw/draw_anime.h"
#include "draw/draw_photo.h"

// ANIME_INDEX in the upper half of an index: the two sets share no random numbers.
enum { QUALITY = 90, BROKEN = 3, ANIME_INDEX = 1 };

// Without the fsync of fs_write_atomic: lost files can be drawn again.
static int write_file(const char *path, const void *bytes, size_t size) {
    // "e": close in child processes.
    FILE *f = fopen(path, "we");
    if (!f)
        return err_set(ERR_IO, "open '%s': %s", path, strerror(errno));
    bool whole = fwrite(bytes, 1, size, f) == size;
    if (fclose(f) != 0 || !whole)
        return err_set(ERR_IO, "write '%s': %s", path, strerror(errno));
    return ERR_OK;
}

// Keeps the first `kept` thousandths of the file; 1000 writes the whole picture.
static int write_picture(const char *path, const struct image *im, size_t kept) {
    // Quality 90 leaves artefacts like those of real photographs.
    uint8_t *bytes;
    size_t size;
    int err = image_encode_jpeg(im, QUALITY, &bytes, &size);
    if (err)
        return err;
    err = write_file(path, bytes, size * kept / 1000);
    free(bytes);
    return err;
}

// kind 0: an empty file, 1: cut off in its data, 2: a text.
static int write_broken(const char *path, const struct image *im, int kind) {
    static const char text[] = "This is a text, not a picture.\n";
    if (kind == 0)
        return write_file(path, "", 0);
    // 600 of 1000: behind the header, within the picture's data.
    return kind == 1 ? write_picture(path, im, 600) : write_file(path, text, sizeof text - 1);
}

static int make_folder(const char *parent, const char *name) {
    char *path = xasprintf("%s/%s", parent, name);
    int err = fs_mkdirs(path, 0777);
    free(path);
    return err;
}

static void add_rows(FILE *landmarks, FILE *attributes, const char *name, const struct photo *p) {
    (void)fprintf(landmarks, "%s ", name); // fclose reports errors
    for (int k = 0; k < PHOTO_POINTS; k++)
        (void)fprintf(landmarks, " %3d  %3d ", p->points[k][0], p->points[k][1]);
    (void)fprintf(landmarks, "\n");
    const bool has[] = {p->bangs,      p->black_hair, p->blond_hair,
                        p->brown_hair, p->eyeglasses, p->smiling};
    (void)fprintf(attributes, "%s", name);
    for (size_t k = 0; k < COUNT(has); k++)
        (void)fprintf(attributes, " %2d", has[k] ? 1 : -1);
    (void)fprintf(attributes, "\n");
}

static int draw_one_photo(const struct draw_set *set, int i, FILE *landmarks, FILE *attributes) {
    char name[32];
    // Numbered from 1, as the real set is.
    (void)snprintf(name, sizeof name, "%06d.jpg", i + 1);
    char *path = xasprintf("%s/celeba/img_align_celeba/%s", set->folder, name);
    struct photo p;
    draw_photo(set->seed, (uint64_t)i, &p);
    // The real tables also list pictures that turn out to be damaged.
    add_rows(landmarks, attributes, name, &p);
    int err = i < set->celeba ? write_picture(path, &p.image, 1000)
                              : write_broken(path, &p.image, i - set->celeba);
    image_fini(&p.image);
    free(path);
    return err;
}

static FILE *open_table(char **ret_text, size_t *ret_size, int rows, const char *names) {
    FILE *f = open_memstream(ret_text, ret_size);
    if (!f)
        BUG("open_memstream: %s", strerror(errno));
    (void)fprintf(f, "%d\n%s\n", rows, names);
    return f;
}

static int write_table(const char *folder, const char *name, FILE **table, char *const *text,
                       const size_t *size) {
    int failed = fclose(*table); // text and size are valid from here
    *table = NULL;
    if (failed)
        return err_set(ERR_IO, "write '%s': %s", name, strerror(errno));
    char *path = xasprintf("%s/celeba/%s", folder, name);
    int err = write_file(path, *text, *size);
    free(path);
    return err;
}

static int draw_photos(const struct draw_set *set) {
    char *points = NULL, *marks = NULL;
    size_t points_size, marks_size;
    // The broken pictures follow the whole ones.
    int rows = set->celeba + BROKEN, err = make_folder(set->folder, "celeba/img_align_celeba");
    if (err)
        return err;
    FILE *landmarks = open_table(&points, &points_size, rows,
                                 "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y "
                                 "leftmouth_x leftmouth_y rightmouth_x rightmouth_y");
    FILE *attributes = open_table(&marks, &marks_size, rows,
                                  "Bangs Black_Hair Blond_Hair Brown_Hair Eyeglasses Smiling");
    for (int i = 0; i < rows && !err; i++)
        err = draw_one_photo(set, i, landmarks, attributes);
    // Both tables are closed even after a failure: their memory has to be freed.
    int err_points = write_table(set->folder, "list_landmarks_align_celeba.txt", &landmarks,
                                 &points, &points_size);
    int err_marks =
        write_table(set->folder, "list_attr_celeba.txt", &attributes, &marks, &marks_size);
    free(points);
    free(marks);
    return err ? err : err_points ? err_points : err_marks;
}

// Nearly all are small. The two large sizes test a curator that takes the largest.
static int anime_size(struct chance *r, int i) {
    // Two of each 25, so that a small set has them too.
    if (i % 25 == 7)
        return 300;
    return i % 25 == 8 ? 301 : 90 + chance_below(r, 31);
}

static int draw_one_anime(const struct draw_set *set, int i) {
    uint64_t index = (uint64_t)ANIME_INDEX << 32 | (uint64_t)i;
    struct chance r = {set->seed, index, 1 << 20}; // past the numbers of draw_anime
    int size = anime_size(&r, i), year = 2000 + chance_below(&r, 20);
    char *path = xasprintf("%s/anime/images/%d_%d.jpg", set->folder, i + 1, year);
    struct image im;
    draw_anime(set->seed, index, size, &im);
    int err =
        i < set->anime ? write_picture(path, &im, 1000) : write_broken(path, &im, i - set->anime);
    image_fini(&im);
    free(path);
    return err;
}

static int draw_animes(const struct draw_set *set) {
    int err = make_folder(set->folder, "anime/images");
    for (int i = 0; i < set->anime + BROKEN && !err; i++)
        err = draw_one_anime(set, i);
    return err;
}

int draw_set(const struct draw_set *set) {
    int err = set->celeba ? draw_photos(set) : ERR_OK;
    if (!err && set->anime)
        err = draw_animes(set);
    return err;
}

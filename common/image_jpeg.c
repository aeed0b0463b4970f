// JPEG through libjpeg's API. Its errors leave by longjmp; what must survive lives in the job.
#include "image_codec.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

#include <jerror.h>

#include "err.h"
#include "util.h"

enum { SCANS_MAX = 200 }; // the 8-bit standard needs at most 10 a component and bit

struct job {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    bool in_header;
    bool damaged;
    char text[JMSG_LENGTH_MAX]; // of the error, else of the first warning that means damage
    struct image image;
    uint8_t *cmyk_row;
};

static void leave(j_common_ptr common) {
    struct job *job = common->client_data;
    common->err->format_message(common, job->text);
    longjmp(job->escape, 1);
}

static bool harmless(const struct job *job) {
    switch (job->errors.msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_BOGUS_ICC:
        return true;
    case JWRN_EXTRANEOUS_DATA:
        return job->in_header;
    default:
        return false;
    }
}

static void warn(j_common_ptr common, int level) {
    struct job *job = common->client_data;
    if (level >= 0 || job->damaged || harmless(job))
        return;
    job->damaged = true;
    common->err->format_message(common, job->text);
}

static void stay_silent(j_common_ptr common) {
    (void)common;
}

// A few kilobytes of empty scans can cost minutes.
static void limit_scans(j_common_ptr common) {
    struct job *job = common->client_data;
    if (job->cinfo.input_scan_number <= SCANS_MAX)
        return;
    (void)snprintf(job->text, sizeof job->text, "more than %d scans", SCANS_MAX);
    longjmp(job->escape, 1);
}

static void job_open(struct job *job, const struct image_file *file) {
    job->cinfo.err = jpeg_std_error(&job->errors);
    job->cinfo.client_data = job;
    job->errors.error_exit = leave;
    job->errors.emit_message = warn;
    job->errors.output_message = stay_silent;
    job->progress.progress_monitor = limit_scans;
    jpeg_create_decompress(&job->cinfo);
    job->cinfo.progress = &job->progress;
    jpeg_mem_src(&job->cinfo, file->bytes, file->size);
    job->in_header = true;
    (void)jpeg_read_header(&job->cinfo, TRUE); // it leaves rather than fail
    job->in_header = false;
}

static int job_close(struct job *job, const struct image_file *file, int err) {
    jpeg_destroy_decompress(&job->cinfo);
    free(job->cmyk_row);
    if (err || job->damaged) {
        image_fini(&job->image);
        return err_set(ERR_FORMAT, "'%s': damaged JPEG: %s", file->name, job->text);
    }
    return ERR_OK;
}

static int probe(const struct image_file *file, struct image_info *ret_info) {
    struct job job = {0};
    if (setjmp(job.escape))
        return job_close(&job, file, ERR_FORMAT);
    job_open(&job, file);
    int channels = job.cinfo.num_components, bits = job.cinfo.data_precision;
    int w = (int)job.cinfo.image_width, h = (int)job.cinfo.image_height;
    int err = job_close(&job, file, ERR_OK);
    if (err)
        return err;
    if (channels != 1 && channels != 3 && channels != 4)
        return err_set(ERR_FORMAT, "'%s': JPEG of %d channels", file->name, channels);
    *ret_info = (struct image_info){IMAGE_JPEG, w, h, channels, bits};
    return ERR_OK;
}

// Adobe's inverted CMYK: each value is already 255 - ink, as Pillow assumes of every such file.
static void rgb_from_cmyk(const uint8_t *in, int w, uint8_t *ret_rgb) {
    for (int x = 0; x < w; x++, in += 4, ret_rgb += 3)
        for (int k = 0; k < 3; k++) {
            int ink = (255 - in[k]) * in[3] + 128;
            int v = in[3] - (((ink >> 8) + ink) >> 8);
            ret_rgb[k] = (uint8_t)MAX(v, 0);
        }
}

static void read_rows(struct job *job) {
    struct jpeg_decompress_struct *cinfo = &job->cinfo;
    size_t stride = (size_t)job->image.w * (size_t)job->image.c;
    while (cinfo->output_scanline < cinfo->output_height) {
        uint8_t *row = job->image.pixels + cinfo->output_scanline * stride;
        JSAMPROW target = job->cmyk_row ? job->cmyk_row : row;
        if (jpeg_read_scanlines(cinfo, &target, 1) != 1)
            continue; // the memory source never suspends
        if (job->cmyk_row)
            rgb_from_cmyk(job->cmyk_row, job->image.w, row);
    }
    (void)jpeg_finish_decompress(cinfo); // reads up to the end marker, and warns if there is none
}

static int decode(const struct image_file *file, const struct image_info *info,
                  struct image *ret_image) {
    struct job job = {0};
    image_init(&job.image, info->w, info->h, info->channels == 1 ? 1 : 3);
    if (info->channels == 4)
        job.cmyk_row = xmalloc((size_t)info->w * 4);
    if (setjmp(job.escape))
        return job_close(&job, file, ERR_FORMAT);
    job_open(&job, file);
    const J_COLOR_SPACE space[] = {[1] = JCS_GRAYSCALE, [3] = JCS_RGB, [4] = JCS_CMYK};
    job.cinfo.out_color_space = space[info->channels];
    job.cinfo.dct_method = JDCT_ISLOW;
    job.cinfo.do_fancy_upsampling = TRUE;
    (void)jpeg_start_decompress(&job.cinfo);
    read_rows(&job);
    int err = job_close(&job, file, ERR_OK);
    if (!err)
        *ret_image = job.image;
    return err;
}

const struct image_codec image_codec_jpeg = {.probe = probe, .decode = decode};

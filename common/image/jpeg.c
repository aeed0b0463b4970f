// JPEG through libjpeg's API. Its errors return by longjmp, so everything that must survive a jump
// is in struct job, not in local variables.
#include "image/codec.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "base/err.h"
#include "base/util.h"

enum {
    SCANS_MAX = 200, // more than any encoder of 8-bit images writes
    // Bound on pixels times scans for each byte of the file. Flat progressive images reach a fifth
    // of it. With it a file of 16 KiB costs at most some tenths of a second.
    WORK_PER_BYTE = 8000,
};

struct job {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    size_t size; // of the file
    bool in_header;
    bool damaged;
    bool some_decoded;          // rows before the damage exist
    char text[JMSG_LENGTH_MAX]; // of the error, else of the first warning that means damage
    uint8_t *cmyk_row;
};

static void escape_error(j_common_ptr common) {
    struct job *job = common->client_data;
    common->err->format_message(common, job->text);
    longjmp(job->escape, 1);
}

// These warnings leave every pixel as it is.
static bool harmless(const struct job *job) {
    switch (job->errors.msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_BOGUS_ICC:
        return true;
    case JWRN_EXTRANEOUS_DATA:
        // Extra bytes before the picture are skipped safely.
        return job->in_header;
    default:
        return false;
    }
}

// Levels of 0 and above are traces; warnings are negative.
static void keep_warning(j_common_ptr common, int level) {
    struct job *job = common->client_data;
    if (level >= 0 || job->damaged || harmless(job))
        return;
    job->damaged = true;
    job->some_decoded = job->cinfo.input_scan_number > 1 || job->cinfo.input_iMCU_row > 0;
    common->err->format_message(common, job->text);
}

static void stay_silent(j_common_ptr common) {
    (void)common;
}

// Without a limit, a few kilobytes of empty progressive scans cost minutes.
static void limit_scans(j_common_ptr common) {
    struct job *job = common->client_data;
    const struct jpeg_decompress_struct *cinfo = &job->cinfo;
    int64_t scans = cinfo->input_scan_number;
    int64_t work = scans * cinfo->image_width * cinfo->image_height;
    // Baseline files have one scan and are not bounded.
    if (scans <= 1 || (scans <= SCANS_MAX && work / WORK_PER_BYTE <= (int64_t)job->size))
        return;
    (void)snprintf(job->text, sizeof job->text, "%lld scans in %zu bytes: a decompression bomb",
                   (long long)scans, job->size);
    longjmp(job->escape, 1);
}

// Jumps to job->escape if the header is damaged.
static void job_open(struct job *job, const struct image_file *file, bool with_exif) {
    // Set before jpeg_create_decompress, which may already fail.
    job->cinfo.err = jpeg_std_error(&job->errors);
    job->cinfo.client_data = job;
    job->errors.error_exit = escape_error;
    job->errors.emit_message = keep_warning;
    job->errors.output_message = stay_silent;
    job->progress.progress_monitor = limit_scans;
    job->size = file->size;
    jpeg_create_decompress(&job->cinfo);
    job->cinfo.progress = &job->progress;
    jpeg_mem_src(&job->cinfo, file->bytes, file->size);
    if (with_exif)
        // Costs memory, so only where the orientation is asked for.
        jpeg_save_markers(&job->cinfo, JPEG_APP0 + 1, 0xffff);
    job->in_header = true;
    (void)jpeg_read_header(&job->cinfo, TRUE); // jumps on every failure
    job->in_header = false;
}

static void job_fini(struct job *job) {
    jpeg_destroy_decompress(&job->cinfo);
    free(job->cmyk_row);
}

static int damaged(const struct job *job, const struct image_file *file) {
    return err_set(ERR_FORMAT, "'%s': damaged JPEG: %s", file->name, job->text);
}

static int probe(const struct image_file *file, struct image_info *ret_info) {
    struct job job = {0};
    if (setjmp(job.escape) == 0)
        job_open(&job, file, false);
    else
        job.damaged = true;
    int channels = job.cinfo.num_components, bits = job.cinfo.data_precision;
    int w = (int)job.cinfo.image_width, h = (int)job.cinfo.image_height;
    int err = ERR_OK;
    if (job.damaged)
        err = damaged(&job, file);
    else if (channels != 1 && channels != 3 && channels != 4)
        err = err_set(ERR_FORMAT, "'%s': JPEG of %d channels", file->name, channels);
    else
        *ret_info = (struct image_info){IMAGE_JPEG, w, h, channels, bits};
    job_fini(&job);
    return err;
}

static int orientation(const struct image_file *file) {
    struct job job = {0};
    volatile int found = 1; // a plain local is undefined after a jump
    if (setjmp(job.escape) == 0) {
        job_open(&job, file, true);
        jpeg_saved_marker_ptr m = job.cinfo.marker_list;
        while (m && (m->data_length < 6 || memcmp(m->data, "Exif\0", 6) != 0))
            m = m->next;
        if (m)
            found = image_orientation(m->data, m->data_length);
    }
    job_fini(&job);
    return found;
}

// Adobe's inverted CMYK: each value is already 255 - ink. Pillow assumes this of every CMYK file.
static void rgb_from_cmyk(const uint8_t *in, int w, uint8_t *ret_rgb) {
    for (int x = 0; x < w; x++, in += 4, ret_rgb += 3)
        // The product over 255, rounded as Pillow's MULDIV255.
        for (int k = 0; k < 3; k++) {
            int ink = (255 - in[k]) * in[3] + 128;
            int v = in[3] - (((ink >> 8) + ink) >> 8);
            ret_rgb[k] = (uint8_t)MAX(v, 0);
        }
}

static void read_rows(struct job *job, const struct image_sink *sink) {
    struct jpeg_decompress_struct *cinfo = &job->cinfo;
    while (cinfo->output_scanline < cinfo->output_height) {
        uint8_t *row = sink->row(sink->context, (int)cinfo->output_scanline);
        JSAMPROW target = job->cmyk_row ? job->cmyk_row : row;
        // NULL: the sink wants no more rows.
        if (!row)
            return;
        if (jpeg_read_scanlines(cinfo, &target, 1) != 1)
            continue; // the memory source never suspends
        if (job->cmyk_row)
            rgb_from_cmyk(job->cmyk_row, (int)cinfo->output_width, row);
    }
    (void)jpeg_finish_decompress(cinfo); // reads up to the end marker, and warns if there is none
}

// The smallest scale in eighths that is not below how->fit_w and fit_h. Only 1, 2, 4 and 8, for
// which libjpeg-turbo has fast transforms: at 6/8 it is slower than in full size.
static unsigned eighths(const struct image_how *how, const struct image_info *info) {
    int64_t w = info->w, h = info->h;
    unsigned n = 8;
    if (how->fit_w < 1 || how->fit_h < 1)
        return n;
    while (n > 1 && (w * n / 2 + 7) / 8 >= how->fit_w && (h * n / 2 + 7) / 8 >= how->fit_h)
        n /= 2;
    return n;
}

static void read_picture(struct job *job, const struct image_file *file,
                         const struct image_how *how, const struct image_info *info,
                         const struct image_sink *sink) {
    // CMYK is converted here, since libjpeg does not.
    const J_COLOR_SPACE space[] = {[1] = JCS_GRAYSCALE, [3] = JCS_RGB, [4] = JCS_CMYK};
    job_open(job, file, false);
    job->cinfo.out_color_space = space[info->channels];
    // The slow integer transform and fancy upsampling are Pillow's defaults.
    job->cinfo.dct_method = JDCT_ISLOW;
    job->cinfo.do_fancy_upsampling = TRUE;
    job->cinfo.scale_num = eighths(how, info);
    job->cinfo.scale_denom = 8;
    jpeg_calc_output_dimensions(&job->cinfo);
    int w = (int)job->cinfo.output_width, h = (int)job->cinfo.output_height;
    if (info->channels == 4)
        job->cmyk_row = xmalloc((size_t)w * 4);
    sink->begin(sink->context, w, h, info->channels == 1 ? 1 : 3);
    (void)jpeg_start_decompress(&job->cinfo);
    read_rows(job, sink);
}

// False: the job has the error.
static bool run_job(struct job *job, const struct image_file *file, const struct image_how *how,
                    const struct image_info *info, const struct image_sink *sink) {
    // setjmp returns again after a jump; no local of this function has changed by then.
    if (setjmp(job->escape)) {
        // After an error the remaining rows are black (after a warning libjpeg fills them).
        job->some_decoded = job->cinfo.output_scanline > 0;
        return false;
    }
    read_picture(job, file, how, info, sink);
    return !job->damaged;
}

static int decode_rows(const struct image_file *file, const struct image_how *how,
                       const struct image_info *info, const struct image_sink *sink) {
    struct job job = {0};
    int err = run_job(&job, file, how, info, sink) ? ERR_OK : damaged(&job, file);
    job_fini(&job);
    return err;
}

static void begin_image(void *context, int w, int h, int c) {
    image_init(context, w, h, c);
}

static uint8_t *row_of_image(void *context, int y) {
    const struct image *im = context;
    return im->pixels + (size_t)y * (size_t)im->w * (size_t)im->c;
}

static int decode(const struct image_file *file, const struct image_how *how,
                  const struct image_info *info, struct image *ret_image) {
    struct job job = {0};
    struct image im = {0};
    struct image_sink sink = {&im, begin_image, row_of_image};
    int err = ERR_OK;
    // A truncated file is kept only where some rows are real.
    if (!run_job(&job, file, how, info, &sink) && !(how->keep_truncated && job.some_decoded)) {
        err = damaged(&job, file);
        image_fini(&im);
    }
    job_fini(&job);
    if (!err)
        *ret_image = im;
    return err;
}

const struct image_codec image_codec_jpeg = {
    .probe = probe, .decode = decode, .decode_rows = decode_rows, .orientation = orientation};

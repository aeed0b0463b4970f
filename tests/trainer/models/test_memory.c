// Memory of a training step on the CPU: what the model says it holds is what the process takes, and
// nothing in it is there twice.
#include "trainer/models/model_test.h"

#include "backend/memory.h"
#include "base/instructions.h"
#include "base/util.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true // keeps freed memory and shadows of all
#else
#define SANITIZED false
#endif

enum { SIZE = 64, WIDTH = 32, BLOCKS = 6 };

static const struct config_trainer options = {.model = "cycle_gan",
                                              .device = "cpu",
                                              .netG = "resnet_6blocks",
                                              .netD = "basic",
                                              .norm = "instance",
                                              .gan_mode = "lsgan",
                                              .input_nc = 3,
                                              .output_nc = 3,
                                              .ngf = WIDTH,
                                              .ndf = WIDTH,
                                              .beta1 = 0.5,
                                              .beta2 = 0.999,
                                              .lambda_A = 10,
                                              .lambda_B = 10,
                                              .lambda_identity = 0.5,
                                              .no_dropout = true,
                                              .threads = 2};

// Floats of a map of c channels with a border.
static size_t map(int side, int c, int border) {
    return (size_t)(side + 2 * border) * (size_t)(side + 2 * border) * (size_t)c;
}

// What a generator's gradients need of a picture: each convolution's input, with its border, and
// each norm's.
static size_t generator_floats(void) {
    size_t floats = map(SIZE, 3, 3) + 2 * map(SIZE, WIDTH, 0) + 2 * map(SIZE / 2, 2 * WIDTH, 0);

    floats += map(SIZE / 4, 4 * WIDTH, 0) + map(SIZE / 4, 4 * WIDTH, 1);
    floats += 2 * BLOCKS * (map(SIZE / 4, 4 * WIDTH, 0) + map(SIZE / 4, 4 * WIDTH, 1));
    floats += 2 * map(SIZE / 2, 2 * WIDTH, 0);
    return floats + map(SIZE, WIDTH, 0) + map(SIZE, WIDTH, 3) + 2 * map(SIZE, 3, 0);
}

static size_t discriminator_floats(void) {
    return 2 * (map(SIZE / 2, WIDTH, 0) + map(SIZE / 4, 2 * WIDTH, 0) +
                map(SIZE / 8, 4 * WIDTH, 0) + map(SIZE / 8 - 1, 8 * WIDTH, 0));
}

static size_t parameter_floats(struct model *m) {
    size_t floats = 0;

    for (int i = 0; i < model_n_nets(m); i++)
        for (int k = 0; k < model_net(m, i)->n_params; k++)
            floats += (model_net(m, i)->params[k].count + 15) / 16 * 16; // each begins aligned
    return floats;
}

// Without AVX2 oneDNN unfolds the input of some convolutions: a column for each tap of a filter.
static size_t scratch_bound(void) {
    return (size_t)(instructions_best() == INSTRUCTIONS_PLAIN ? 32 : 8) << 20;
}

// Five pictures are in the generators at once: the fakes of both directions with their identities,
// and one reconstruction. Beside them a discriminator's maps, and the gradients of two maps of two
// pictures, of the largest size.
static void nothing_is_held_twice(void **state) {
    for (int n = 1; n <= 2; n++) {
        struct model *m = open_model(&options);
        train(m, &options, (struct sizes){n, SIZE, SIZE}, 0);
        struct model_memory all = model_memory(m);
        size_t gradients = 2 * 2 * map(SIZE, WIDTH, 3);
        size_t bound = 5 * generator_floats() + discriminator_floats() + gradients;
        assert_in_range(all.maps, bound / 2 * sizeof(float) * (size_t)n,
                        bound * sizeof(float) * (size_t)n);
        assert_int_equal(all.parameters, 4 * parameter_floats(m) * sizeof(float));
        assert_int_equal(all.packed + all.average + all.translation, 0);
        assert_in_range(all.scratch, 1, scratch_bound());
        assert_int_equal(model_memory_bytes(m), all.maps + all.parameters + all.scratch);
        model_free(m);
    }
}

// oneDNN's code and what starting takes come on top: some 15 MiB.
static void process_takes_what_the_model_says(void **state) {
    if (SANITIZED)
        skip();
    struct model *m = open_model(&options);
    for (uint64_t i = 0; i < 2; i++)
        train(m, &options, (struct sizes){4, SIZE, SIZE}, i);
    double says = (double)model_memory_bytes(m), takes = (double)memory_peak() - (16 << 20);
    if (!(takes > 0.9 * says && takes < 1.1 * says))
        fail_msg("the model says %.1f MiB, the process takes %.1f more than 16", says / 1048576,
                 takes / 1048576);
    model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(process_takes_what_the_model_says),
        cmocka_unit_test(nothing_is_held_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

// Images between the host and the CUDA backend, on its emulation. Prefetched images, and images
// that go to a pool and back, give the same bits as plain ones, in every order of the streams.
// tests/pipeline/test_flow.sh tests the order of calls in a training.
#include "trainer/cuda/rig.h"

#include "backend/backend.h"
#include "device/device.h"

static const struct sizes sizes = {2, 32, 32};
static const char *const dtypes[] = {"fp32", "bf16"};

enum { NUMBERS = 2 * 32 * 32 * 3, PICTURE = 32 * 32 * 3 };

// How a step's pictures come and go.
struct way {
    bool ahead; // real pictures are told before the step that they are for, and others translated
    bool pool;  // fakes go to the host and come back from places of their own
};

static void draw_bytes(uint64_t number, int domain, uint8_t *ret) {
    for (int i = 0; i < NUMBERS; i++)
        ret[i] = (uint8_t)rng_below(9, RNG_TEST, number * 2 + (uint64_t)domain, (uint32_t)i, 256);
}

// The sources are overwritten at once: they have been read.
static void feed_ahead(struct model *m, uint64_t number) {
    uint8_t bytes[NUMBERS];

    for (int d = 0; d < 2; d++) {
        draw_bytes(number, d, bytes);
        assert_int_equal(model_prefetch(m, (enum model_domain)d, sizes.n, sizes.h, sizes.w, bytes),
                         ERR_OK);
        memset(bytes, 0xff, sizeof bytes);
    }
}

static void feed_now(struct model *m, uint64_t number, bool is_ahead) {
    uint8_t bytes[NUMBERS];

    for (int d = 0; d < 2; d++) {
        draw_bytes(is_ahead && model_is_asynchronous(m) ? 1000 : number, d,
                   bytes); // others have come
        assert_int_equal(model_feed(m, (enum model_domain)d, bytes), ERR_OK);
        memset(bytes, 0xff, sizeof bytes);
    }
}

static void update_d_by_pool(struct model *m) {
    size_t each = PICTURE * model_number_bytes(m);
    uint8_t *places = xcalloc(4, 2 * each);
    const void *pictures[2][2];

    for (int d = 0; d < 2; d++)
        for (int i = 0; i < 2; i++) { // apart, and the second before the first
            uint8_t *place = places + (size_t)(4 * d + 2 * (1 - i)) * each;
            const char *sent = model_sent_fake(m, (enum model_domain)d);
            memcpy(place, sent + (size_t)i * each, each);
            pictures[d][i] = place;
        }
    assert_int_equal(model_failure(m), ERR_OK);
    assert_int_equal(model_update_d_pooled(m, 2e-4, pictures[0], pictures[1]), ERR_OK);
    memset(places, 0xff, 8 * each);
    free(places);
}

static void take_step(struct model *m, const struct way *way, uint64_t number, bool is_last) {
    static float x[PICTURE], y[PICTURE];

    assert_int_equal(model_shape(m, sizes.n, sizes.h, sizes.w, sizes.h, sizes.w), ERR_OK);
    model_set_step(m, number);
    feed_now(m, number, way->ahead && number);
    assert_int_equal(model_generate(m), ERR_OK);
    if (way->pool)
        assert_int_equal(model_send_fakes(m), ERR_OK);
    assert_int_equal(model_update_g(m, 2e-4), ERR_OK);
    if (way->ahead && !is_last)
        feed_ahead(m, number + 1);
    if (way->pool)
        update_d_by_pool(m);
    else
        assert_int_equal(model_update_d(m, 2e-4, NULL, NULL), ERR_OK);
    for (int i = 0; i < 8 && way->ahead; i++) // more pictures than there are buffers
        assert_int_equal(model_translate(m, 0, 1, 32, 32, x, y), ERR_OK);
}

static struct model *run(const struct config_trainer *o, const struct way *way) {
    struct model *m = open_model(o);

    for (uint64_t i = 0; i < 4; i++)
        take_step(m, way, i, i == 3);
    assert_int_equal(model_wait(m), ERR_OK);
    assert_int_equal(model_pull(m), ERR_OK);
    return m;
}

static void assert_same_weights(struct model *a, struct model *b, const char *what) {
    for (int i = 0; i < model_n_nets(a); i++)
        for (int k = 0; k < model_net(a, i)->n_params; k++) {
            const struct model_param *p = &model_net(a, i)->params[k];
            const struct model_param *q = &model_net(b, i)->params[k];
            if (p->w && memcmp(p->w, q->w, p->count * sizeof *p->w))
                fail_msg("%s: %s of net %d differs", what, p->key, i);
        }
}

static void same_bits(const char *device, const char *dtype, const struct way *way) {
    static const struct way plain = {false, false};
    struct config_trainer o = options_of("cycle_gan");

    o.device = (char *)device;
    o.dtype = (char *)dtype;
    o.netG = "resnet_1blocks";
    struct model *want = run(&o, &plain);
    for (uint64_t seed = 0; seed < 4; seed++) {
        take_turns(seed);
        struct model *got = run(&o, way);
        assert_same_weights(want, got, dtype);
        model_free(got);
    }
    take_turns(0);
    model_free(want);
}

static void what_a_pool_gives_back_is_what_it_was_sent(void **state) {
    for (size_t i = 0; i < COUNT(dtypes); i++)
        same_bits("cuda-host", dtypes[i], &(struct way){.pool = true});
    same_bits("cpu", "fp32", &(struct way){.pool = true});
}

static void pictures_that_travel_ahead_arrive(void **state) {
    for (size_t i = 0; i < COUNT(dtypes); i++)
        same_bits("cuda-host", dtypes[i], &(struct way){.ahead = true, .pool = true});
    same_bits("cpu", "fp32", &(struct way){.ahead = true, .pool = true}); // nothing travels there
}

// bfloat16 is on the way what it is in the tensor: half the bytes, and no rounding.
static void fakes_are_sent_as_they_are(void **state) {
    for (size_t i = 0; i < COUNT(dtypes); i++) {
        struct config_trainer o = options_of("cycle_gan");
        o.dtype = (char *)dtypes[i];
        struct model *m = open_model(&o);
        take_step(m, &(struct way){.pool = true}, 0, true);
        assert_int_equal(model_number_bytes(m), i ? 2 : 4);
        for (int d = 0; d < 2; d++) {
            const float *fake = model_fake(m, (enum model_domain)d);
            const void *sent = model_sent_fake(m, (enum model_domain)d);
            for (int k = 0; k < NUMBERS; k++) {
                uint32_t bits;
                float x = i ? 0 : ((const float *)sent)[k];
                if (i) {
                    bits = (uint32_t)((const uint16_t *)sent)[k] << 16;
                    memcpy(&x, &bits, sizeof x);
                }
                assert_memory_equal(&x, &fake[k], sizeof x);
            }
        }
        model_free(m);
    }
}

// Every bfloat16 there is, infinities and all NaN with their bits among them, in 3 of 8 channels.
static void every_element_survives_the_way(void **state) {
    struct device_options o = {.name = "cuda-host", .threads = 1, .dtype = "bf16"};
    struct tensor_shape s = {4, 64, 128, 3};
    size_t n = (size_t)(s.n * s.h * s.w * s.c);
    uint16_t *numbers = xcalloc(n, sizeof *numbers);
    const void *pictures[4];
    void *tensor, *shared;
    struct device *d;

    for (size_t i = 0; i < n; i++)
        numbers[i] = (uint16_t)i;
    for (size_t i = 0; i < 4; i++)
        pictures[i] = numbers + i * (n / 4);
    assert_true(n > 65536);
    assert_int_equal(device_open(&o, &d), ERR_OK);
    assert_int_equal(device_image_bytes(d, &s, PIXELS_NATIVE), 2 * n);
    assert_int_equal(d->backend->memory_new(d, device_tensor_bytes(d, &s, 0), &tensor), ERR_OK);
    assert_int_equal(d->backend->shared_new(d, 2 * n, &shared), ERR_OK);
    assert_int_equal(d->backend->images_in(d, &s, PIXELS_NATIVE, pictures, tensor), ERR_OK);
    assert_int_equal(d->backend->image_out(d, &s, PIXELS_NATIVE, tensor, shared), ERR_OK);
    assert_int_equal(device_wait(d), ERR_OK);
    assert_memory_equal(shared, numbers, 2 * n);
    uint16_t *stored = xcalloc(8 * n / 3, sizeof *stored);
    assert_int_equal(d->backend->copy_out(d, stored, tensor, 8 * n / 3 * sizeof *stored), ERR_OK);
    for (size_t i = 0; i < 8 * n / 3; i++)
        assert_int_equal(stored[i], i % 8 < 3 ? numbers[i / 8 * 3 + i % 8] : 0);
    free(stored);
    free(numbers);
    d->backend->memory_free(d, tensor);
    d->backend->shared_free(d, shared);
    device_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_element_survives_the_way),
        cmocka_unit_test(fakes_are_sent_as_they_are),
        cmocka_unit_test(what_a_pool_gives_back_is_what_it_was_sent),
        cmocka_unit_test(pictures_that_travel_ahead_arrive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

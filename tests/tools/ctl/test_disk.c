// Against the counts that the reference prints for instance norm at 64 channels.

#include "base/util.h"
#include "check.h"
#include "ctl/ctl.h"

static void generators_have_the_reference_s_parameters(void **state) {
    static const struct {
        char *net;
        int64_t count;
    } known[] = {{"resnet_6blocks", 7837699},
                 {"resnet_9blocks", 11378179},
                 {"resnet_3blocks", 4297219}, // a block has 1180160
                 {"unet_128", 41825667},
                 {"unet_256", 54409603}};
    for (size_t i = 0; i < COUNT(known); i++) {
        struct config_trainer t = {.netG = known[i].net, .ngf = 64};
        assert_int_equal(net_generator_parameters(&t, 3, 3), known[i].count);
    }
}

static void discriminators_have_the_reference_s_parameters(void **state) {
    static const struct {
        char *net;
        int64_t layers, count;
    } known[] = {{"basic", 5, 2764737},    {"n_layers", 1, 136385},   {"n_layers", 2, 662977},
                 {"n_layers", 4, 6959553}, {"n_layers", 5, 11154369}, {"pixel", 3, 8705}};
    for (size_t i = 0; i < COUNT(known); i++) {
        struct config_trainer t = {.netD = known[i].net, .n_layers_D = known[i].layers, .ndf = 64};
        assert_int_equal(net_discriminator_parameters(&t, 3), known[i].count);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generators_have_the_reference_s_parameters),
        cmocka_unit_test(discriminators_have_the_reference_s_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

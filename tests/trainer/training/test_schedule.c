// The golden cases test the rates of the reference; this tests the policies that are our own.
#include <math.h>

#include "check.h"
#include "checkpoint/plateau.h"
#include "training/schedule.h"

static const struct schedule base = {.variant = SCHEDULE_OWN,
                                     .n_epochs = 100,
                                     .n_epochs_decay = 100,
                                     .epoch_count = 1,
                                     .lr_decay_iters = 50,
                                     .lr = 2e-4};

static void no_epoch_has_rate_zero_and_none_is_above_the_full_one(void **state) {
    for (int policy = SCHEDULE_LINEAR; policy <= SCHEDULE_PLATEAU; policy++)
        for (int decay = 0; decay <= 100; decay += 50)
            for (int epoch = 1; epoch <= 100 + decay; epoch++) {
                struct schedule s = base;
                s.policy = (enum schedule_policy)policy;
                s.n_epochs_decay = decay;
                double lr = schedule_lr(&s, epoch, 0);
                assert_true(lr > 0 && lr <= s.lr);
            }
}

static void cosine_falls_to_the_end(void **state) {
    struct schedule s = base;

    s.policy = SCHEDULE_COSINE;
    assert_true(schedule_lr(&s, 1, 0) == s.lr);
    for (int epoch = 2; epoch <= 200; epoch++)
        assert_true(schedule_lr(&s, epoch, 0) < schedule_lr(&s, epoch - 1, 0));
    assert_true(schedule_lr(&s, 200, 0) < 1e-4 * s.lr);
    // half way it is half; cos(pi / 2) in double is 6e-17
    assert_true(fabs(schedule_lr(&s, 101, 0) - s.lr / 2) < 1e-18);
}

static void step_falls_to_a_tenth(void **state) {
    struct schedule s = base;

    s.policy = SCHEDULE_STEP;
    assert_true(schedule_lr(&s, 50, 0) == s.lr);
    assert_true(fabs(schedule_lr(&s, 51, 0) - s.lr / 10) < 1e-18);
    assert_true(fabs(schedule_lr(&s, 101, 0) - s.lr / 100) < 1e-18);
}

static void epochs_of(struct plateau *p, int n, double value) {
    for (int i = 0; i < n; i++) {
        plateau_note(p, value);
        plateau_end_epoch(p);
    }
}

static void the_sixth_epoch_without_progress_is_a_drop(void **state) {
    struct plateau p = {0};

    epochs_of(&p, 6, 1); // the first is the best, five are bad
    assert_int_equal(p.drops, 0);
    epochs_of(&p, 1, 0.995); // not 1 % better
    assert_int_equal(p.drops, 1);
    epochs_of(&p, 5, 1);
    assert_int_equal(p.drops, 1);
    epochs_of(&p, 1, 0.98); // in time
    epochs_of(&p, 5, 1);
    assert_int_equal(p.drops, 1);
    epochs_of(&p, 1, 1);
    assert_int_equal(p.drops, 2);
}

static void a_metric_that_falls_keeps_the_rate(void **state) {
    struct plateau p = {0};
    double value = 1;

    for (int i = 0; i < 100; i++, value *= 0.98)
        epochs_of(&p, 1, value);
    assert_int_equal(p.drops, 0);
}

static void an_epoch_counts_with_its_mean_or_not_at_all(void **state) {
    struct plateau p = {0};

    plateau_note(&p, 1);
    plateau_note(&p, 4);
    plateau_end_epoch(&p);
    assert_true(p.best == 2.5);
    for (int i = 0; i < 10; i++)
        plateau_end_epoch(&p);
    assert_int_equal(p.epochs, 1);
    assert_int_equal(p.bad, 0);
}

static void drops_end_before_they_are_below_1e_8(void **state) {
    struct schedule s = base;

    s.policy = SCHEDULE_PLATEAU;
    assert_true(fabs(schedule_lr(&s, 1, 2) - s.lr / 25) < 1e-18);
    // 2e-4 / 5^6 = 1.28e-8: the seventh drop would be 1.02e-8, the eighth 2e-9
    assert_true(fabs(schedule_lr(&s, 1, 7) - s.lr / 78125) < 1e-18);
    assert_true(schedule_lr(&s, 1, 1000) == schedule_lr(&s, 1, 7));
}

static void the_reference_sees_no_metric(void **state) {
    struct schedule s = base;

    s.policy = SCHEDULE_PLATEAU;
    s.variant = SCHEDULE_REF22;
    assert_true(schedule_lr(&s, 6, 99) == s.lr);
    assert_true(fabs(schedule_lr(&s, 7, 0) - s.lr / 5) < 1e-18);
    assert_false(schedule_follows(&s));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_epoch_has_rate_zero_and_none_is_above_the_full_one),
        cmocka_unit_test(cosine_falls_to_the_end),
        cmocka_unit_test(step_falls_to_a_tenth),
        cmocka_unit_test(the_sixth_epoch_without_progress_is_a_drop),
        cmocka_unit_test(a_metric_that_falls_keeps_the_rate),
        cmocka_unit_test(an_epoch_counts_with_its_mean_or_not_at_all),
        cmocka_unit_test(drops_end_before_they_are_below_1e_8),
        cmocka_unit_test(the_reference_sees_no_metric),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

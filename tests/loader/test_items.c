// items: the order of the data is a function of the seed, and has the reference's shape.

#include <stdlib.h>

#include "check.h"
#include "items.h"

static const struct items base = {
    .seed = 7, .flip = true, .n = {10, 7}, .n_all = {12, 7}, .held = {3, 0}, .batch_size = 4};

static void an_epoch_takes_every_picture_of_the_longer_domain_once(void **state) {
    int seen[10] = {0};
    for (uint64_t k = 0; k < items_batches(&base); k++)
        for (uint64_t j = 0; j < items_in_batch(&base, k); j++)
            seen[items_get(&base, ITEMS_TRAIN, 1, k, j).record[0]]++;
    for (int i = 0; i < 10; i++)
        assert_int_equal(seen[i], 1);
}

static void the_last_batch_is_short(void **state) {
    assert_int_equal(items_batches(&base), 3);
    assert_int_equal(items_in_batch(&base, 1), 4);
    assert_int_equal(items_in_batch(&base, 2), 2);
    assert_int_equal(items_in_batch(&base, 3), 0);
}

static void a_shorter_domain_is_walked_again(void **state) {
    struct items it = base;
    it.n[0] = 3;
    int seen[3] = {0};
    for (uint64_t p = 0; p < items_per_epoch(&it); p++)
        seen[items_get(&it, ITEMS_TRAIN, 1, p / 4, p % 4).record[0]]++;
    assert_int_equal(seen[0], 3); // 7 items over 3 pictures
    assert_int_equal(seen[1], 2);
    assert_int_equal(seen[2], 2);
}

static void epochs_differ_and_repeat_with_the_seed(void **state) {
    struct items other = base;
    other.seed = 8;
    int same_epoch = 0, same_seed = 0;
    for (uint64_t j = 0; j < 4; j++) {
        struct item a = items_get(&base, ITEMS_TRAIN, 1, 0, j);
        struct item again = items_get(&base, ITEMS_TRAIN, 1, 0, j);
        assert_memory_equal(a.record, again.record, sizeof a.record);
        same_epoch += a.record[0] == items_get(&base, ITEMS_TRAIN, 2, 0, j).record[0];
        same_seed += a.record[0] == items_get(&other, ITEMS_TRAIN, 1, 0, j).record[0];
    }
    assert_true(same_epoch < 4);
    assert_true(same_seed < 4);
}

static void partners_are_drawn_with_replacement_over_all_of_b(void **state) {
    int seen[7] = {0};
    for (uint64_t e = 1; e <= 200; e++)
        for (uint64_t p = 0; p < 10; p++)
            seen[items_get(&base, ITEMS_TRAIN, e, p / 4, p % 4).record[1]]++;
    for (int i = 0; i < 7; i++) // expected 285.7, standard deviation 15.6: six of them
        assert_in_range(seen[i], 192, 380);
}

static void serial_batches_walk_both_domains_in_order(void **state) {
    struct items it = base;
    it.serial = true;
    struct item item = items_get(&it, ITEMS_TRAIN, 3, 2, 1);
    assert_int_equal(item.record[0], 9);
    assert_int_equal(item.record[1], 9 % 7);
}

static void held_out_pictures_follow_all_records_and_wrap(void **state) {
    struct item item = items_get(&base, ITEMS_HELD_OUT, 0, 2, 2);
    assert_int_equal(item.record[0], 12 + 4 % 3);
    assert_int_equal(item.record[1], 4); // B has none: a training picture
    assert_false(item.augment);
    assert_false(items_flip(&base, &item, 0));
    assert_int_equal(items_crop(&base, &item, 0, 0, 30), 0);
}

static void crops_cover_their_range_and_flips_are_even(void **state) {
    int low = 0, high = 0, flips = 0;
    for (uint64_t e = 1; e <= 400; e++)
        for (uint64_t p = 0; p < 10; p++) {
            struct item item = items_get(&base, ITEMS_TRAIN, e, p / 4, p % 4);
            int x = items_crop(&base, &item, 0, 0, 30);
            assert_in_range(x, 0, 30);
            low += x == 0;
            high += x == 30;
            flips += items_flip(&base, &item, 1);
        }
    assert_in_range(low, 60, 198); // 4000 / 31 = 129, standard deviation 11.2: six of them
    assert_in_range(high, 60, 198);
    assert_in_range(flips, 1810, 2190); // 2000, standard deviation 31.6
}

static void a_replacement_stays_in_its_part(void **state) {
    assert_int_equal(items_next(&base, 0, 9), 0);
    assert_int_equal(items_next(&base, 0, 11), 2); // beyond max_dataset_size: back within it
    assert_int_equal(items_next(&base, 0, 14), 12);
}

static const struct items pairs = {.seed = 7,
                                   .flip = true,
                                   .aligned = true,
                                   .n = {10, 10},
                                   .n_all = {10, 10},
                                   .held = {3, 3},
                                   .batch_size = 4};

static void an_aligned_epoch_takes_every_pair_once(void **state) {
    int seen[10] = {0};
    for (uint64_t p = 0; p < 10; p++) {
        struct item item = items_get(&pairs, ITEMS_TRAIN, 1, p / 4, p % 4);
        assert_int_equal(item.record[0], item.record[1]);
        seen[item.record[0]]++;
    }
    for (int i = 0; i < 10; i++)
        assert_int_equal(seen[i], 1);
}

static void both_sides_of_a_pair_are_cropped_and_mirrored_alike(void **state) {
    int flips = 0, moved = 0;
    for (uint64_t p = 0; p < 40; p++) {
        struct item item = items_get(&pairs, ITEMS_TRAIN, 1 + p / 10, p % 10 / 4, p % 10 % 4);
        for (int axis = 0; axis < 2; axis++)
            assert_int_equal(items_crop(&pairs, &item, 0, axis, 30),
                             items_crop(&pairs, &item, 1, axis, 30));
        assert_int_equal(items_flip(&pairs, &item, 0), items_flip(&pairs, &item, 1));
        flips += items_flip(&pairs, &item, 0);
        moved += items_crop(&pairs, &item, 0, 0, 30) != items_crop(&pairs, &item, 0, 1, 30);
    }
    assert_in_range(flips, 1, 39);
    assert_in_range(moved, 1, 40); // the axes have draws of their own
}

static void held_out_pairs_stay_together(void **state) {
    for (uint64_t p = 0; p < 7; p++) {
        struct item item = items_get(&pairs, ITEMS_HELD_OUT, 1, p, 0);
        assert_int_equal(item.record[0], 10 + p % 3);
        assert_int_equal(item.record[0], item.record[1]);
    }
}

static void sides_that_are_no_pairs_are_refused(void **state) {
    struct items it = pairs;
    assert_int_equal(items_check(&it), 0);
    it.n_all[1] = it.n[1] = 9;
    assert_true(items_check(&it) < 0);
    it = pairs;
    it.held[0] = 2;
    assert_true(items_check(&it) < 0);
    it.aligned = false;
    assert_int_equal(items_check(&it), 0);
    it.n[1] = 0;
    assert_true(items_check(&it) < 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_takes_every_picture_of_the_longer_domain_once),
        cmocka_unit_test(the_last_batch_is_short),
        cmocka_unit_test(a_shorter_domain_is_walked_again),
        cmocka_unit_test(epochs_differ_and_repeat_with_the_seed),
        cmocka_unit_test(partners_are_drawn_with_replacement_over_all_of_b),
        cmocka_unit_test(serial_batches_walk_both_domains_in_order),
        cmocka_unit_test(held_out_pictures_follow_all_records_and_wrap),
        cmocka_unit_test(crops_cover_their_range_and_flips_are_even),
        cmocka_unit_test(a_replacement_stays_in_its_part),
        cmocka_unit_test(an_aligned_epoch_takes_every_pair_once),
        cmocka_unit_test(both_sides_of_a_pair_are_cropped_and_mirrored_alike),
        cmocka_unit_test(held_out_pairs_stay_together),
        cmocka_unit_test(sides_that_are_no_pairs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

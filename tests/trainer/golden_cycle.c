#include "golden.h"
void case_cycle_gan(struct judge *j, yajl_val c) { judge_skip(j, "x"); }

#include "golden.h"
void case_image(struct judge *j, yajl_val c) { judge_skip(j, "x"); }
void case_pool(struct judge *j, yajl_val c) { judge_skip(j, "x"); }

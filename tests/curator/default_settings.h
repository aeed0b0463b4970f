// default_settings - a curator's settings as config.def has them.
#ifndef DEFAULT_SETTINGS_H
#define DEFAULT_SETTINGS_H

#include "config/config.h"

#define PUT_top(...)
#define PUT_loader(...)
#define PUT_trainer(...)
#define PUT_pool(...)
#define PUT_monitor(...)
#define PUT_translate(...)
#define PUT_supervisor(...)
#define PUT_curator(...) __VA_ARGS__,
#define INT(section, key, value, ...) PUT_##section(.key = value)
#define REAL(section, key, value, ...) PUT_##section(.key = value)
#define BOOL(section, key, value, ...) PUT_##section(.key = value)
#define STR(section, key, value, ...) PUT_##section(.key = value)
#define CHOICE(section, key, value, ...) PUT_##section(.key = value)
#define RANGE(section, key, low, high, ...) PUT_##section(.key = {low, high})
#define LIST(section, key, ...) PUT_##section(.key = "")
static const struct config_curator default_settings = {
#include "config/config.def"
};

#endif

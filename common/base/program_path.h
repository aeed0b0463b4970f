// program_path - where the parts of a program lie that it is not linked with.
#ifndef PLUGIN_PATH_H
#define PLUGIN_PATH_H

#include <limits.h>

// The file of device NAME's plugin, ../lib/device_NAME.so beside the folder of the running program,
// whether it is there or not. Fails with ERR_IO, or ERR_DEVICE if no plugin can have that name.
int plugin_path(const char *name, char ret_path[PATH_MAX]);

// File of a run's folder: why its device "auto" is the CPU. ctl writes it when it settles the run,
// the trainer tells the monitor.
#define DEVICE_WHY "cpu_because"

// A program that lies beside the running one. ERR_IO.
int plugin_sibling(const char *program, char ret_path[PATH_MAX]);

#endif

// program_path - the paths of files that belong to the running program: plugins and other programs.
#ifndef PROGRAM_PATH_H
#define PROGRAM_PATH_H

#include <limits.h>

// The path of device NAME's plugin: ../lib/device_NAME.so, seen from the folder of the running
// program. The file need not exist. ERR_IO; ERR_DEVICE if no plugin can have that name.
int plugin_path(const char *name, char ret_path[PATH_MAX]);

// The file of a run's folder with the reason why its device "auto" is the CPU. ctl writes it at the
// start of a run, and the trainer reports it to the monitor.
#define DEVICE_WHY "cpu_because"

// The path of a program in the folder of the running one. ERR_IO.
int plugin_sibling(const char *program, char ret_path[PATH_MAX]);

#endif

// sources - which file holds the weights of a net, in a folder of somebody's.
#ifndef SOURCES_H
#define SOURCES_H

#include <stdbool.h>

#define SOURCES_PATH 4096

// Looks for a net ("G_A", "D", ...) in a folder: NET.safetensors, NET.pth, latest_net_NET.pth, the
// only file *_net_NET.pth, and for a run's folder checkpoints/latest/NET.safetensors. G stands for
// G_A where there is no G_A, and the other way round; so does D. ERR_AGAIN: there is none; ERR_IO;
// ERR_DATA: several *_net_NET.pth.
int sources_find(const char *folder, const char *net, char ret_path[SOURCES_PATH]);

// The net that a file's name tells: "G_A" of "latest_net_G_A.pth"; G_A of "latest_net_G.pth", D_A
// of one with D. NULL if it does not tell.
const char *sources_net_of(const char *path);

#endif

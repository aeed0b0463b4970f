// sources - which file holds the weights of a net, in a folder of somebody's.
#ifndef SOURCES_H
#define SOURCES_H

#include "checkpoint/checkpoint.h"

#define SOURCES_PATH 4096

// Looks for a net ("G_A", "D", ...) in a folder: NET.safetensors, NET.pth, latest_net_NET.pth, the
// only file *_net_NET.pth, and for a run's folder checkpoints/latest/NET.safetensors. G stands for
// G_A where there is no G_A, and the other way round; so does D. ERR_AGAIN: there is none; ERR_IO;
// ERR_DATA: several *_net_NET.pth.
int sources_find(const char *folder, const char *net, char ret_path[SOURCES_PATH]);

// The same for a generator that is needed. `direction`: which way G_A goes, "AtoB" or "BtoA".
// ERR_DATA: there is none; tells which way the one that is there goes.
int sources_generator(const char *folder, const char *net, const char *direction,
                      char ret_path[SOURCES_PATH]);

// The folder of a run's checkpoint: of a step, "best", or NULL for the latest. ERR_USAGE: no step;
// ERR_DATA: there is no such checkpoint.
int sources_checkpoint(const char *run, const char *step, char ret_path[CHECKPOINT_PATH]);

// The net that a file's name tells: "G_A" of "latest_net_G_A.pth"; G_A of "latest_net_G.pth", D_A
// of one with D. NULL if it does not tell.
const char *sources_net_of(const char *path);

#endif

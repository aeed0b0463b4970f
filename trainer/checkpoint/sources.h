// sources - finds the file with the weights of a net in a folder.
#ifndef SOURCES_H
#define SOURCES_H

#include "checkpoint/checkpoint.h"

#define SOURCES_PATH 4096

// Looks for a net ("G_A", "D", ...) in a folder: NET.safetensors, NET.pth, latest_net_NET.pth, the
// only file *_net_NET.pth, and for the folder of a run checkpoints/latest/NET.safetensors. G and
// G_A stand for each other if one is missing, and so do D and D_A. ERR_AGAIN: there is none.
// ERR_IO. ERR_DATA: there are several *_net_NET.pth.
int sources_find(const char *folder, const char *net, char ret_path[SOURCES_PATH]);

// The same for a generator that is required. `direction`: in which G_A translates, "AtoB" or
// "BtoA". ERR_DATA: there is none. The text names the direction of the other generator.
int sources_generator(const char *folder, const char *net, const char *direction,
                      char ret_path[SOURCES_PATH]);

// The folder of a run's checkpoint. `step` is a number, "best", or NULL for the latest. ERR_USAGE:
// not a step. ERR_DATA: there is no such checkpoint.
int sources_checkpoint(const char *run, const char *step, char ret_path[CHECKPOINT_PATH]);

// The net in the name of a file: "G_A" for "latest_net_G_A.pth" and "latest_net_G.pth", D_A
// likewise. NULL: the name holds none.
const char *sources_net_of(const char *path);

#endif

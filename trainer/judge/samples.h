// samples - sheets of probe images translated by the current generators, and a page of all sheets.
//
//   samples/step_00000500.png   one row per probe: real | fake | rec | idt
//                               of A: real_A, fake_B = G_A(real_A), rec_A = G_B(fake_B),
//                               idt_B = G_B(real_A); of B likewise with the nets exchanged. With
//                               one generator: real_A | fake_B | real_B of the same number
//   index.html                  all sheets, newest first; needs no server
#ifndef SAMPLES_H
#define SAMPLES_H

#include "judge/held_out.h"
#include "models/model.h"

#define SAMPLES_PATH 64

struct samples_options {
    const char *title; // the run's name and note
    uint64_t step;
    int probes; // of each domain, at most
};

// Renders a sheet into the current folder. ERR_IO, ERR_SPACE, ERR_DEVICE_LOST.
int samples_render(struct model *m, const struct held_out *held,
                   const struct samples_options *options, char ret_path[SAMPLES_PATH]);

// Writes index.html anew from the sheets in samples/, which are of a model with 1 or 2 generators.
// ERR_IO, ERR_SPACE.
int samples_page(const char *title, int generators);

#endif

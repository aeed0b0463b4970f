// model_recipe - what model*.c share: the model itself and what a recipe has to bring. Private.
#ifndef MODEL_RECIPE_H
#define MODEL_RECIPE_H

#include "graph.h"
#include "model.h"
#include "nets.h"
#include "optimizer.h"

enum { NET_G_A, NET_G_B, NET_D_A, NET_D_B, NETS };
#define LOSSES 8
#define TRANSLATIONS 4 // shapes of model_translate that are kept

struct tape_shape {
    int n, h[2], w[2]; // by enum model_domain
};

// A step for one shape. Tensors by enum model_domain; -1: there is none.
struct tape {
    struct tape_shape shape;
    uint64_t used; // the model's clock at its last use
    struct graph *graph;
    int generate_end, update_g_end; // ops before them belong to the first, the second part
    int judged[2];                  // [real; pooled]
    int real[2], pooled[2], fake[2], rec[2], idt[2];
    double loss[LOSSES], loss_fake[LOSSES]; // a loss is the sum of both; loss_fake: D's second half
};

struct translation {
    int net, n, h, w;
    uint64_t used;
    struct graph *graph; // NULL: free slot
    int x, y;
};

// What differs between the recipes.
struct recipe {
    const char *name;
    int n_losses;
    const char *losses[LOSSES];
    // Fills the tape for tape->shape. Fails with ERR_SHAPE, ERR_DEVICE.
    int (*build)(struct model *m, struct tape *tape);
};

struct model {
    const struct recipe *recipe;
    struct model_options options; // without its strings
    enum gan_mode gan_mode;
    struct graph_hook hook;
    struct device *device;
    struct optimizer optimizer_g, optimizer_d;
    struct net *nets[NETS];
    struct model_net public_nets[NETS];
    int n_tapes;
    struct tape **tapes; // options.shapes of them at most
    struct tape *tape;   // the selected one; NULL: none yet
    struct translation translations[TRANSLATIONS];
    uint64_t clock;
    void *arena, *translation_arena; // for the largest tape of each kind
    size_t arena_bytes, translation_arena_bytes;
};

extern const struct recipe recipe_cyclegan;

// Makes *arena at least as large as the graph needs, unless the model would then pass
// options.memory_bytes (ERR_LIMIT). What it held is lost if it moves.
int model_arena_grow(struct model *m, const struct graph *g, void **arena, size_t *bytes);

#endif

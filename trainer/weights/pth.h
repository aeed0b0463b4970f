// pth - shared by both containers of PyTorch: from the pickled object to tensors and storages.
// Private to pth*.c.
#ifndef PTH_H
#define PTH_H

#include "weights/file.h"
#include "weights/pickle.h"

#define PTH_KEY_MAX 31
#define PTH_STORAGES_MAX 4096

struct pth_storage {
    char key[PTH_KEY_MAX + 1];
    int element_bytes;
    uint64_t count;
    uint64_t place; // meaning depends on the container
};

// All zero: empty. pth_storages_fini frees it.
struct pth_storages {
    int count, capacity;
    struct pth_storage *items;
};

// The number of the storage with this key, added if it is new. ERR_FORMAT: the same key as another
// type or size.
int pth_storage_add(struct pth_storages *s, const char *what, const struct pickle_storage *p,
                    int *ret_i);
void pth_storages_fini(struct pth_storages *s);

// Chooses the state dict in the object (weights.h) and lists its tensors and storages. Checks that
// a tensor lies in its storage, that its elements do not overlap, and that all tensors together are
// not larger than their storages. ERR_FORMAT, ERR_LIMIT.
int pth_list(struct weights *w, const struct pickle *p, struct pth_storages *s);

#endif

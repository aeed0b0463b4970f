// The buffers in which engines are measured. They are not the device's blocks: they end with the
// measurement.
#include "cuda/trial.h"

#include "base/err.h"
#include "cuda/error.h"

// As cudaMalloc aligns; cuDNN wants 16 bytes.
#define ALIGNMENT ((size_t)256)

static size_t aligned(size_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int no_memory(const struct cuda_problem *problem, size_t bytes) {
    size_t unused = 0, total = 0;
    char text[CUDA_PROBLEM_TEXT];

    (void)cudaGetLastError();              // reported here
    (void)cudaMemGetInfo(&unused, &total); // both 0 if it fails
    cuda_problem_print(problem, text);
    return err_set(ERR_LIMIT,
                   "the GPU has %zu of its %zu MiB free, trying engines for %s needs %zu; reduce "
                   "loader.batch_size, loader.crop_size or trainer.ngf",
                   unused >> 20, total >> 20, text, (bytes + (1 << 20) - 1) >> 20);
}

int cuda_trial_init(struct cuda_trial *t, const struct cuda_problem *problem,
                    size_t workspace_bytes) {
    size_t element = cuda_math_bytes(problem->math), sizes[3], at[4] = {0};
    void *memory;

    cuda_problem_sizes(problem, sizes);
    for (int i = 0; i < 3; i++)
        at[i + 1] = at[i] + aligned(sizes[i] * element);
    // At least one byte of workspace, so that its pointer lies inside of the allocation.
    size_t bytes = at[3] + aligned(workspace_bytes + 1);
    cudaError_t code = cudaMalloc(&memory, bytes);
    if (code == cudaErrorMemoryAllocation)
        return no_memory(problem, bytes);
    CUDA(ERR_DEVICE_LOST, code);
    *t = (struct cuda_trial){.memory = memory, .bytes = bytes, .operand_bytes = at[3]};
    for (int i = 0; i < 3; i++)
        t->operands[i] = (char *)memory + at[i];
    t->workspace = (char *)memory + at[3];
    return ERR_OK;
}

void cuda_trial_fini(struct cuda_trial *t) {
    (void)cudaFree(t->memory); // a device that is lost has nothing to free
    *t = (struct cuda_trial){0};
}

// Fibers for the threads of a block, their barriers and exchanges, and the run of a grid.
#include "trainer/cuda/emulation/host_threads.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define FIBER_TO(from, bottom, size) __sanitizer_start_switch_fiber(from, bottom, size)
#define FIBER_AT(fake, from, size) __sanitizer_finish_switch_fiber(fake, from, size)
#else
#define FIBER_TO(from, bottom, size) (void)0
#define FIBER_AT(fake, from, size) (void)0
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

enum { THREADS_MAX = 1024, WARP = 32, STACK_BYTES = 256 * 1024 };

enum state { FRESH, RUNNING, AT_BARRIER, AT_EXCHANGE, DONE };

struct thread {
    enum state state;
    const char *place; // where it waits
    unsigned round;    // exchanges it has been through
#if defined(__x86_64__)
    void *context;
#else
    ucontext_t context;
#endif
    void *fake; // ASan's
};

// The lanes write their value of round r to slot r % 2: a lane can be one round ahead, not two.
struct warp {
    uint64_t value[2][WARP];
    unsigned arrived[2];
    const char *place[2];
};

struct cuda_host_now cuda_host_now;

static struct {
    const struct cuda_host_grid *grid;
    unsigned n;       // threads of a block
    unsigned current; // the one that runs
    struct thread thread[THREADS_MAX];
    struct warp warp[THREADS_MAX / WARP];
    struct thread scheduler;
    unsigned sample;
    char *stacks;
    void *shared; // one page behind its end is not accessible
    size_t shared_bytes;
} block;

// The section with all __shared__ variables; absent if no kernel has one.
extern char __start_cuda_shared[] __attribute__((weak));
extern char __stop_cuda_shared[] __attribute__((weak));

static void describe(char *text, size_t size) {
    const struct cuda_host_now *now = &cuda_host_now;

    if (!block.grid)
        (void)snprintf(text, size, "cuda-host: ");
    else
        (void)snprintf(text, size,
                       "cuda-host: kernel %s, block %u,%u,%u, thread %u: ", block.grid->name,
                       now->block.x, now->block.y, now->block.z, now->linear_thread);
}

void cuda_host_die(const char *format, ...) {
    char text[256];
    va_list args;

    describe(text, sizeof text);
    (void)fputs(text, stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    abort();
}

// Fibers

#if defined(__x86_64__)
// Saves the registers that a call keeps on the stack, and the stack pointer in *from.
void cuda_host_switch(void **from, void *to);
__asm__(".text\n"
        ".type cuda_host_switch, @function\n"
        "cuda_host_switch:\n"
        "    push %rbp\n    push %rbx\n    push %r12\n    push %r13\n    push %r14\n    push %r15\n"
        "    mov %rsp, (%rdi)\n"
        "    mov %rsi, %rsp\n"
        "    pop %r15\n    pop %r14\n    pop %r13\n    pop %r12\n    pop %rbx\n    pop %rbp\n"
        "    ret\n"
        ".size cuda_host_switch, . - cuda_host_switch\n");
#define SWITCH(from, to) cuda_host_switch(&(from)->context, (to)->context)
#else
#define SWITCH(from, to) (void)swapcontext(&(from)->context, &(to)->context)
#endif

static char *stack_of(unsigned i) {
    return block.stacks + (size_t)i * STACK_BYTES;
}

static void thread_main(void) {
    struct thread *t = &block.thread[block.current];

    FIBER_AT(NULL, NULL, NULL);
    block.grid->run(block.grid->args);
    t->state = DONE;
    FIBER_TO(NULL, NULL, 0);
    SWITCH(t, &block.scheduler);
}

static void thread_init(unsigned i) {
    struct thread *t = &block.thread[i];

    *t = (struct thread){.state = FRESH};
#if defined(__x86_64__)
    // As if thread_main had been called and had come to cuda_host_switch: its frame is aligned.
    void **top = (void **)(void *)(stack_of(i) + STACK_BYTES - 64);
    top[0] = (void *)thread_main;
    t->context = top - 6;
    memset(t->context, 0, 6 * sizeof(void *));
    top[1] = NULL;
#else
    (void)getcontext(&t->context);
    t->context.uc_stack.ss_sp = stack_of(i);
    t->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&t->context, thread_main, 0);
#endif
}

static void resume(unsigned i) {
    struct thread *t = &block.thread[i];
    struct cuda_host_now *now = &cuda_host_now;

    block.current = i;
    now->linear_thread = i;
    now->thread = (struct uint3){i % now->block_size.x, i / now->block_size.x % now->block_size.y,
                                 i / now->block_size.x / now->block_size.y};
    if (t->state == FRESH)
        thread_init(i);
    t->state = RUNNING;
    FIBER_TO(&block.scheduler.fake, stack_of(i), STACK_BYTES);
    SWITCH(&block.scheduler, t);
    FIBER_AT(block.scheduler.fake, NULL, NULL);
}

static void wait_at(enum state state, const char *place) {
    struct thread *t = &block.thread[block.current];

    t->state = state;
    t->place = place;
    FIBER_TO(&t->fake, NULL, 0);
    SWITCH(t, &block.scheduler);
    FIBER_AT(t->fake, NULL, NULL);
}

// Barriers

void cuda_host_barrier(const char *place) {
    wait_at(AT_BARRIER, place);
}

void cuda_host_mask(unsigned mask, const char *place) {
    if (mask != 0xffffffffu)
        cuda_host_die("%s: mask %08x, not of the whole warp", place, mask);
}

const uint64_t *cuda_host_exchange(uint64_t value, const char *place) {
    unsigned lane = block.current % WARP;
    struct thread *t = &block.thread[block.current];
    struct warp *w = &block.warp[block.current / WARP];
    unsigned slot = t->round++ % 2;

    w->value[slot][lane] = value;
    if (w->arrived[slot] == 0)
        w->place[slot] = place;
    else if (strcmp(w->place[slot], place) != 0)
        cuda_host_die("the lanes of a warp are at %s and at %s", w->place[slot], place);
    if (++w->arrived[slot] == WARP)
        w->arrived[slot ^ 1] = 0; // the other slot has been read by all
    wait_at(AT_EXCHANGE, place);
    return w->value[slot];
}

static bool warp_is_complete(unsigned i) {
    const struct thread *t = &block.thread[i];

    return block.warp[i / WARP].arrived[(t->round - 1) % 2] == WARP;
}

// Lets all threads go on if they are at the same barrier.
static bool release_barrier(void) {
    const struct thread *first = &block.thread[0];

    for (unsigned i = 0; i < block.n; i++) {
        const struct thread *t = &block.thread[i];
        if (t->state != AT_BARRIER || strcmp(t->place, first->place) != 0)
            return false;
    }
    for (unsigned i = 0; i < block.n; i++)
        block.thread[i].state = RUNNING;
    return true;
}

static void die_of_divergence(void) {
    static const char *const what[] = {"not started", "running", "at a barrier", "at a warp's",
                                       "finished"};

    for (unsigned i = 0; i < block.n; i++) {
        const struct thread *t = &block.thread[i];
        if (i == 0 || t->state != t[-1].state || (t->place && t->place != t[-1].place))
            (void)fprintf(stderr, "cuda-host: from thread %u: %s %s\n", i, what[t->state],
                          t->state == DONE || !t->place ? "" : t->place);
    }
    cuda_host_die("its threads wait for each other");
}

// A random permutation, the same for the same seed.
static void shuffle(unsigned n, uint64_t *seed, unsigned *order) {
    for (unsigned i = 0; i < n; i++)
        order[i] = i;
    for (unsigned i = n; *seed > 1 && i > 1; i--) {
        *seed = *seed * 6364136223846793005u + 1442695040888963407u;
        unsigned k = (unsigned)((*seed >> 33) % i), other = order[k];
        order[k] = order[i - 1];
        order[i - 1] = other;
    }
    for (unsigned i = 0; *seed == 1 && i < n; i++)
        order[i] = n - 1 - i;
}

static void run_block(uint64_t *seed) {
    static unsigned order[THREADS_MAX];
    unsigned done = 0;

    if (__start_cuda_shared)
        // cppcheck-suppress comparePointers; the linker's two ends of one section
        memset(__start_cuda_shared, 0xff, (size_t)(__stop_cuda_shared - __start_cuda_shared));
    memset(block.shared, 0xff, block.shared_bytes);
    memset(block.warp, 0, sizeof block.warp);
    for (unsigned i = 0; i < block.n; i++)
        block.thread[i].state = FRESH;
    while (done < block.n) {
        bool moved = false;
        shuffle(block.n, seed, order);
        for (unsigned k = 0; k < block.n; k++) {
            struct thread *t = &block.thread[order[k]];
            if (t->state == AT_EXCHANGE && warp_is_complete(order[k]))
                t->state = RUNNING;
            if (t->state != FRESH && t->state != RUNNING)
                continue;
            moved = true;
            resume(order[k]);
            done += t->state == DONE;
        }
        if (!moved && !release_barrier())
            die_of_divergence();
    }
}

// Grids

// Fixed memory with `bytes` in front of a page that nobody may touch.
static void *guarded(size_t bytes) {
    size_t page = 4096, whole = (bytes + page - 1) / page * page;
    char *p = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED || mprotect(p + whole, page, PROT_NONE))
        cuda_host_die("no memory for %zu bytes of shared memory", bytes);
    return p + whole - bytes;
}

static void unguard(void *memory, size_t bytes) {
    size_t page = 4096, whole = (bytes + page - 1) / page * page;

    if (memory)
        (void)munmap((char *)memory + bytes - whole, whole + page); // cannot fail: it is ours
}

static void prepare_shared(size_t bytes) {
    size_t rounded = (bytes + 15) & ~(size_t)15;

    if (block.shared && rounded == block.shared_bytes)
        return;
    unguard(block.shared, block.shared_bytes);
    block.shared = guarded(rounded);
    block.shared_bytes = rounded;
    cuda_host_now.shared = block.shared;
}

static void on_fault(int signal_number, siginfo_t *info, void *context) {
    cuda_host_die("access to %p, which is nobody's", info->si_addr);
}

static void prepare(void) {
    static char fault_stack[65536];
    stack_t stack = {.ss_sp = fault_stack, .ss_size = sizeof fault_stack};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    if (block.stacks)
        return;
    block.stacks = mmap(NULL, (size_t)THREADS_MAX * STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block.stacks == MAP_FAILED)
        cuda_host_die("no memory for stacks");
#if !defined(__SANITIZE_ADDRESS__)
    (void)sigaltstack(&stack, NULL);         // without them a fault is
    (void)sigaction(SIGSEGV, &action, NULL); // still a fault, with less text
#else
    (void)stack;
    (void)action;
#endif
}

void cuda_host_sample(unsigned blocks) {
    block.sample = blocks;
}

void cuda_host_run(const struct cuda_host_grid *g, uint64_t seed) {
    struct cuda_host_now *now = &cuda_host_now;
    size_t blocks = (size_t)g->grid.x * g->grid.y * g->grid.z;
    unsigned step = 1, at = 0; // block k of the order is (k step + at) % blocks

    prepare();
    prepare_shared(g->shared_bytes);
    block.grid = g;
    block.n = g->block.x * g->block.y * g->block.z;
    now->block_size = g->block;
    now->grid_size = g->grid;
    if (seed > 1) {
        at = (unsigned)(seed % blocks);
        for (step = (unsigned)(seed >> 8) % 1021 + 1; step > 1; step--) { // prime to `blocks`
            size_t a = step, b = blocks;
            while (b) {
                size_t rest = a % b;
                a = b;
                b = rest;
            }
            if (a == 1)
                break;
        }
    }
    size_t runs = block.sample > 1 && block.sample < blocks ? block.sample : blocks;
    for (size_t r = 0; r < runs; r++) {
        size_t k = runs == blocks ? r : r * (blocks - 1) / (runs - 1);
        size_t i = seed == 1 ? blocks - 1 - k : (k * step + at) % blocks;
        now->block =
            (struct uint3){(unsigned)(i % g->grid.x), (unsigned)(i / g->grid.x % g->grid.y),
                           (unsigned)(i / g->grid.x / g->grid.y)};
        run_block(&seed);
    }
    block.grid = NULL;
}

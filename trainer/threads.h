// threads - how OpenMP's threads wait for each other.
//
// By default libgomp's threads spin. Beside any other busy process (loaders, a compiler, another
// run) a spinning thread holds the core that the one it waits for needs: steps became 3 to 10
// times slower in measurements on two shared cores. Sleeping costs a wake-up per parallel region.
#ifndef THREADS_H
#define THREADS_H

// The first call of a main: libgomp reads its environment before main, so the program executes
// itself once more with OMP_WAIT_POLICY=passive. Does nothing if the user has set OMP_WAIT_POLICY
// or GOMP_SPINCOUNT, and if it cannot.
void threads_wait_passively(char **argv);

#endif

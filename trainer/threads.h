// threads - how OpenMP's threads wait for each other.
//
// By default libgomp's threads spin for long. Beside any other busy process (loaders, a compiler,
// another run) a spinning thread holds the core that the one it waits for needs: steps became 3 to
// 10 times slower in measurements on two shared cores. Sleeping at once costs a wake-up per
// parallel region, half as much again on a quiet machine. Spinning briefly gives up little of both.
#ifndef THREADS_H
#define THREADS_H

// The first call of a main: libgomp reads its environment before main, so the program executes
// itself once more with GOMP_SPINCOUNT set. Does nothing if the user has set OMP_WAIT_POLICY or
// GOMP_SPINCOUNT, and if it cannot.
void threads_wait_briefly(char **argv);

#endif

// resample - antialiased halving and doubling of maps with fixed filters, and their adjoints.
//
//   BLUR  y = every second pixel of x * [1 2 1] x [1 2 1] / 16, x with a border of one pixel
//   UP    y[2i] = 3/4 x[i] + 1/4 x[i-1], y[2i+1] = 3/4 x[i] + 1/4 x[i+1] on both axes, x[-1] = x[0]
//         and x[n] = x[n-1]: the transposed filter [1 3 3 1] x [1 3 3 1] / 16
//
// Source: Zhang 2019 (arXiv:1904.11486), with the filters of Park et al. 2020 (arXiv:2007.15651).
//
// Arrays are float [N,H,W,C]. Runs on the current number of OpenMP threads; every output is one sum
// in a fixed order, so that the bits do not depend on them. Nothing is allocated or kept.
#ifndef CPU_RESAMPLE_H
#define CPU_RESAMPLE_H

enum cpu_resample_kind { CPU_BLUR, CPU_BLUR_ADJOINT, CPU_UP, CPU_UP_ADJOINT };

// From x [n,h,w,c] to y [n,to_h,to_w,c], borders included:
//   BLUR  to_h = (h - 1) / 2;   UP  to_h = 2 h;   of an adjoint h and to_h are exchanged
struct cpu_resample {
    enum cpu_resample_kind kind;
    int n, h, w, to_h, to_w, c;
};

void cpu_resample(const struct cpu_resample *s, const float *x, float *ret_y);

#endif

/* A product and attention with its gradients, from C alone. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "littlecore.h"

#define MUST(call) \
    do { \
        if ((call) != LC_OK) { \
            fprintf(stderr, "%s\n", lc_last_error()); \
            return 1; \
        } \
    } while (0)

/* An array of floats, seen as a DLTensor of up to four axes. */
typedef struct {
    int64_t shape[4];
    DLTensor tensor;
} Array;

static void make(Array* a, int axes, int64_t n0, int64_t n1, int64_t n2, int64_t n3) {
    const int64_t shape[4] = {n0, n1, n2, n3};
    size_t size = 1;
    for (int i = 0; i < axes; ++i) {
        a->shape[i] = shape[i];
        size *= (size_t)shape[i];
    }
    const DLTensor t = {calloc(size, sizeof(float)), {kDLCPU, 0}, axes, {kDLFloat, 32, 1}, a->shape, NULL, 0};
    a->tensor = t;
}

static float* data(Array* a) { return (float*)a->tensor.data; }

int main(void) {
    MUST(lc_check_abi(LC_ABI_MAJOR, LC_ABI_MINOR));

    /* y = a b */
    Array a, b, y;
    make(&a, 2, 2, 3, 0, 0);
    make(&b, 2, 3, 2, 0, 0);
    make(&y, 2, 2, 2, 0, 0);
    for (int i = 0; i < 6; ++i) data(&a)[i] = data(&b)[i] = (float)(i + 1);
    lc_matmul_forward_args product = {sizeof product, .a = &a.tensor, .b = &b.tensor, .y = &y.tensor};
    MUST(lc_matmul_forward(&product));
    printf("matmul %g %g %g %g\n", data(&y)[0], data(&y)[1], data(&y)[2], data(&y)[3]);

    /* o = attention(q, k, v): 1 sample, 2 heads, 5 queries and keys of 4 numbers */
    enum { kHeads = 2,
           kLength = 5,
           kDim = 4,
           kSize = kHeads * kLength * kDim };
    Array q, k, v, o, lse, d_o, dq, dk, dv;
    Array* like_q[] = {&q, &k, &v, &o, &d_o, &dq, &dk, &dv};
    for (int i = 0; i < 8; ++i) make(like_q[i], 4, 1, kHeads, kLength, kDim);
    make(&lse, 3, 1, kHeads, kLength, 0);
    for (int i = 0; i < kSize; ++i) {
        data(&q)[i] = sinf((float)i);
        data(&k)[i] = cosf((float)(3 * i));
        data(&v)[i] = sinf((float)(7 * i));
        data(&d_o)[i] = cosf((float)(5 * i));
    }
    const lc_attention_forward_args forward = {
        sizeof forward, .q = &q.tensor, .k = &k.tensor, .v = &v.tensor, .o = &o.tensor, .lse = &lse.tensor, .causal = 1};
    MUST(lc_attention_forward(&forward));
    lc_attention_backward_args backward = {
        sizeof backward, .d_o = &d_o.tensor, .q = &q.tensor, .k = &k.tensor, .v = &v.tensor, .o = &o.tensor, .lse = &lse.tensor,
        .dq = &dq.tensor, .dk = &dk.tensor, .dv = &dv.tensor, .causal = 1};

    /* Scratch of our own: nothing is allocated behind our back. */
    MUST(lc_workspace_size(LC_ATTENTION_BACKWARD, &backward, &backward.workspace_size));
    backward.workspace = malloc(backward.workspace_size);
    MUST(lc_attention_backward(&backward));

    /* The gradient against a difference: sum(o * d_o) changes by dq when an element of q does. */
    double worst = 0;
    for (int i = 0; i < kSize; ++i) {
        Array* inputs[] = {&q, &k, &v};
        Array* gradients[] = {&dq, &dk, &dv};
        for (int n = 0; n < 3; ++n) {
            double sum[2] = {0, 0};
            const float keep = data(inputs[n])[i], h = 1e-2f;
            for (int side = 0; side < 2; ++side) {
                data(inputs[n])[i] = keep + (side ? h : -h);
                MUST(lc_attention_forward(&forward));
                for (int j = 0; j < kSize; ++j) sum[side] += (double)data(&o)[j] * data(&d_o)[j];
            }
            data(inputs[n])[i] = keep;
            worst = fmax(worst, fabs((sum[1] - sum[0]) / (2 * h) - data(gradients[n])[i]));
        }
    }
    printf("attention gradients differ by %s\n", worst < 1e-3 ? "less than 0.001" : "too much");

    /* What is wrong is said. */
    product.b = &q.tensor;
    if (lc_matmul_forward(&product) != LC_INVALID_VALUE) return 1;
    printf("%s\n", lc_last_error());
    return worst < 1e-3 ? 0 : 1;
}

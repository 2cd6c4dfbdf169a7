// The arguments of every kernel. Written by cpp/c_api/header.py from kernels.def, which explains the shapes; part of
// littlecore.h. New kernels and new members come at the end only.

typedef enum lc_kernel_id {
    LC_MATMUL_FORWARD = 0,
    LC_MATMUL_BACKWARD = 1,
    LC_LINEAR_FORWARD = 2,
    LC_LINEAR_BACKWARD = 3,
    LC_CONV2D_FORWARD = 4,
    LC_CONV2D_BACKWARD = 5,
    LC_SOFTMAX_FORWARD = 6,
    LC_SOFTMAX_BACKWARD = 7,
    LC_LAYER_NORM_FORWARD = 8,
    LC_LAYER_NORM_BACKWARD = 9,
    LC_RMS_NORM_FORWARD = 10,
    LC_RMS_NORM_BACKWARD = 11,
    LC_ATTENTION_FORWARD = 12,
    LC_ATTENTION_BACKWARD = 13,
    LC_CROSS_ENTROPY_FORWARD = 14,
    LC_CROSS_ENTROPY_BACKWARD = 15,
    LC_GELU_FORWARD = 16,
    LC_GELU_BACKWARD = 17,
    LC_RELU_FORWARD = 18,
    LC_RELU_BACKWARD = 19,
    LC_ADAMW_STEP = 20,
    LC_SILU_FORWARD = 21,
    LC_SILU_BACKWARD = 22,
    LC_SIGMOID_FORWARD = 23,
    LC_SIGMOID_BACKWARD = 24,
    LC_TANH_FORWARD = 25,
    LC_TANH_BACKWARD = 26,
    LC_BATCH_NORM_FORWARD = 27,
    LC_BATCH_NORM_BACKWARD = 28,
    LC_MAX_POOL2D_FORWARD = 29,
    LC_MAX_POOL2D_BACKWARD = 30,
    LC_DROPOUT_FORWARD = 31,
    LC_DROPOUT_BACKWARD = 32,
    LC_LINEAR_RELU_FORWARD = 33,
    LC_LINEAR_RELU_BACKWARD = 34,
    LC_LINEAR_GELU_FORWARD = 35,
    LC_LINEAR_GELU_BACKWARD = 36,
    LC_LINEAR_SILU_FORWARD = 37,
    LC_LINEAR_SILU_BACKWARD = 38,
    LC_LEAKY_RELU_FORWARD = 39,
    LC_LEAKY_RELU_BACKWARD = 40,
    LC_ELU_FORWARD = 41,
    LC_ELU_BACKWARD = 42,
    LC_SOFTPLUS_FORWARD = 43,
    LC_SOFTPLUS_BACKWARD = 44,
    LC_GROUP_NORM_FORWARD = 45,
    LC_GROUP_NORM_BACKWARD = 46,
    LC_ROTARY_EMBEDDING_FORWARD = 47,
    LC_ROTARY_EMBEDDING_BACKWARD = 48,
    LC_EMBEDDING_FORWARD = 49,
    LC_EMBEDDING_BACKWARD = 50,
    LC_AVG_POOL2D_FORWARD = 51,
    LC_AVG_POOL2D_BACKWARD = 52,
    LC_SGD_STEP = 53,
    LC_CONV_TRANSPOSE2D_FORWARD = 54,
    LC_CONV_TRANSPOSE2D_BACKWARD = 55,
    LC_MSE_LOSS_FORWARD = 56,
    LC_MSE_LOSS_BACKWARD = 57,
    LC_SMOOTH_L1_LOSS_FORWARD = 58,
    LC_SMOOTH_L1_LOSS_BACKWARD = 59,
    LC_HUBER_LOSS_FORWARD = 60,
    LC_HUBER_LOSS_BACKWARD = 61,
    LC_BINARY_CROSS_ENTROPY_WITH_LOGITS_FORWARD = 62,
    LC_BINARY_CROSS_ENTROPY_WITH_LOGITS_BACKWARD = 63,
    LC_KL_DIV_FORWARD = 64,
    LC_KL_DIV_BACKWARD = 65,
    LC_ADAM_STEP = 66,
    LC_RMSPROP_STEP = 67,
} lc_kernel_id;

// y = a b over the last two axes; the others broadcast
typedef struct lc_matmul_forward_args {
    LC_CALL_FIELDS
    const DLTensor* a;            // in     float~[*^,m,k]
    const DLTensor* b;            // in     T~[*^,k,n]
    DLTensor* y;                  // out    T[*,m,n]
} lc_matmul_forward_args;

// da = dy b', db = a' dy, summed over the axes an operand was broadcast along
typedef struct lc_matmul_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float~[*,m,n]
    const DLTensor* a;            // in     T~[*^,m,k]
    const DLTensor* b;            // in     T~[*^,k,n]
    DLTensor* da;                 // out    T[=a], or NULL
    DLTensor* db;                 // out    T[=b], or NULL
} lc_matmul_backward_args;

// y = x w' + b
typedef struct lc_linear_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*,in]
    const DLTensor* w;            // in     T~[out,in]
    const DLTensor* b;            // in     T[out], or NULL
    DLTensor* y;                  // out    T[*,out]
} lc_linear_forward_args;

// dx = dy w, dw = dy' x, db = sum dy, over all axes but the last
typedef struct lc_linear_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*,out]
    const DLTensor* x;            // in     T[*,in]
    const DLTensor* w;            // in     T~[out,in]
    DLTensor* dx;                 // out    T[*,in], or NULL
    DLTensor* dw;                 // out    T[out,in], or NULL
    DLTensor* db;                 // out    T[out], or NULL
} lc_linear_backward_args;

// y = x cross-correlated with the filters w, + b per channel
typedef struct lc_conv2d_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     real[n,c,h,w]
    const DLTensor* w;            // in     T[k,group_c,r,s]
    const DLTensor* b;            // in     T[k], or NULL
    DLTensor* y;                  // out    T[n,k,out_h,out_w]
    int64_t stride[2];            // int2 usually 1
    int64_t padding[2];           // int2 usually 0
    int64_t dilation[2];          // int2 usually 1
    int64_t groups;               // usually 1
} lc_conv2d_forward_args;

// the gradients of conv2d_forward
typedef struct lc_conv2d_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     real[n,k,out_h,out_w]
    const DLTensor* x;            // in     T[n,c,h,w]
    const DLTensor* w;            // in     T[k,group_c,r,s]
    DLTensor* dx;                 // out    T[n,c,h,w], or NULL
    DLTensor* dw;                 // out    T[k,group_c,r,s], or NULL
    DLTensor* db;                 // out    T[k], or NULL
    int64_t stride[2];            // int2 usually 1
    int64_t padding[2];           // int2 usually 0
    int64_t dilation[2];          // int2 usually 1
    int64_t groups;               // usually 1
} lc_conv2d_backward_args;

// y = exp(x) / sum exp(x) along dim, or its logarithm
typedef struct lc_softmax_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     real[*]
    DLTensor* y;                  // out    T[*]
    int64_t dim;                  // usually -1
    int64_t log;                  // bool usually 0
} lc_softmax_forward_args;

// dx = y (dy - sum dy y) along dim; of the logarithm dy - exp(y) sum dy
typedef struct lc_softmax_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     real[*]
    const DLTensor* y;            // in     T[*]
    DLTensor* dx;                 // out    T[*]
    int64_t dim;                  // usually -1
    int64_t log;                  // bool usually 0
} lc_softmax_backward_args;

// y = (x - mean) rstd w + b over the last axis, mean = base + rest, rstd = 1 / sqrt(var + eps)
typedef struct lc_layer_norm_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*,cols]
    const DLTensor* w;            // in     T[cols], or NULL
    const DLTensor* b;            // in     T[cols], or NULL
    DLTensor* y;                  // out    T[*,cols]
    DLTensor* base;               // out    acc[*]
    DLTensor* rest;               // out    acc[*]
    DLTensor* rstd;               // out    acc[*]
    double eps;                   // usually 1e-5
} lc_layer_norm_forward_args;

// the gradients of layer_norm_forward, from what it saved
typedef struct lc_layer_norm_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*,cols]
    const DLTensor* x;            // in     T[*,cols]
    const DLTensor* w;            // in     T[cols], or NULL
    const DLTensor* base;         // in     acc[*]
    const DLTensor* rest;         // in     acc[*]
    const DLTensor* rstd;         // in     acc[*]
    DLTensor* dx;                 // out    T[*,cols]
    DLTensor* dw;                 // out    T[cols], or NULL
    DLTensor* db;                 // out    T[cols], or NULL
} lc_layer_norm_backward_args;

// y = x rstd w over the last axis, rstd = 1 / sqrt(mean x^2 + eps)
typedef struct lc_rms_norm_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*,cols]
    const DLTensor* w;            // in     T[cols], or NULL
    DLTensor* y;                  // out    T[*,cols]
    DLTensor* rstd;               // out    acc[*]
    double eps;                   // usually 1e-6
} lc_rms_norm_forward_args;

// the gradients of rms_norm_forward, from what it saved
typedef struct lc_rms_norm_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*,cols]
    const DLTensor* x;            // in     T[*,cols]
    const DLTensor* w;            // in     T[cols], or NULL
    const DLTensor* rstd;         // in     acc[*]
    DLTensor* dx;                 // out    T[*,cols]
    DLTensor* dw;                 // out    T[cols], or NULL
} lc_rms_norm_backward_args;

// o = softmax(q k' scale + mask) v; lse is the logarithm to base 2 of each row's sum of exp, for backward; scale 0 means 1 / sqrt(dim); a boolean mask is true where a key is seen; heads is a multiple of kv_heads
typedef struct lc_attention_forward_args {
    LC_CALL_FIELDS
    const DLTensor* q;            // in     float~1[batch,heads,tq,dim]
    const DLTensor* k;            // in     T~1[batch,kv_heads,tk,dim]
    const DLTensor* v;            // in     T~1[batch,kv_heads,tk,dim_v]
    const DLTensor* mask;         // in     mask~[batch^,heads^,tq^,tk^], or NULL
    DLTensor* o;                  // out    T~1[batch,heads,tq,dim_v]
    DLTensor* lse;                // out    acc[batch,heads,tq]
    double scale;                 // usually 0
    int64_t causal;               // bool usually 0
} lc_attention_forward_args;

// the gradients of attention_forward, from what it saved; of a mask that is added, too
typedef struct lc_attention_backward_args {
    LC_CALL_FIELDS
    const DLTensor* d_o;          // in     float~1[batch,heads,tq,dim_v]
    const DLTensor* q;            // in     T~1[batch,heads,tq,dim]
    const DLTensor* k;            // in     T~1[batch,kv_heads,tk,dim]
    const DLTensor* v;            // in     T~1[batch,kv_heads,tk,dim_v]
    const DLTensor* o;            // in     T~1[batch,heads,tq,dim_v]
    const DLTensor* lse;          // in     acc[batch,heads,tq]
    const DLTensor* mask;         // in     mask~[batch^,heads^,tq^,tk^], or NULL
    DLTensor* dq;                 // out    T~1[batch,heads,tq,dim]
    DLTensor* dk;                 // out    T~1[batch,kv_heads,tk,dim]
    DLTensor* dv;                 // out    T~1[batch,kv_heads,tk,dim_v]
    DLTensor* dmask;              // out    T[=mask], or NULL
    double scale;                 // usually 0
    int64_t causal;               // bool usually 0
} lc_attention_backward_args;

// loss = -log softmax(x)[target] weight[target], a number for each target; 0 where it is ignore_index
typedef struct lc_cross_entropy_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     real[n,classes,*]
    const DLTensor* target;       // in     int64[n,*]
    const DLTensor* weight;       // in     T[classes], or NULL
    DLTensor* loss;               // out    T[n,*]
    DLTensor* max;                // out    T[n,*]
    DLTensor* sum;                // out    T[n,*]
    int64_t ignore_index;         // usually -100
    double smoothing;             // usually 0
} lc_cross_entropy_forward_args;

// the gradient of cross_entropy_forward, from what it saved
typedef struct lc_cross_entropy_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dloss;        // in     real~[n,*]
    const DLTensor* x;            // in     T[n,classes,*]
    const DLTensor* target;       // in     int64[n,*]
    const DLTensor* weight;       // in     T[classes], or NULL
    const DLTensor* max;          // in     T[n,*]
    const DLTensor* sum;          // in     T[n,*]
    DLTensor* dx;                 // out    T[n,classes,*]
    int64_t ignore_index;         // usually -100
    double smoothing;             // usually 0
} lc_cross_entropy_backward_args;

// y = x Phi(x), Phi the normal distribution, or its approximation by tanh
typedef struct lc_gelu_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*]
    DLTensor* y;                  // out    T[*]
    int64_t tanh;                 // bool usually 0
} lc_gelu_forward_args;

// dx = dy (Phi(x) + x phi(x)), or of the approximation by tanh
typedef struct lc_gelu_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*]
    const DLTensor* x;            // in     T[*]
    DLTensor* dx;                 // out    T[*]
    int64_t tanh;                 // bool usually 0
} lc_gelu_backward_args;

// y = max(x, 0)
typedef struct lc_relu_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*]
    DLTensor* y;                  // out    T[*]
} lc_relu_forward_args;

// dx = dy where y > 0, else 0
typedef struct lc_relu_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*]
    const DLTensor* y;            // in     T[*]
    DLTensor* dx;                 // out    T[*]
} lc_relu_backward_args;

// p, m and v after AdamW's step number step, from 1; with top, the largest v so far, AMSGrad's
typedef struct lc_adamw_step_args {
    LC_CALL_FIELDS
    DLTensor* p;                  // in/out float[*]
    const DLTensor* g;            // in     T[*]
    DLTensor* m;                  // in/out acc[*]
    DLTensor* v;                  // in/out acc[*]
    DLTensor* top;                // in/out acc[*], or NULL
    double lr;
    int64_t step;
    double beta1;                 // usually 0.9
    double beta2;                 // usually 0.999
    double eps;                   // usually 1e-8
    double weight_decay;          // usually 0.01
} lc_adamw_step_args;

// y = x sigmoid(x)
typedef struct lc_silu_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*]
    DLTensor* y;                  // out    T[*]
} lc_silu_forward_args;

// dx = dy s (1 + x (1 - s)), s = sigmoid(x)
typedef struct lc_silu_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*]
    const DLTensor* x;            // in     T[*]
    DLTensor* dx;                 // out    T[*]
} lc_silu_backward_args;

// y = 1 / (1 + exp(-x))
typedef struct lc_sigmoid_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*]
    DLTensor* y;                  // out    T[*]
} lc_sigmoid_forward_args;

// dx = dy y (1 - y)
typedef struct lc_sigmoid_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*]
    const DLTensor* y;            // in     T[*]
    DLTensor* dx;                 // out    T[*]
} lc_sigmoid_backward_args;

// y = tanh(x)
typedef struct lc_tanh_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*]
    DLTensor* y;                  // out    T[*]
} lc_tanh_forward_args;

// dx = dy (1 - y^2)
typedef struct lc_tanh_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*]
    const DLTensor* y;            // in     T[*]
    DLTensor* dx;                 // out    T[*]
} lc_tanh_backward_args;

// y = (x - mean) / sqrt(var + eps) w + b for each channel c, mean = base + rest and var those of x; without training running_mean and running_var, which are not updated
typedef struct lc_batch_norm_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     real[samples,c,*]
    const DLTensor* w;            // in     T[c], or NULL
    const DLTensor* b;            // in     T[c], or NULL
    const DLTensor* running_mean; // in     acc[c], or NULL
    const DLTensor* running_var;  // in     acc[c], or NULL
    DLTensor* y;                  // out    T[samples,c,*]
    DLTensor* base;               // out    acc[c]
    DLTensor* rest;               // out    acc[c]
    DLTensor* var;                // out    acc[c]
    int64_t training;             // bool usually 1
    double eps;                   // usually 1e-5
} lc_batch_norm_forward_args;

// the gradients of batch_norm_forward, from what it saved
typedef struct lc_batch_norm_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     real[samples,c,*]
    const DLTensor* x;            // in     T[samples,c,*]
    const DLTensor* w;            // in     T[c], or NULL
    const DLTensor* base;         // in     acc[c]
    const DLTensor* rest;         // in     acc[c]
    const DLTensor* var;          // in     acc[c]
    DLTensor* dx;                 // out    T[samples,c,*], or NULL
    DLTensor* dw;                 // out    T[c], or NULL
    DLTensor* db;                 // out    T[c], or NULL
    int64_t training;             // bool usually 1
    double eps;                   // usually 1e-5
} lc_batch_norm_backward_args;

// y = the largest element of each window, index = its place in the plane of h w elements; stride 0 means that of the kernel
typedef struct lc_max_pool2d_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     real[n,c,h,w]
    DLTensor* y;                  // out    T[n,c,out_h,out_w]
    DLTensor* index;              // out    int64[n,c,out_h,out_w]
    int64_t kernel[2];            // int2
    int64_t stride[2];            // int2 usually 0
    int64_t padding[2];           // int2 usually 0
    int64_t dilation[2];          // int2 usually 1
    int64_t ceil_mode;            // bool usually 0
} lc_max_pool2d_forward_args;

// dx = dy at the places of max_pool2d_forward's index, else 0
typedef struct lc_max_pool2d_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     real[n,c,out_h,out_w]
    const DLTensor* x;            // in     T[n,c,h,w]
    const DLTensor* index;        // in     int64[n,c,out_h,out_w]
    DLTensor* dx;                 // out    T[n,c,h,w]
    int64_t kernel[2];            // int2
    int64_t stride[2];            // int2 usually 0
    int64_t padding[2];           // int2 usually 0
    int64_t dilation[2];          // int2 usually 1
    int64_t ceil_mode;            // bool usually 0
} lc_max_pool2d_backward_args;

// y[i] = x[i] / (1 - p) where word i of the Philox stream of key, a seed and an offset, is at least p 2^32, else 0
typedef struct lc_dropout_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*]
    const DLTensor* key;          // in     int64[words]
    DLTensor* y;                  // out    T[*]
    double p;                     // usually 0.5
} lc_dropout_forward_args;

// dx = dy where dropout_forward with this key kept x, over 1 - p, else 0
typedef struct lc_dropout_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*]
    const DLTensor* key;          // in     int64[words]
    DLTensor* dx;                 // out    T[*]
    double p;                     // usually 0.5
} lc_dropout_backward_args;

// y = max(x w' + b, 0) in one pass
typedef struct lc_linear_relu_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*,in]
    const DLTensor* w;            // in     T~[out,in]
    const DLTensor* b;            // in     T[out], or NULL
    DLTensor* y;                  // out    T[*,out]
} lc_linear_relu_forward_args;

// the gradients of linear_relu_forward, from its result
typedef struct lc_linear_relu_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*,out]
    const DLTensor* x;            // in     T[*,in]
    const DLTensor* w;            // in     T~[out,in]
    const DLTensor* y;            // in     T[*,out]
    DLTensor* dx;                 // out    T[*,in], or NULL
    DLTensor* dw;                 // out    T[out,in], or NULL
    DLTensor* db;                 // out    T[out], or NULL
} lc_linear_relu_backward_args;

// y = z Phi(z), z = x w' + b, in one pass, Phi as in gelu_forward; z is for backward
typedef struct lc_linear_gelu_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*,in]
    const DLTensor* w;            // in     T~[out,in]
    const DLTensor* b;            // in     T[out], or NULL
    DLTensor* y;                  // out    T[*,out]
    DLTensor* z;                  // out    T[*,out], or NULL
    int64_t tanh;                 // bool usually 0
} lc_linear_gelu_forward_args;

// the gradients of linear_gelu_forward, from its z
typedef struct lc_linear_gelu_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*,out]
    const DLTensor* x;            // in     T[*,in]
    const DLTensor* w;            // in     T~[out,in]
    const DLTensor* z;            // in     T[*,out]
    DLTensor* dx;                 // out    T[*,in], or NULL
    DLTensor* dw;                 // out    T[out,in], or NULL
    DLTensor* db;                 // out    T[out], or NULL
    int64_t tanh;                 // bool usually 0
} lc_linear_gelu_backward_args;

// y = z sigmoid(z), z = x w' + b, in one pass; z is for backward
typedef struct lc_linear_silu_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*,in]
    const DLTensor* w;            // in     T~[out,in]
    const DLTensor* b;            // in     T[out], or NULL
    DLTensor* y;                  // out    T[*,out]
    DLTensor* z;                  // out    T[*,out], or NULL
} lc_linear_silu_forward_args;

// the gradients of linear_silu_forward, from its z
typedef struct lc_linear_silu_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*,out]
    const DLTensor* x;            // in     T[*,in]
    const DLTensor* w;            // in     T~[out,in]
    const DLTensor* z;            // in     T[*,out]
    DLTensor* dx;                 // out    T[*,in], or NULL
    DLTensor* dw;                 // out    T[out,in], or NULL
    DLTensor* db;                 // out    T[out], or NULL
} lc_linear_silu_backward_args;

// y = x where x > 0, else slope x
typedef struct lc_leaky_relu_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*]
    DLTensor* y;                  // out    T[*]
    double slope;                 // usually 0.01
} lc_leaky_relu_forward_args;

// dx = dy where x > 0, else slope dy
typedef struct lc_leaky_relu_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*]
    const DLTensor* x;            // in     T[*]
    DLTensor* dx;                 // out    T[*]
    double slope;                 // usually 0.01
} lc_leaky_relu_backward_args;

// y = x where x > 0, else alpha (exp(x) - 1)
typedef struct lc_elu_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*]
    DLTensor* y;                  // out    T[*]
    double alpha;                 // usually 1
} lc_elu_forward_args;

// dx = dy where x > 0, else dy alpha exp(x)
typedef struct lc_elu_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*]
    const DLTensor* x;            // in     T[*]
    DLTensor* dx;                 // out    T[*]
    double alpha;                 // usually 1
} lc_elu_backward_args;

// y = log(1 + exp(beta x)) / beta, x where beta x > threshold
typedef struct lc_softplus_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*]
    DLTensor* y;                  // out    T[*]
    double beta;                  // usually 1
    double threshold;             // usually 20
} lc_softplus_forward_args;

// dx = dy sigmoid(beta x), dy where beta x > threshold
typedef struct lc_softplus_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*]
    const DLTensor* x;            // in     T[*]
    DLTensor* dx;                 // out    T[*]
    double beta;                  // usually 1
    double threshold;             // usually 20
} lc_softplus_backward_args;

// y = (x - mean) / sqrt(var + eps) w + b, mean = base + rest and var those of each sample's groups of c / groups channels; groups = c is instance norm
typedef struct lc_group_norm_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     real[n,c,*]
    const DLTensor* w;            // in     T[c], or NULL
    const DLTensor* b;            // in     T[c], or NULL
    DLTensor* y;                  // out    T[n,c,*]
    DLTensor* base;               // out    acc[n,groups]
    DLTensor* rest;               // out    acc[n,groups]
    DLTensor* var;                // out    acc[n,groups]
    int64_t groups;
    double eps;                   // usually 1e-5
} lc_group_norm_forward_args;

// the gradients of group_norm_forward, from what it saved
typedef struct lc_group_norm_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     real[n,c,*]
    const DLTensor* x;            // in     T[n,c,*]
    const DLTensor* w;            // in     T[c], or NULL
    const DLTensor* base;         // in     acc[n,groups]
    const DLTensor* rest;         // in     acc[n,groups]
    const DLTensor* var;          // in     acc[n,groups]
    DLTensor* dx;                 // out    T[n,c,*]
    DLTensor* dw;                 // out    T[c], or NULL
    DLTensor* db;                 // out    T[c], or NULL
    int64_t groups;
    double eps;                   // usually 1e-5
} lc_group_norm_backward_args;

// pairs of features turned: (x1 cos - x2 sin, x1 sin + x2 cos); pair i is x[i], x[i + pairs], interleaved x[2 i], x[2 i + 1]; features after the pairs pass
typedef struct lc_rotary_embedding_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     float[*,seq,dim]
    const DLTensor* cos;          // in     acc[seq,pairs]
    const DLTensor* sin;          // in     acc[seq,pairs]
    DLTensor* y;                  // out    T[*,seq,dim]
    int64_t interleaved;          // bool usually 0
} lc_rotary_embedding_forward_args;

// the gradient of rotary_embedding_forward: the turn back
typedef struct lc_rotary_embedding_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*,seq,dim]
    const DLTensor* cos;          // in     acc[seq,pairs]
    const DLTensor* sin;          // in     acc[seq,pairs]
    DLTensor* dx;                 // out    T[*,seq,dim]
    int64_t interleaved;          // bool usually 0
} lc_rotary_embedding_backward_args;

// y = the rows of w that index names, from 0
typedef struct lc_embedding_forward_args {
    LC_CALL_FIELDS
    const DLTensor* w;            // in     float[rows,cols]
    const DLTensor* index;        // in     int64[*]
    DLTensor* y;                  // out    T[*,cols]
    int64_t padding_index;        // usually -1
} lc_embedding_forward_args;

// each row of dw = the sum of dy where index names it, in order; 0 for padding_index, -1 for none; of w only the shape counts
typedef struct lc_embedding_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     float[*,cols]
    const DLTensor* index;        // in     int64[*]
    const DLTensor* w;            // in     T[rows,cols]
    DLTensor* dw;                 // out    T[rows,cols]
    int64_t padding_index;        // usually -1
} lc_embedding_backward_args;

// y = the sum of each window over the number of its elements, with or without the padding's zeros, or over divisor; stride 0 means that of the kernel
typedef struct lc_avg_pool2d_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     real[n,c,h,w]
    DLTensor* y;                  // out    T[n,c,out_h,out_w]
    int64_t kernel[2];            // int2
    int64_t stride[2];            // int2 usually 0
    int64_t padding[2];           // int2 usually 0
    int64_t ceil_mode;            // bool usually 0
    int64_t count_include_pad;    // bool usually 1
    int64_t divisor;              // usually 0
} lc_avg_pool2d_forward_args;

// dx = the sum of dy over the number of elements for each window that holds x; of x only the shape counts
typedef struct lc_avg_pool2d_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     real[n,c,out_h,out_w]
    const DLTensor* x;            // in     T[n,c,h,w]
    DLTensor* dx;                 // out    T[n,c,h,w]
    int64_t kernel[2];            // int2
    int64_t stride[2];            // int2 usually 0
    int64_t padding[2];           // int2 usually 0
    int64_t ceil_mode;            // bool usually 0
    int64_t count_include_pad;    // bool usually 1
    int64_t divisor;              // usually 0
} lc_avg_pool2d_backward_args;

// p and its momentum b after SGD's step number step, from 1; b is needed with momentum, and only then
typedef struct lc_sgd_step_args {
    LC_CALL_FIELDS
    DLTensor* p;                  // in/out float[*]
    const DLTensor* g;            // in     T[*]
    DLTensor* b;                  // in/out acc[*], or NULL
    double lr;
    int64_t step;
    double momentum;              // usually 0
    double dampening;             // usually 0
    double weight_decay;          // usually 0
    int64_t nesterov;             // bool usually 0
} lc_sgd_step_args;

// y = conv2d_backward's dx of x with the filters w, + b per channel
typedef struct lc_conv_transpose2d_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     real[n,k,h,w]
    const DLTensor* w;            // in     T[k,group_c,r,s]
    const DLTensor* b;            // in     T[c], or NULL
    DLTensor* y;                  // out    T[n,c,out_h,out_w]
    int64_t stride[2];            // int2 usually 1
    int64_t padding[2];           // int2 usually 0
    int64_t output_padding[2];    // int2 usually 0
    int64_t dilation[2];          // int2 usually 1
    int64_t groups;               // usually 1
} lc_conv_transpose2d_forward_args;

// the gradients of conv_transpose2d_forward
typedef struct lc_conv_transpose2d_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dy;           // in     real[n,c,out_h,out_w]
    const DLTensor* x;            // in     T[n,k,h,w]
    const DLTensor* w;            // in     T[k,group_c,r,s]
    DLTensor* dx;                 // out    T[n,k,h,w], or NULL
    DLTensor* dw;                 // out    T[k,group_c,r,s], or NULL
    DLTensor* db;                 // out    T[c], or NULL
    int64_t stride[2];            // int2 usually 1
    int64_t padding[2];           // int2 usually 0
    int64_t output_padding[2];    // int2 usually 0
    int64_t dilation[2];          // int2 usually 1
    int64_t groups;               // usually 1
} lc_conv_transpose2d_backward_args;

// loss = (x - target)^2, a number for each element
typedef struct lc_mse_loss_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     real[*]
    const DLTensor* target;       // in     T[*]
    DLTensor* loss;               // out    T[*]
} lc_mse_loss_forward_args;

// the gradients of mse_loss_forward
typedef struct lc_mse_loss_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dloss;        // in     real~[*]
    const DLTensor* x;            // in     T[*]
    const DLTensor* target;       // in     T[*]
    DLTensor* dx;                 // out    T[*], or NULL
    DLTensor* dtarget;            // out    T[*], or NULL
} lc_mse_loss_backward_args;

// loss = d^2 / (2 beta) where d = |x - target| < beta, else d - beta / 2; with beta 0 |x - target|
typedef struct lc_smooth_l1_loss_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     real[*]
    const DLTensor* target;       // in     T[*]
    DLTensor* loss;               // out    T[*]
    double beta;                  // usually 1
} lc_smooth_l1_loss_forward_args;

// the gradients of smooth_l1_loss_forward
typedef struct lc_smooth_l1_loss_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dloss;        // in     real~[*]
    const DLTensor* x;            // in     T[*]
    const DLTensor* target;       // in     T[*]
    DLTensor* dx;                 // out    T[*], or NULL
    DLTensor* dtarget;            // out    T[*], or NULL
    double beta;                  // usually 1
} lc_smooth_l1_loss_backward_args;

// loss = d^2 / 2 where d = |x - target| <= delta, else delta (d - delta / 2)
typedef struct lc_huber_loss_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     real[*]
    const DLTensor* target;       // in     T[*]
    DLTensor* loss;               // out    T[*]
    double delta;                 // usually 1
} lc_huber_loss_forward_args;

// the gradients of huber_loss_forward
typedef struct lc_huber_loss_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dloss;        // in     real~[*]
    const DLTensor* x;            // in     T[*]
    const DLTensor* target;       // in     T[*]
    DLTensor* dx;                 // out    T[*], or NULL
    DLTensor* dtarget;            // out    T[*], or NULL
    double delta;                 // usually 1
} lc_huber_loss_backward_args;

// loss = weight ((1 - target) x + (1 + (pos_weight - 1) target) log(1 + exp(-x)))
typedef struct lc_binary_cross_entropy_with_logits_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     real[*]
    const DLTensor* target;       // in     T[*]
    const DLTensor* weight;       // in     T[*], or NULL
    const DLTensor* pos_weight;   // in     T[*], or NULL
    DLTensor* loss;               // out    T[*]
} lc_binary_cross_entropy_with_logits_forward_args;

// the gradients of binary_cross_entropy_with_logits_forward
typedef struct lc_binary_cross_entropy_with_logits_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dloss;        // in     real~[*]
    const DLTensor* x;            // in     T[*]
    const DLTensor* target;       // in     T[*]
    const DLTensor* weight;       // in     T[*], or NULL
    const DLTensor* pos_weight;   // in     T[*], or NULL
    DLTensor* dx;                 // out    T[*], or NULL
    DLTensor* dtarget;            // out    T[*], or NULL
} lc_binary_cross_entropy_with_logits_backward_args;

// loss = target (log target - x), 0 where target is; of a logarithm exp(target) (target - x)
typedef struct lc_kl_div_forward_args {
    LC_CALL_FIELDS
    const DLTensor* x;            // in     real[*]
    const DLTensor* target;       // in     T[*]
    DLTensor* loss;               // out    T[*]
    int64_t log_target;           // bool usually 0
} lc_kl_div_forward_args;

// the gradients of kl_div_forward
typedef struct lc_kl_div_backward_args {
    LC_CALL_FIELDS
    const DLTensor* dloss;        // in     real~[*]
    const DLTensor* x;            // in     T[*]
    const DLTensor* target;       // in     T[*]
    DLTensor* dx;                 // out    T[*], or NULL
    DLTensor* dtarget;            // out    T[*], or NULL
    int64_t log_target;           // bool usually 0
} lc_kl_div_backward_args;

// adamw_step with weight_decay p added to the gradient instead
typedef struct lc_adam_step_args {
    LC_CALL_FIELDS
    DLTensor* p;                  // in/out float[*]
    const DLTensor* g;            // in     T[*]
    DLTensor* m;                  // in/out acc[*]
    DLTensor* v;                  // in/out acc[*]
    DLTensor* top;                // in/out acc[*], or NULL
    double lr;
    int64_t step;
    double beta1;                 // usually 0.9
    double beta2;                 // usually 0.999
    double eps;                   // usually 1e-8
    double weight_decay;          // usually 0
} lc_adam_step_args;

// p, its mean square v, momentum b, which is needed with momentum and only then, and with a, the mean gradient, v centered
typedef struct lc_rmsprop_step_args {
    LC_CALL_FIELDS
    DLTensor* p;                  // in/out float[*]
    const DLTensor* g;            // in     T[*]
    DLTensor* v;                  // in/out acc[*]
    DLTensor* b;                  // in/out acc[*], or NULL
    DLTensor* a;                  // in/out acc[*], or NULL
    double lr;
    double alpha;                 // usually 0.99
    double eps;                   // usually 1e-8
    double weight_decay;          // usually 0
    double momentum;              // usually 0
} lc_rmsprop_step_args;

static inline lc_status lc_matmul_forward(const lc_matmul_forward_args* args) { return lc_run(LC_MATMUL_FORWARD, args); }
static inline lc_status lc_matmul_backward(const lc_matmul_backward_args* args) { return lc_run(LC_MATMUL_BACKWARD, args); }
static inline lc_status lc_linear_forward(const lc_linear_forward_args* args) { return lc_run(LC_LINEAR_FORWARD, args); }
static inline lc_status lc_linear_backward(const lc_linear_backward_args* args) { return lc_run(LC_LINEAR_BACKWARD, args); }
static inline lc_status lc_conv2d_forward(const lc_conv2d_forward_args* args) { return lc_run(LC_CONV2D_FORWARD, args); }
static inline lc_status lc_conv2d_backward(const lc_conv2d_backward_args* args) { return lc_run(LC_CONV2D_BACKWARD, args); }
static inline lc_status lc_softmax_forward(const lc_softmax_forward_args* args) { return lc_run(LC_SOFTMAX_FORWARD, args); }
static inline lc_status lc_softmax_backward(const lc_softmax_backward_args* args) { return lc_run(LC_SOFTMAX_BACKWARD, args); }
static inline lc_status lc_layer_norm_forward(const lc_layer_norm_forward_args* args) { return lc_run(LC_LAYER_NORM_FORWARD, args); }
static inline lc_status lc_layer_norm_backward(const lc_layer_norm_backward_args* args) { return lc_run(LC_LAYER_NORM_BACKWARD, args); }
static inline lc_status lc_rms_norm_forward(const lc_rms_norm_forward_args* args) { return lc_run(LC_RMS_NORM_FORWARD, args); }
static inline lc_status lc_rms_norm_backward(const lc_rms_norm_backward_args* args) { return lc_run(LC_RMS_NORM_BACKWARD, args); }
static inline lc_status lc_attention_forward(const lc_attention_forward_args* args) { return lc_run(LC_ATTENTION_FORWARD, args); }
static inline lc_status lc_attention_backward(const lc_attention_backward_args* args) { return lc_run(LC_ATTENTION_BACKWARD, args); }
static inline lc_status lc_cross_entropy_forward(const lc_cross_entropy_forward_args* args) { return lc_run(LC_CROSS_ENTROPY_FORWARD, args); }
static inline lc_status lc_cross_entropy_backward(const lc_cross_entropy_backward_args* args) { return lc_run(LC_CROSS_ENTROPY_BACKWARD, args); }
static inline lc_status lc_gelu_forward(const lc_gelu_forward_args* args) { return lc_run(LC_GELU_FORWARD, args); }
static inline lc_status lc_gelu_backward(const lc_gelu_backward_args* args) { return lc_run(LC_GELU_BACKWARD, args); }
static inline lc_status lc_relu_forward(const lc_relu_forward_args* args) { return lc_run(LC_RELU_FORWARD, args); }
static inline lc_status lc_relu_backward(const lc_relu_backward_args* args) { return lc_run(LC_RELU_BACKWARD, args); }
static inline lc_status lc_adamw_step(const lc_adamw_step_args* args) { return lc_run(LC_ADAMW_STEP, args); }
static inline lc_status lc_silu_forward(const lc_silu_forward_args* args) { return lc_run(LC_SILU_FORWARD, args); }
static inline lc_status lc_silu_backward(const lc_silu_backward_args* args) { return lc_run(LC_SILU_BACKWARD, args); }
static inline lc_status lc_sigmoid_forward(const lc_sigmoid_forward_args* args) { return lc_run(LC_SIGMOID_FORWARD, args); }
static inline lc_status lc_sigmoid_backward(const lc_sigmoid_backward_args* args) { return lc_run(LC_SIGMOID_BACKWARD, args); }
static inline lc_status lc_tanh_forward(const lc_tanh_forward_args* args) { return lc_run(LC_TANH_FORWARD, args); }
static inline lc_status lc_tanh_backward(const lc_tanh_backward_args* args) { return lc_run(LC_TANH_BACKWARD, args); }
static inline lc_status lc_batch_norm_forward(const lc_batch_norm_forward_args* args) { return lc_run(LC_BATCH_NORM_FORWARD, args); }
static inline lc_status lc_batch_norm_backward(const lc_batch_norm_backward_args* args) { return lc_run(LC_BATCH_NORM_BACKWARD, args); }
static inline lc_status lc_max_pool2d_forward(const lc_max_pool2d_forward_args* args) { return lc_run(LC_MAX_POOL2D_FORWARD, args); }
static inline lc_status lc_max_pool2d_backward(const lc_max_pool2d_backward_args* args) { return lc_run(LC_MAX_POOL2D_BACKWARD, args); }
static inline lc_status lc_dropout_forward(const lc_dropout_forward_args* args) { return lc_run(LC_DROPOUT_FORWARD, args); }
static inline lc_status lc_dropout_backward(const lc_dropout_backward_args* args) { return lc_run(LC_DROPOUT_BACKWARD, args); }
static inline lc_status lc_linear_relu_forward(const lc_linear_relu_forward_args* args) { return lc_run(LC_LINEAR_RELU_FORWARD, args); }
static inline lc_status lc_linear_relu_backward(const lc_linear_relu_backward_args* args) { return lc_run(LC_LINEAR_RELU_BACKWARD, args); }
static inline lc_status lc_linear_gelu_forward(const lc_linear_gelu_forward_args* args) { return lc_run(LC_LINEAR_GELU_FORWARD, args); }
static inline lc_status lc_linear_gelu_backward(const lc_linear_gelu_backward_args* args) { return lc_run(LC_LINEAR_GELU_BACKWARD, args); }
static inline lc_status lc_linear_silu_forward(const lc_linear_silu_forward_args* args) { return lc_run(LC_LINEAR_SILU_FORWARD, args); }
static inline lc_status lc_linear_silu_backward(const lc_linear_silu_backward_args* args) { return lc_run(LC_LINEAR_SILU_BACKWARD, args); }
static inline lc_status lc_leaky_relu_forward(const lc_leaky_relu_forward_args* args) { return lc_run(LC_LEAKY_RELU_FORWARD, args); }
static inline lc_status lc_leaky_relu_backward(const lc_leaky_relu_backward_args* args) { return lc_run(LC_LEAKY_RELU_BACKWARD, args); }
static inline lc_status lc_elu_forward(const lc_elu_forward_args* args) { return lc_run(LC_ELU_FORWARD, args); }
static inline lc_status lc_elu_backward(const lc_elu_backward_args* args) { return lc_run(LC_ELU_BACKWARD, args); }
static inline lc_status lc_softplus_forward(const lc_softplus_forward_args* args) { return lc_run(LC_SOFTPLUS_FORWARD, args); }
static inline lc_status lc_softplus_backward(const lc_softplus_backward_args* args) { return lc_run(LC_SOFTPLUS_BACKWARD, args); }
static inline lc_status lc_group_norm_forward(const lc_group_norm_forward_args* args) { return lc_run(LC_GROUP_NORM_FORWARD, args); }
static inline lc_status lc_group_norm_backward(const lc_group_norm_backward_args* args) { return lc_run(LC_GROUP_NORM_BACKWARD, args); }
static inline lc_status lc_rotary_embedding_forward(const lc_rotary_embedding_forward_args* args) { return lc_run(LC_ROTARY_EMBEDDING_FORWARD, args); }
static inline lc_status lc_rotary_embedding_backward(const lc_rotary_embedding_backward_args* args) { return lc_run(LC_ROTARY_EMBEDDING_BACKWARD, args); }
static inline lc_status lc_embedding_forward(const lc_embedding_forward_args* args) { return lc_run(LC_EMBEDDING_FORWARD, args); }
static inline lc_status lc_embedding_backward(const lc_embedding_backward_args* args) { return lc_run(LC_EMBEDDING_BACKWARD, args); }
static inline lc_status lc_avg_pool2d_forward(const lc_avg_pool2d_forward_args* args) { return lc_run(LC_AVG_POOL2D_FORWARD, args); }
static inline lc_status lc_avg_pool2d_backward(const lc_avg_pool2d_backward_args* args) { return lc_run(LC_AVG_POOL2D_BACKWARD, args); }
static inline lc_status lc_sgd_step(const lc_sgd_step_args* args) { return lc_run(LC_SGD_STEP, args); }
static inline lc_status lc_conv_transpose2d_forward(const lc_conv_transpose2d_forward_args* args) { return lc_run(LC_CONV_TRANSPOSE2D_FORWARD, args); }
static inline lc_status lc_conv_transpose2d_backward(const lc_conv_transpose2d_backward_args* args) { return lc_run(LC_CONV_TRANSPOSE2D_BACKWARD, args); }
static inline lc_status lc_mse_loss_forward(const lc_mse_loss_forward_args* args) { return lc_run(LC_MSE_LOSS_FORWARD, args); }
static inline lc_status lc_mse_loss_backward(const lc_mse_loss_backward_args* args) { return lc_run(LC_MSE_LOSS_BACKWARD, args); }
static inline lc_status lc_smooth_l1_loss_forward(const lc_smooth_l1_loss_forward_args* args) { return lc_run(LC_SMOOTH_L1_LOSS_FORWARD, args); }
static inline lc_status lc_smooth_l1_loss_backward(const lc_smooth_l1_loss_backward_args* args) { return lc_run(LC_SMOOTH_L1_LOSS_BACKWARD, args); }
static inline lc_status lc_huber_loss_forward(const lc_huber_loss_forward_args* args) { return lc_run(LC_HUBER_LOSS_FORWARD, args); }
static inline lc_status lc_huber_loss_backward(const lc_huber_loss_backward_args* args) { return lc_run(LC_HUBER_LOSS_BACKWARD, args); }
static inline lc_status lc_binary_cross_entropy_with_logits_forward(const lc_binary_cross_entropy_with_logits_forward_args* args) { return lc_run(LC_BINARY_CROSS_ENTROPY_WITH_LOGITS_FORWARD, args); }
static inline lc_status lc_binary_cross_entropy_with_logits_backward(const lc_binary_cross_entropy_with_logits_backward_args* args) { return lc_run(LC_BINARY_CROSS_ENTROPY_WITH_LOGITS_BACKWARD, args); }
static inline lc_status lc_kl_div_forward(const lc_kl_div_forward_args* args) { return lc_run(LC_KL_DIV_FORWARD, args); }
static inline lc_status lc_kl_div_backward(const lc_kl_div_backward_args* args) { return lc_run(LC_KL_DIV_BACKWARD, args); }
static inline lc_status lc_adam_step(const lc_adam_step_args* args) { return lc_run(LC_ADAM_STEP, args); }
static inline lc_status lc_rmsprop_step(const lc_rmsprop_step_args* args) { return lc_run(LC_RMSPROP_STEP, args); }

// For what is made of every kernel: littlecore.hpp's functions.
#define LC_EACH_KERNEL(X) X(matmul_forward, LC_MATMUL_FORWARD) X(matmul_backward, LC_MATMUL_BACKWARD) X(linear_forward, LC_LINEAR_FORWARD) X(linear_backward, LC_LINEAR_BACKWARD) X(conv2d_forward, LC_CONV2D_FORWARD) X(conv2d_backward, LC_CONV2D_BACKWARD) X(softmax_forward, LC_SOFTMAX_FORWARD) X(softmax_backward, LC_SOFTMAX_BACKWARD) X(layer_norm_forward, LC_LAYER_NORM_FORWARD) X(layer_norm_backward, LC_LAYER_NORM_BACKWARD) X(rms_norm_forward, LC_RMS_NORM_FORWARD) X(rms_norm_backward, LC_RMS_NORM_BACKWARD) X(attention_forward, LC_ATTENTION_FORWARD) X(attention_backward, LC_ATTENTION_BACKWARD) X(cross_entropy_forward, LC_CROSS_ENTROPY_FORWARD) X(cross_entropy_backward, LC_CROSS_ENTROPY_BACKWARD) X(gelu_forward, LC_GELU_FORWARD) X(gelu_backward, LC_GELU_BACKWARD) X(relu_forward, LC_RELU_FORWARD) X(relu_backward, LC_RELU_BACKWARD) X(adamw_step, LC_ADAMW_STEP) X(silu_forward, LC_SILU_FORWARD) X(silu_backward, LC_SILU_BACKWARD) X(sigmoid_forward, LC_SIGMOID_FORWARD) X(sigmoid_backward, LC_SIGMOID_BACKWARD) X(tanh_forward, LC_TANH_FORWARD) X(tanh_backward, LC_TANH_BACKWARD) X(batch_norm_forward, LC_BATCH_NORM_FORWARD) X(batch_norm_backward, LC_BATCH_NORM_BACKWARD) X(max_pool2d_forward, LC_MAX_POOL2D_FORWARD) X(max_pool2d_backward, LC_MAX_POOL2D_BACKWARD) X(dropout_forward, LC_DROPOUT_FORWARD) X(dropout_backward, LC_DROPOUT_BACKWARD) X(linear_relu_forward, LC_LINEAR_RELU_FORWARD) X(linear_relu_backward, LC_LINEAR_RELU_BACKWARD) X(linear_gelu_forward, LC_LINEAR_GELU_FORWARD) X(linear_gelu_backward, LC_LINEAR_GELU_BACKWARD) X(linear_silu_forward, LC_LINEAR_SILU_FORWARD) X(linear_silu_backward, LC_LINEAR_SILU_BACKWARD) X(leaky_relu_forward, LC_LEAKY_RELU_FORWARD) X(leaky_relu_backward, LC_LEAKY_RELU_BACKWARD) X(elu_forward, LC_ELU_FORWARD) X(elu_backward, LC_ELU_BACKWARD) X(softplus_forward, LC_SOFTPLUS_FORWARD) X(softplus_backward, LC_SOFTPLUS_BACKWARD) X(group_norm_forward, LC_GROUP_NORM_FORWARD) X(group_norm_backward, LC_GROUP_NORM_BACKWARD) X(rotary_embedding_forward, LC_ROTARY_EMBEDDING_FORWARD) X(rotary_embedding_backward, LC_ROTARY_EMBEDDING_BACKWARD) X(embedding_forward, LC_EMBEDDING_FORWARD) X(embedding_backward, LC_EMBEDDING_BACKWARD) X(avg_pool2d_forward, LC_AVG_POOL2D_FORWARD) X(avg_pool2d_backward, LC_AVG_POOL2D_BACKWARD) X(sgd_step, LC_SGD_STEP) X(conv_transpose2d_forward, LC_CONV_TRANSPOSE2D_FORWARD) X(conv_transpose2d_backward, LC_CONV_TRANSPOSE2D_BACKWARD) X(mse_loss_forward, LC_MSE_LOSS_FORWARD) X(mse_loss_backward, LC_MSE_LOSS_BACKWARD) X(smooth_l1_loss_forward, LC_SMOOTH_L1_LOSS_FORWARD) X(smooth_l1_loss_backward, LC_SMOOTH_L1_LOSS_BACKWARD) X(huber_loss_forward, LC_HUBER_LOSS_FORWARD) X(huber_loss_backward, LC_HUBER_LOSS_BACKWARD) X(binary_cross_entropy_with_logits_forward, LC_BINARY_CROSS_ENTROPY_WITH_LOGITS_FORWARD) X(binary_cross_entropy_with_logits_backward, LC_BINARY_CROSS_ENTROPY_WITH_LOGITS_BACKWARD) X(kl_div_forward, LC_KL_DIV_FORWARD) X(kl_div_backward, LC_KL_DIV_BACKWARD) X(adam_step, LC_ADAM_STEP) X(rmsprop_step, LC_RMSPROP_STEP)

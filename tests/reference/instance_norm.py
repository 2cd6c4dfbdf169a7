"""instance_norm: group_norm with one channel a group; its running statistics are those of batch_norm, per sample."""

from reference.group_norm import group_norm_backward, group_norm_backward_size, group_norm_forward


def instance_norm_forward(x, w=1, b=0, eps=1e-5):
    return group_norm_forward(x, x.shape[1], w, b, eps)


def instance_norm_backward(dy, x, w=1, eps=1e-5):
    return group_norm_backward(dy, x, x.shape[1], w, eps)


def instance_norm_backward_size(dy, x, w=1, eps=1e-5):
    return group_norm_backward_size(dy, x, x.shape[1], w, eps)


def sample_statistics(x):
    """Mean over the samples of each one's mean and unbiased variance, per channel."""
    rows = x.reshape(*x.shape[:2], -1)
    return rows.mean(axis=-1).mean(axis=0), rows.var(axis=-1, ddof=1).mean(axis=0)

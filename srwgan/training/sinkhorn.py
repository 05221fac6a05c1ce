"""Entropic optimal transport in the log domain: Sinkhorn's plan between two weightings, and a loss between point sets.

The regularized problem is min <P, M> + reg * KL(P | a b^T) over plans P with row sums a and column sums b
(Cuturi 2013, "Sinkhorn Distances"). `reg` has the unit of the cost M; a smaller one is closer to exact transport and
needs more iterations. Arguments whose values are unknown while a `tf.function` is traced are checked for shape only.
"""

import numbers

import numpy as np
import tensorflow as tf

SUM_TOLERANCE = 1e-5  # what rounding to float32 leaves of a sum of 1


def log_sinkhorn(M, reg, num_iters, a=None, b=None, threshold=None):
    """Logarithm of the entropic transport plan for one cost matrix or a batch of them.

    Differentiable in M, reg, a and b through the iterations: the gradient is that of the plan returned, converged or
    not, and memory grows with num_iters. Where only a distance is wanted, `sinkhorn_divergence` is cheaper.

    Args:
        M: costs, (n, m) or (B, n, m). float64 is kept; any other type is computed and returned in float32.
        reg: strength of the entropy, > 0, in the unit of M.
        num_iters: (largest) number of iterations, an int >= 1. Each scales the columns, then the rows.
        a, b: weights (not logarithms) of rows and columns, >= 0 and with sum 1: (n,) and (m,), or (B, n) and (B, m).
            None is uniform, 1/n and 1/m.
        threshold: stop a problem when its column sums are within this L1 distance of b. None runs every iteration.

    Returns:
        log P, of M's shape. Row sums of P are a up to rounding, column sums tend to b. A weight of 0 gives -inf.

    Raises:
        ValueError: a shape, weight, reg, num_iters or threshold that is not as above.
    """
    M = _as_float(M)
    u, v, _ = log_scalings(M, reg, num_iters, a, b, threshold)
    return u[..., :, None] + v[..., None, :] - M / _cast(reg, M.dtype)


def log_scalings(M, reg, num_iters, a=None, b=None, threshold=None):
    """Sinkhorn's iteration itself; arguments and errors as in `log_sinkhorn`.

    Returns:
        u (n,) or (B, n) and v (m,) or (B, m), with log P = u_i + v_j - M_ij / reg; and the int32 number of iterations
        that each problem took, () or (B,).
    """
    M = _as_float(M)
    if M.shape.rank not in (2, 3) or 0 in M.shape:
        raise ValueError(f"Received: M of shape {M.shape}. Expected (n, m) or (B, n, m), no axis empty.")
    reg = _checked_reg(reg, M.dtype)
    _check_stopping(num_iters, threshold)
    log_kernel = -M / reg
    log_a = tf.math.log(_weights(a, "a", M[..., 0]))
    b = _weights(b, "b", M[..., 0, :])
    log_b = tf.math.log(b)

    def step(_, state):
        _, _, log_column = state
        v = log_b - log_column
        u = log_a - tf.reduce_logsumexp(log_kernel + v[..., None, :], axis=-1)
        # The sums that the next iteration divides by also tell how far this one's plan is from b.
        log_column = tf.reduce_logsumexp(log_kernel + u[..., :, None], axis=-2)
        error = tf.reduce_sum(tf.abs(tf.exp(v + log_column) - b), axis=-1)
        return (u, v, log_column), error

    start = (tf.zeros_like(log_a), tf.zeros_like(log_b), tf.reduce_logsumexp(log_kernel, axis=-2))
    (u, v, _), iterations = _iterate(step, start, num_iters, threshold)
    return u, v, iterations


def sinkhorn_divergence(x, y, reg, num_iters, a=None, b=None, threshold=None):
    """Debiased entropic transport cost OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2 between point sets (Feydy et al. 2019).

    The cost is the squared Euclidean distance (not halved), and OT the optimum of the dual problem, entropy included.
    So a set is at 0 from itself (the same list of points to the last bit, a reordered one up to rounding), and, once
    converged, any other at more.

    The gradient in x, y, a, b and reg is taken by the envelope theorem: the dual potentials count as constants, so that
    nothing flows through the iterations and memory does not grow with their number. It is exact at convergence, and as
    far from exact as the potentials before it. That in a and b is meant for weights that keep their sum.

    Args:
        x, y: points, (n, d) and (m, d), or batches (B, n, d) and (B, m, d). float64 is kept; any other type is computed
            and returned in float32.
        reg: strength of the entropy, > 0, in squared units of the points.
        num_iters: (largest) number of iterations, an int >= 1. The first half anneals from the largest cost to reg,
            which at a reg of a hundredth of the cost is an order of magnitude nearer the limit after 50.
        a, b: weights of the points of x and of y, as in `log_sinkhorn`.
        threshold: stop a problem, after that half, when its plan's marginals are within this L1 distance of a and b.

    Returns:
        The divergence, () or (B,).

    Raises:
        ValueError: a shape, weight, reg, num_iters or threshold that is not as above.
    """
    x, y = _as_float(x), _as_float(y)
    _check_points(x, y)
    reg = _checked_reg(reg, x.dtype)
    _check_stopping(num_iters, threshold)
    a, b = _weights(a, "a", x[..., 0]), _weights(b, "b", y[..., 0])

    # Distances do not change under a shift, and small coordinates lose fewer digits in |x|^2 + |y|^2 - 2 x.y.
    center = tf.stop_gradient(tf.reduce_mean(x, axis=-2, keepdims=True))
    x, y = x - center, y - center
    from_x, from_y = _doubled_potentials((x, y), (a, b), reg, num_iters, threshold)
    (self_x,) = _doubled_potentials((x,), (a,), reg, num_iters, threshold)
    (self_y,) = _doubled_potentials((y,), (b,), reg, num_iters, threshold)
    return (tf.reduce_sum(a * (from_x - self_x), axis=-1) + tf.reduce_sum(b * (from_y - self_y), axis=-1)) / 2


def _doubled_potentials(points, weights, reg, num_iters, threshold):
    """Twice the dual potentials f, g of OT(x, y) for points (x, y), or f of OT(x, x) for points (x,), where g = f.

    So OT(x, y) = (<a, first> + <b, second>) / 2, and OT(x, x) = <a, first>.
    """
    # The transposed cost is computed, not transposed: for x = y it then has the very bits of the self-cost.
    costs = [_squared_distances(one, other) for one, other in zip(points, reversed(points), strict=True)]
    log_weights = [tf.math.log(tf.stop_gradient(w)) for w in weights]
    fixed = tf.nest.map_structure(tf.stop_gradient, (costs, list(weights), log_weights, reg))
    potentials = [tf.stop_gradient(f) for f in _averaged_potentials(*fixed, num_iters, threshold)]
    # The envelope theorem: only the last half step on each side, which makes one marginal exact, is differentiated.
    return [f + target for f, target in zip(potentials, _half_steps(costs, potentials, log_weights, reg), strict=True)]


def _averaged_potentials(costs, weights, log_weights, reg, num_iters, threshold):
    """The potentials after Feydy's symmetric iteration with annealing, one per side."""
    first_reg = tf.maximum(tf.reduce_max(costs[0], axis=(-2, -1)), reg)
    annealing = max(1, num_iters // 2)

    def step(i, potentials):
        # Both sides at once, each averaged with its past: f = g stays so where x = y, and no plan's mass runs away.
        share = tf.cast(i, reg.dtype) / annealing
        step_reg = tf.where(i < annealing, first_reg * (reg / first_reg) ** share, reg)
        targets = _half_steps(costs, potentials, log_weights, step_reg)
        errors = [
            tf.reduce_sum(tf.math.multiply_no_nan(tf.abs(tf.exp((f - target) / step_reg[..., None]) - 1), w), axis=-1)
            for f, target, w in zip(potentials, targets, weights, strict=True)
        ]
        error = tf.where(i < annealing, tf.constant(float("inf"), reg.dtype), tf.reduce_max(errors, axis=0))
        return tuple((f + target) / 2 for f, target in zip(potentials, targets, strict=True)), error

    potentials, _ = _iterate(step, tuple(tf.zeros_like(w) for w in weights), num_iters, threshold)
    return potentials


def _half_steps(costs, potentials, log_weights, reg):
    """On each side, the potential that is best against the other side's."""
    sides = zip(costs, reversed(potentials), reversed(log_weights), strict=True)
    return [_soft_minimum(cost, opposite, log_w, reg) for cost, opposite, log_w in sides]


def _soft_minimum(cost, potential, log_weights, reg):
    """-reg log sum_j w_j exp((g_j - C_ij) / reg): (..., n, m), (..., m), (..., m), () or (B,) -> (..., n)."""
    exponents = (potential[..., None, :] - cost) / reg[..., None, None] + log_weights[..., None, :]
    return -reg[..., None] * tf.reduce_logsumexp(exponents, axis=-1)


def _squared_distances(x, y):
    """(..., n, d), (..., m, d) -> (..., n, m), without an (n, m, d) array."""
    squares_x = tf.reduce_sum(x * x, axis=-1)[..., :, None]
    squares_y = tf.reduce_sum(y * y, axis=-1)[..., None, :]
    return squares_x + squares_y - 2 * tf.matmul(x, y, transpose_b=True)


def _iterate(step, state, num_iters, threshold):
    """Repeat `state, error = step(i, state)`; each problem of a batch stops by itself once its error is <= threshold.

    Returns the state, and the number of iterations that each problem took.
    """
    problems = state[0][..., 0]

    def body(i, active, iterations, state):
        new_state, error = step(i, state)
        iterations += tf.cast(active, tf.int32)
        if threshold is None:
            return i + 1, active, iterations, new_state
        # What has stopped stays as it is, so that a batch gives what its problems give one by one.
        state = tuple(tf.where(active[..., None], new, old) for new, old in zip(new_state, state, strict=True))
        return i + 1, active & (error > threshold), iterations, state

    loop = (0, tf.ones_like(problems, tf.bool), tf.zeros_like(problems, tf.int32), state)
    _, _, iterations, state = tf.while_loop(
        lambda i, active, *_: tf.reduce_any(active), body, loop, maximum_iterations=num_iters
    )
    return state, iterations


def _as_float(values):
    values = tf.convert_to_tensor(values)
    return values if values.dtype in (tf.float32, tf.float64) else tf.cast(values, tf.float32)


def _cast(values, dtype):
    # TensorFlow alone would take Python's floats through float32.
    return tf.cast(values if tf.is_tensor(values) else np.asarray(values), dtype)


def _checked_reg(reg, dtype):
    reg = _cast(reg, dtype)
    value = tf.get_static_value(reg)
    if reg.shape.rank != 0 or (value is not None and not 0 < value < float("inf")):
        raise ValueError(f"Received: reg={reg if value is None else value}. Expected one finite number above 0.")
    return reg


def _check_stopping(num_iters, threshold):
    if not isinstance(num_iters, numbers.Integral) or num_iters < 1:
        raise ValueError(f"Received: num_iters={num_iters!r}. Expected an int of 1 or more.")
    if threshold is not None and not threshold > 0:
        raise ValueError(f"Received: threshold={threshold!r}. Expected a number above 0, or None.")


def _check_points(x, y):
    shapes = x.shape, y.shape
    fits = x.dtype == y.dtype and x.shape.rank in (2, 3) and x.shape.rank == y.shape.rank
    fits = fits and 0 not in (*x.shape, *y.shape) and x.shape[-1:].is_compatible_with(y.shape[-1:])
    if not fits or not x.shape[:-2].is_compatible_with(y.shape[:-2]):
        raise ValueError(
            f"Received: x of shape {shapes[0]} and {x.dtype.name}, y of shape {shapes[1]} and {y.dtype.name}. "
            "Expected (n, d) and (m, d), or (B, n, d) and (B, m, d), of one type, no axis empty."
        )


def _weights(weights, name, like):
    """Weights of `like`'s shape, (n,) or (B, n), and type; uniform for None."""
    if weights is None:
        return tf.ones_like(like) / tf.cast(tf.shape(like)[-1], like.dtype)
    weights = _cast(weights, like.dtype)
    if not any(weights.shape.is_compatible_with(shape) for shape in (like.shape, like.shape[-1:])):
        raise ValueError(f"Received: {name} of shape {weights.shape}. Expected {like.shape} or {like.shape[-1:]}.")
    value = tf.get_static_value(weights)
    if value is not None and not ((value >= 0).all() and (abs(value.sum(axis=-1) - 1) <= SUM_TOLERANCE).all()):
        raise ValueError(
            f"Received: {name} with a smallest weight of {value.min()} and sums of {value.sum(axis=-1)}. "
            f"Expected weights of 0 or more with sum 1 (within {SUM_TOLERANCE})."
        )
    return tf.zeros_like(like) + weights

"""Sinkhorn's plan and divergence against closed forms, exact assignment, the POT library and finite differences."""

import numpy as np
import ot
import pytest
import tensorflow as tf
from scipy.optimize import linear_sum_assignment

from utils.OptimalTransport import log_scalings, log_sinkhorn, sinkhorn_divergence


@pytest.fixture
def rng():
    return np.random.default_rng(7)


# Compiled where hundreds of iterations are run.
fast_log_sinkhorn, fast_divergence = tf.function(log_sinkhorn), tf.function(sinkhorn_divergence)


def weights(rng, *shape):
    w = rng.uniform(0.5, 1.5, shape)
    return w / w.sum(axis=-1, keepdims=True)


def slope(function, values, direction, step=1e-5):
    """Central difference of a scalar function along a direction."""
    return (float(function(values + step * direction)) - float(function(values - step * direction))) / (2 * step)


def gradient(function, values):
    values = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = function(values)
    return tape.gradient(result, values).numpy()


# The plan


def test_two_by_two_closed_form():
    # [[0, c], [c, 0]], uniform: every entry of a row is proportional to exp(-M / reg), by symmetry.
    cost, reg = 0.7, 0.3
    plan = np.exp(log_sinkhorn(np.array([[0, cost], [cost, 0]]), reg, 5))
    stay = 0.5 / (1 + np.exp(-cost / reg))
    np.testing.assert_allclose(plan, [[stay, 0.5 - stay], [0.5 - stay, stay]], rtol=1e-12)


def test_two_by_two_closed_form_with_other_marginals():
    # Scaling rows and columns keeps the odds ratio p00 p11 / (p01 p10), which leaves a quadratic for p00.
    M, reg, a, b = np.array([[0.2, 1.0], [0.5, 0.1]]), 0.4, np.array([0.3, 0.7]), np.array([0.6, 0.4])
    odds = np.exp((M[0, 1] + M[1, 0] - M[0, 0] - M[1, 1]) / reg)
    linear = 1 - a[0] - b[0] + odds * (a[0] + b[0])
    p = (linear - np.sqrt(linear**2 - 4 * (odds - 1) * odds * a[0] * b[0])) / (2 * (odds - 1))
    plan = np.exp(log_sinkhorn(M, reg, 200, a, b))
    np.testing.assert_allclose(plan, [[p, a[0] - p], [b[0] - p, 1 - a[0] - b[0] + p]], rtol=1e-10)


def test_small_reg_gives_the_exact_assignment(rng):
    M = rng.random((8, 8))
    plan = np.exp(fast_log_sinkhorn(M, 1e-3, 5000))
    rows, columns = linear_sum_assignment(M)
    exact = np.zeros((8, 8))
    exact[rows, columns] = 1 / 8
    np.testing.assert_allclose(plan, exact, atol=1e-4)


@pytest.mark.parametrize("reg", [1.0, 0.05])
@pytest.mark.parametrize("uniform", [True, False])
def test_same_plan_as_pot(rng, reg, uniform):
    M = rng.random((9, 6))
    a, b = (None, None) if uniform else (weights(rng, 9), weights(rng, 6))
    full = (np.full(9, 1 / 9), np.full(6, 1 / 6)) if uniform else (a, b)
    expected = ot.bregman.sinkhorn_log(*full, M, reg, numItermax=5000, stopThr=1e-14, warn=False)
    np.testing.assert_allclose(np.exp(fast_log_sinkhorn(M, reg, 2000, a, b)), expected, rtol=1e-8)


def test_marginals_hold(rng):
    M, a, b = rng.random((3, 5, 7)), weights(rng, 3, 5), weights(rng, 7)
    plan = np.exp(log_sinkhorn(M, 0.1, 500, a, b))
    np.testing.assert_allclose(plan.sum(axis=2), a, rtol=1e-12)
    np.testing.assert_allclose(plan.sum(axis=1), np.broadcast_to(b, (3, 7)), rtol=1e-9)


@pytest.mark.parametrize("threshold", [None, 1e-4])
def test_batch_equals_one_by_one(rng, threshold):
    M, a, b = rng.random((4, 5, 6)) * np.array([0.1, 1, 3, 10])[:, None, None], weights(rng, 4, 5), weights(rng, 4, 6)
    together = log_sinkhorn(M, 0.2, 200, a, b, threshold)
    alone = [log_sinkhorn(M[k], 0.2, 200, a[k], b[k], threshold) for k in range(4)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_threshold_stops_each_problem_by_itself(rng):
    M = rng.random((3, 6, 6)) * np.array([0.0, 0.3, 2.0])[:, None, None]
    u, v, iterations = log_scalings(M, 0.1, 400, threshold=1e-6)
    plan = np.exp(u[:, :, None] + v[:, None, :] - M / 0.1)
    error = np.abs(plan.sum(axis=1) - 1 / 6).sum(axis=1)
    assert (error <= 1e-6).all()
    assert iterations[0] == 1 and 1 < iterations[1] < iterations[2] < 400
    for k in (1, 2):  # one iteration fewer would not have been enough
        before = np.exp(log_sinkhorn(M[k], 0.1, int(iterations[k]) - 1))
        assert np.abs(before.sum(axis=0) - 1 / 6).sum() > 1e-6
    _, _, iterations = log_scalings(M, 0.1, 5, threshold=1e-12)
    assert iterations.numpy().tolist()[1:] == [5, 5]
    _, _, iterations = log_scalings(M, 0.1, 7)
    assert iterations.numpy().tolist() == [7, 7, 7]


def test_plan_survives_a_reg_at_which_the_kernel_underflows():
    M = 1000 * np.abs(np.arange(4.0)[:, None] - np.arange(4.0)[None, :]).astype("float32")
    log_plan = log_sinkhorn(M, 1.0, 50)
    assert np.isfinite(log_plan).all()
    np.testing.assert_allclose(np.exp(log_plan), np.eye(4) / 4, atol=1e-6)


def test_weight_of_zero_moves_nothing(rng):
    M, a = rng.random((4, 3)), np.array([0.5, 0.0, 0.2, 0.3])
    plan = np.exp(log_sinkhorn(M, 0.2, 300, a))
    assert (plan[1] == 0).all()
    np.testing.assert_allclose(plan[[0, 2, 3]], np.exp(log_sinkhorn(M[[0, 2, 3]], 0.2, 300, a[[0, 2, 3]])), rtol=1e-9)


@pytest.mark.parametrize("num_iters, threshold", [(3, None), (100, None), (100, 1e-3)])
def test_plan_gradient_matches_finite_differences(rng, num_iters, threshold):
    M, a, b, score = rng.random((2, 4, 5)), weights(rng, 2, 4), weights(rng, 2, 5), rng.standard_normal((2, 4, 5))

    def of_cost(M):
        return tf.reduce_sum(score * tf.exp(log_sinkhorn(M, 0.3, num_iters, a, b, threshold)))

    def of_weights(a):
        return tf.reduce_sum(score * tf.exp(log_sinkhorn(M, 0.3, num_iters, a, b, threshold)))

    direction = rng.standard_normal(M.shape)
    assert np.sum(gradient(of_cost, M) * direction) == pytest.approx(slope(of_cost, M, direction), rel=1e-6)
    direction = rng.standard_normal(a.shape)
    direction -= direction.mean(axis=-1, keepdims=True)
    assert np.sum(gradient(of_weights, a) * direction) == pytest.approx(slope(of_weights, a, direction), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_plan_and_gradient_inside_tf_function(rng, dtype):
    M = rng.random((2, 4, 5)).astype(dtype)

    def plan(M):
        return tf.exp(log_sinkhorn(M, 0.3, 50, threshold=1e-3))

    def first_row(M):
        return tf.reduce_sum(plan(M)[:, 0] ** 2)

    signature = [tf.TensorSpec([None, None, None], dtype)]
    traced = tf.function(plan, signature)
    traced_gradient = tf.function(lambda M: tf.gradients(first_row(M), M), signature)
    assert traced(M).dtype == dtype
    tolerance = 1e-4 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(traced(M), plan(M), rtol=tolerance)
    np.testing.assert_allclose(traced_gradient(M)[0], gradient(first_row, M), rtol=tolerance, atol=tolerance / 100)


# The divergence


def entropic_cost(x, y, reg, a, b):
    """OT(x, y) from POT's plan: <P, C> + reg KL(P | a b^T)."""
    cost = ot.dist(x, y)
    plan = ot.bregman.sinkhorn_log(a, b, cost, reg, numItermax=20000, stopThr=1e-10, warn=False)
    return np.sum(plan * cost) + reg * np.sum(plan * np.log(plan / np.outer(a, b)))


@pytest.mark.parametrize("reg", [3.0, 1.0])
def test_divergence_matches_its_definition_with_pot(rng, reg):
    x, y, a, b = rng.standard_normal((12, 3)), rng.standard_normal((9, 3)) + 1, weights(rng, 12), weights(rng, 9)
    cross = entropic_cost(x, y, reg, a, b)
    expected = cross - entropic_cost(x, x, reg, a, a) / 2 - entropic_cost(y, y, reg, b, b) / 2
    assert float(fast_divergence(x, y, reg, 2000, a, b)) == pytest.approx(expected, rel=1e-7)


def test_divergence_of_single_points_is_their_squared_distance():
    assert float(sinkhorn_divergence([[1.0, 2.0]], [[4.0, 6.0]], 0.5, 10)) == pytest.approx(25, rel=1e-6)


def test_divergence_of_a_shifted_set_is_the_squared_shift(rng):
    # <x, shift> leaves the plan's problem unchanged, so only the shift's own cost is left.
    x, shift = rng.standard_normal((15, 2)), np.array([0.6, -0.8])
    assert float(fast_divergence(x, x + shift, 0.5, 2000)) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("num_iters, threshold", [(1, None), (20, None), (40, 0.1)])
def test_divergence_of_a_set_with_itself_is_exactly_zero(rng, dtype, num_iters, threshold):
    x = rng.standard_normal((2, 20, 7)).astype(dtype)
    assert (sinkhorn_divergence(x, x.copy(), 0.1, num_iters, threshold=threshold).numpy() == 0).all()


def test_divergence_of_a_large_set_with_itself_is_exactly_zero(rng):
    # At this size a matrix product of a set with itself need not be symmetric to the last bit.
    x = rng.standard_normal((333, 517))
    assert [float(sinkhorn_divergence(x, x.copy(), reg, 3)) for reg in (100.0, 300.0, 1000.0)] == [0, 0, 0]


def test_divergence_ignores_the_order_of_points(rng):
    x, y = rng.standard_normal((20, 4)), rng.standard_normal((20, 4))
    order = rng.permutation(20)
    assert abs(float(sinkhorn_divergence(x, x[order], 0.1, 30))) < 1e-12
    forth, back = sinkhorn_divergence(x, y, 0.1, 30), sinkhorn_divergence(y[order], x, 0.1, 30)
    assert float(forth) == pytest.approx(float(back), rel=1e-12)


def test_divergence_falls_as_sets_approach(rng):
    x, y = rng.standard_normal((20, 3)), rng.standard_normal((20, 3)) * 2 + 1
    values = [float(fast_divergence(x, x + share * (y - x), 0.2, 200)) for share in (1, 0.75, 0.5, 0.25, 0.1, 0)]
    assert all(one > other for one, other in zip(values, values[1:], strict=False))
    assert values[-1] == 0


def test_divergence_gradient_matches_finite_differences(rng):
    x, y, a, b = rng.standard_normal((6, 2)), rng.standard_normal((5, 2)) + 0.5, weights(rng, 6), weights(rng, 5)
    cases = [
        (lambda x: fast_divergence(x, y, 0.5, 500, a, b), x, rng.standard_normal(x.shape)),
        (lambda y: fast_divergence(x, y, 0.5, 500, a, b), y, rng.standard_normal(y.shape)),
        (lambda a: fast_divergence(x, y, 0.5, 500, a, b), a, np.array([1.0, -2, 0.5, 0, 0.5, 0])),
        (lambda reg: fast_divergence(x, y, reg, 500, a, b), np.array(0.5), np.array(1.0)),
    ]
    for function, values, direction in cases:
        expected = slope(function, values, direction)
        assert np.sum(gradient(function, values) * direction) == pytest.approx(expected, rel=1e-6)


def test_divergence_gradient_is_finite_with_a_weight_of_zero(rng):
    x, y, a = rng.standard_normal((4, 2)), rng.standard_normal((5, 2)), np.array([0.5, 0.0, 0.2, 0.3])
    kept = [0, 2, 3]
    slopes = gradient(lambda x: sinkhorn_divergence(x, y, 0.5, 40, a, threshold=0.01), x)
    expected = gradient(lambda x: sinkhorn_divergence(x, y, 0.5, 40, a[kept], threshold=0.01), x[kept])
    np.testing.assert_allclose(slopes[kept], expected, rtol=0.02)
    assert (slopes[1] == 0).all()
    assert np.isfinite(gradient(lambda a: sinkhorn_divergence(x, y, 0.5, 10, a), a)).all()


def test_divergence_descent_brings_sets_together(rng):
    x, y = tf.Variable(rng.standard_normal((10, 2))), rng.standard_normal((10, 2)) + 3

    @tf.function
    def descend():
        with tf.GradientTape() as tape:
            value = sinkhorn_divergence(x, y, 0.1, 100)
        x.assign_sub(4 * tape.gradient(value, x))
        return value

    first = float(descend())
    for _ in range(40):
        last = float(descend())
    assert last < 1e-3 * first


@pytest.mark.parametrize("threshold", [None, 0.05])
def test_divergence_batch_equals_one_by_one(rng, threshold):
    x, y = rng.standard_normal((3, 6, 2)) * np.array([0.1, 1, 3])[:, None, None], rng.standard_normal((3, 8, 2))
    together = sinkhorn_divergence(x, y, 0.3, 30, threshold=threshold)
    alone = [sinkhorn_divergence(x[k], y[k], 0.3, 30, threshold=threshold) for k in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_divergence_threshold_stops_early_and_near_the_limit(rng):
    x, y = rng.standard_normal((10, 2)), rng.standard_normal((10, 2)) + 1
    limit, stopped = fast_divergence(x, y, 0.5, 3000), sinkhorn_divergence(x, y, 0.5, 60, threshold=0.05)
    assert float(stopped) == pytest.approx(float(limit), rel=0.01)
    # Past the annealing half nothing but the threshold tells 60 iterations from 61 with the same annealing.
    assert float(stopped) == float(sinkhorn_divergence(x, y, 0.5, 61, threshold=0.05))
    assert float(stopped) != float(sinkhorn_divergence(x, y, 0.5, 60))


def test_narrow_types_are_computed_in_float32(rng):
    x, y = rng.standard_normal((6, 2)), rng.standard_normal((5, 2))
    assert sinkhorn_divergence(tf.cast(x, tf.bfloat16), tf.cast(y, tf.bfloat16), 0.5, 10).dtype == tf.float32
    assert log_sinkhorn(np.ones((2, 2), int), 1, 3).dtype == tf.float32


# What is refused


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"reg": 0}, "reg=0.0"),
        ({"reg": -1.0}, "reg=-1.0"),
        ({"reg": float("nan")}, "reg=nan"),
        ({"reg": [1.0, 2.0]}, "one finite number"),
        ({"num_iters": 0}, "num_iters=0"),
        ({"num_iters": 2.5}, "num_iters=2.5"),
        ({"threshold": 0}, "threshold=0"),
        ({"M": np.ones(3)}, r"M of shape \(3,\)"),
        ({"M": np.ones((1, 2, 3, 4))}, r"M of shape \(1, 2, 3, 4\)"),
        ({"M": np.ones((0, 3))}, r"M of shape \(0, 3\)"),
        ({"a": [0.5, 0.5]}, r"a of shape \(2,\). Expected \(3,\)"),
        ({"b": np.full((2, 4), 0.25)}, r"b of shape \(2, 4\). Expected \(4,\)"),
        ({"a": [0.5, 0.5, 0.5]}, "sums of 1.5"),
        ({"b": [0.5, 0.6, 0.2, -0.3]}, "smallest weight of -0.3"),
        ({"a": [0.5, float("nan"), 0.5]}, "sums of nan"),
    ],
)
def test_log_sinkhorn_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        log_sinkhorn(**{"M": np.ones((3, 4)), "reg": 1.0, "num_iters": 5, **arguments})


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"reg": 0}, "reg=0.0"),
        ({"num_iters": "5"}, "num_iters='5'"),
        ({"x": np.ones(3)}, r"x of shape \(3,\)"),
        ({"x": np.ones((3, 5))}, r"x of shape \(3, 5\)"),
        ({"x": np.ones((1, 3, 2))}, r"x of shape \(1, 3, 2\)"),
        ({"x": np.ones((2, 3, 2)), "y": np.ones((3, 3, 2))}, r"y of shape \(3, 3, 2\)"),
        ({"x": np.ones((0, 2))}, r"x of shape \(0, 2\)"),
        ({"x": np.ones((3, 2), "float32")}, "float32"),
        ({"a": [0.5, 0.5]}, r"a of shape \(2,\)"),
        ({"b": [1.0, 1, 1, 1]}, "sums of 4.0"),
    ],
)
def test_divergence_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        sinkhorn_divergence(**{"x": np.ones((3, 2)), "y": np.ones((4, 2)), "reg": 1.0, "num_iters": 5, **arguments})

"""Muon for hidden convolutions; what Adam does is in test_step.py."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.networks.generator import Generator
from srwgan.training.optimizers import GuardedMuon, build_optimizer, orthogonalized

RATE = 0.01


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def muon(**options):
    return build_optimizer(RATE, beta_1=0.9, beta_2=0.99, kind="muon", **options)


@pytest.mark.parametrize("shape", [(144, 16), (16, 144), (32, 32)])
def test_the_iteration_keeps_singular_vectors_and_brings_the_values_near_1(shape):
    left, values, right = np.linalg.svd(normal(shape), full_matrices=False)
    spread = np.geomspace(0.05, 1, len(values))
    made = orthogonalized(tf.constant(left * spread @ right)).numpy()
    found = np.einsum("ij,jk,ik->i", left.T, made, right)
    assert found.min() > 0.6 and found.max() < 1.3
    np.testing.assert_allclose(left * found @ right, made, atol=1e-3)


def test_a_hidden_convolution_steps_along_its_orthogonalized_nesterov_momentum():
    start, optimizer = normal((3, 3, 16, 32)), muon()
    kernel, momentum = keras.Variable(start), np.zeros((144, 32), np.float32)
    for step in range(3):
        gradient = normal(start.shape, step + 1)
        before = kernel.numpy()
        optimizer.apply([tf.constant(gradient)], [kernel])
        momentum = 0.95 * momentum + 0.05 * gradient.reshape(144, 32)
        left, _, right = np.linalg.svd(0.95 * momentum + 0.05 * gradient.reshape(144, 32), full_matrices=False)
        moved = (before - kernel.numpy()).reshape(144, 32)
        cosine = np.sum(moved * (left @ right)) / np.linalg.norm(moved) / np.linalg.norm(left @ right)
        assert cosine > 0.98
        assert np.sqrt(np.mean(moved**2)) == pytest.approx(0.2 * RATE, rel=0.2), "the size of a step of Adam"


@pytest.mark.parametrize("shape", [(7,), (3, 3, 3, 64), (3, 3, 16, 3), (1, 1, 1, 1)])
def test_all_else_is_stepped_by_adam(shape):
    ours, reference = muon(), build_optimizer(RATE, beta_1=0.9, beta_2=0.99)
    variables = [keras.Variable(normal(shape)) for _ in range(2)]
    for step in range(3):
        for optimizer, variable in zip((ours, reference), variables, strict=True):
            optimizer.apply([tf.constant(normal(shape, step + 1))], [variable])
    np.testing.assert_array_equal(*variables)


def test_a_step_that_is_not_finite_leaves_weights_and_momentum():
    optimizer, kernel = muon(), keras.Variable(normal((3, 3, 16, 16)))
    optimizer.apply([tf.constant(normal(kernel.shape, 1))], [kernel])
    before = [np.array(x) for x in (kernel, optimizer._momentums[0])]
    optimizer.apply([tf.fill(kernel.shape, float("nan"))], [kernel])
    for now, then in zip((kernel, optimizer._momentums[0]), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_gradient_of_zero_is_no_step():
    optimizer, kernel = muon(), keras.Variable(normal((3, 3, 16, 16)))
    optimizer.apply([tf.zeros(kernel.shape)], [kernel])
    np.testing.assert_array_equal(kernel, normal((3, 3, 16, 16)))


def test_a_generator_learns_faster_than_with_adam():
    """Both from the same start to the same target, at the rates of docs/recipe.md."""

    def loss_after(kind, rate):
        keras.utils.set_random_seed(0)
        generator = Generator(16, 2, 2)
        optimizer = build_optimizer(rate, schedule="cosine", total_steps=60, beta_1=0.9, beta_2=0.99, kind=kind)
        y, x = np.mgrid[:24, :24]
        high_res = tf.constant(np.sin(x * 1.1 + y * 0.7)[None, ..., None].repeat(3, -1), tf.float32)
        low_res = tf.nn.avg_pool2d(high_res, 2, 2, "VALID")

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.abs(generator(low_res, training=True) - high_res))
            optimizer.apply(tape.gradient(loss, generator.trainable_variables), generator.trainable_variables)
            return loss

        return float([step() for _ in range(60)][-1])

    assert loss_after("muon", 1e-3) < loss_after("adam", 4e-4)


def test_it_is_saved_and_loaded_by_name():
    config = keras.optimizers.serialize(muon())
    assert isinstance(keras.optimizers.deserialize(config), GuardedMuon)

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from srwgan.measuring.metrics import psnr
from srwgan.networks.discriminator import Discriminator
from srwgan.networks.generator import Generator, with_precision
from srwgan.pixels import downscale, to_pixels, to_range, upscale_bicubic
from srwgan.training.balancing import ADAPTIVE_BOUND, mask
from srwgan.training.losses import content_loss, lattice_loss
from srwgan.training.objective import Objective
from srwgan.training.optimizers import GuardedAdam, build_optimizer
from srwgan.training.patch_transport import pixel_patches, transport_loss
from srwgan.training.step import STEADY_KEY, StepOptions, Trainer
from tests.two_replicas import check_says_same

WEIGHTS = Objective(gpweight=5.0, cweight=0.3, advweight=0.7, rweight=2.0, latweight=0.4)
TERMS = tuple(WEIGHTS.weights("full"))


def hyperpixels(images):
    """Two layers of feature maps without a network."""
    return [tf.nn.avg_pool2d(images, 2, 2, "VALID") + 0.5, tf.square(images[:, ::2]) + 0.1]


TOLD = {"blocks": 1, "semantics": 4, "semantic_channels": 3}  # a discriminator that is told the last hyperpixels


def networks(policy="float32", seed=0, **critic):
    keras.utils.set_random_seed(seed)
    generator, discriminator = Generator(4, 1, 2, dtype=policy), Discriminator(4, dtype=policy, **critic)
    for name in ("semantics_projection", "block1_conv2") if critic else ():
        kernel = discriminator.get_layer(name).kernel
        kernel.assign(0.1 * keras.random.normal(kernel.shape))
    return generator, discriminator


def build(
    objective=WEIGHTS,
    rate=0.05,
    *,
    optimizer=keras.optimizers.SGD,
    policy="float32",
    strategy=None,
    critic=None,
    **options,
):
    generator, discriminator = networks(policy, **(critic or {}))
    return Trainer(
        generator,
        discriminator,
        average=with_precision(generator, policy),
        generator_optimizer=optimizer(rate),
        discriminator_optimizer=optimizer(rate),
        hyperpixels=hyperpixels,
        objective=objective,
        options=StepOptions(**options),
        strategy=strategy,
    )


def batch(number=4, draws=1, seed=0):
    random = np.random.default_rng(seed)
    low_res = random.uniform(-1, 1, (number, 8, 8, 3)).astype(np.float32)
    high_res = np.clip(low_res.repeat(2, 1).repeat(2, 2) + random.normal(0, 0.2, (number, 16, 16, 3)), -1, 1)
    return tuple(tf.constant(x, tf.float32) for x in (low_res, high_res, random.normal(0, 1, (number, draws))))


def state(trainer):
    """All that training changes."""
    optimizers = [*trainer.generator_optimizer.variables, *trainer.discriminator_optimizer.variables]
    networks = [trainer.generator, trainer.discriminator, trainer.average]
    return [
        np.array(v)
        for v in [w for network in networks for w in network.get_weights()]
        + optimizers
        + [*trainer.balance.running_norms.values(), *trainer.balance.adaptive.values(), trainer.weight_average.steps]
    ]


def assert_weights(network, expected, rtol=2e-4, atol=1e-6):
    for made, wanted in zip(network.get_weights(), expected, strict=True):
        np.testing.assert_allclose(made, wanted, rtol=rtol, atol=atol)


def sgd(network, loss, rate=0.05):
    """Weights after one plain descent step on `loss()`."""
    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, network.trainable_variables)
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        variable.assign(variable - rate * gradient)


def same(before, after):
    return all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def hand_critic_step(generator, discriminator, low_res, high_res, e, gpweight):
    fake = generator(low_res)

    def loss():
        x = high_res + e[:, None, None, None] * (fake - high_res)
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = tf.reduce_sum(discriminator(x))
        norms = tf.norm(tf.reshape(tape.gradient(score, x), (len(x), -1)), axis=1)
        penalty = tf.reduce_mean((norms - 1) ** 2)
        return tf.reduce_mean(discriminator(fake)) - tf.reduce_mean(discriminator(high_res)) + gpweight * penalty

    sgd(discriminator, loss)


@pytest.mark.parametrize("form", ["mse", "l1"])
def test_a_warm_up_step_descends_the_reconstruction_loss_alone(eagerly, form):
    low_res, high_res, e = batch()
    trainer = build(Objective(rweight=3.0, reconstruction=form))
    critic = trainer.discriminator.get_weights()
    metrics = trainer.train_batch((low_res, high_res, e), "warmup")

    generator, _ = networks()
    error = high_res - generator(low_res)
    expected = tf.reduce_mean(error**2 if form == "mse" else tf.abs(error))
    sgd(
        generator,
        lambda: (
            3
            * (
                tf.reduce_mean((generator(low_res) - high_res) ** 2)
                if form == "mse"
                else tf.reduce_mean(tf.abs(generator(low_res) - high_res))
            )
        ),
    )
    assert_weights(trainer.generator, generator.get_weights())
    assert same(critic, trainer.discriminator.get_weights())
    np.testing.assert_allclose(metrics["reconstruction"], expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["g_loss_total"], 3 * expected, rtol=1e-5)
    assert "adversarial" not in metrics and "d_loss" not in metrics


def test_a_warm_up_step_takes_the_share_of_the_luma(eagerly):
    low_res, high_res, e = batch()
    error = high_res - networks()[0](low_res)
    luma = tf.reduce_mean(tf.abs(tf.tensordot(error, [0.299, 0.587, 0.114], 1)))
    metrics = build(Objective(reconstruction="l1", luma=0.8)).train_batch((low_res, high_res, e), "warmup")
    np.testing.assert_allclose(metrics["reconstruction"], 0.2 * tf.reduce_mean(tf.abs(error)) + 0.8 * luma, rtol=1e-5)


@pytest.mark.parametrize(("edges", "mode"), [("mirrored", "symmetric"), ("repeated", "edge")])
@pytest.mark.parametrize("phase", ["warmup", "critic"])
def test_both_networks_are_trained_on_what_a_margin_gives(eagerly, phase, edges, mode):
    low_res, high_res, e = batch()
    trainer = build(Objective(cweight=0, rweight=1.0), margin=3, edges=edges)
    trainer.train_batch((low_res, high_res, e), phase)

    generator, discriminator = networks()
    padded = np.pad(low_res, [(0, 0), (3, 3), (3, 3), (0, 0)], mode=mode)
    if phase == "critic":
        hand_critic_step(lambda _: generator(padded)[:, 6:-6, 6:-6], discriminator, low_res, high_res, e[:, 0], 10.0)
    else:
        sgd(generator, lambda: tf.reduce_mean((generator(padded)[:, 6:-6, 6:-6] - high_res) ** 2))
    assert_weights(trainer.generator, generator.get_weights())
    assert_weights(trainer.discriminator, discriminator.get_weights())


def test_a_critic_step_descends_the_wasserstein_loss_with_the_penalty(eagerly):
    low_res, high_res, e = batch()
    trainer = build()
    before = [*trainer.generator.get_weights(), *trainer.average.get_weights()]
    metrics = trainer.train_batch((low_res, high_res, e), "critic")

    generator, discriminator = networks()
    wasserstein = tf.reduce_mean(discriminator(high_res)) - tf.reduce_mean(discriminator(generator(low_res)))
    hand_critic_step(generator, discriminator, low_res, high_res, e[:, 0], WEIGHTS.gpweight)
    assert_weights(trainer.discriminator, discriminator.get_weights())
    assert same(before, [*trainer.generator.get_weights(), *trainer.average.get_weights()])
    np.testing.assert_allclose(metrics["wasserstein"], wasserstein, rtol=1e-3, atol=1e-6)
    penalty = WEIGHTS.gpweight * metrics["gradient_penalty"]
    np.testing.assert_allclose(metrics["d_loss"], penalty - wasserstein, rtol=1e-3)
    assert "reconstruction" not in metrics


def hand_losses(generator, discriminator, low_res, high_res):
    fake = generator(low_res)
    return fake, {
        "adversarial": -tf.reduce_mean(discriminator(fake)),
        "reconstruction": tf.reduce_mean((fake - high_res) ** 2),
        "content": tf.reduce_mean(content_loss(hyperpixels(high_res), hyperpixels(fake))),
        "lattice": tf.reduce_mean(lattice_loss(high_res, fake, scale=2)),
    }


def test_a_full_step_trains_the_critic_then_the_generator_against_it(eagerly):
    low_res, high_res, e = batch()
    trainer = build()
    metrics = trainer.train_batch((low_res, high_res, e))

    generator, discriminator = networks()
    hand_critic_step(generator, discriminator, low_res, high_res, e[:, 0], WEIGHTS.gpweight)
    weights = WEIGHTS.weights("full")
    _, losses = hand_losses(generator, discriminator, low_res, high_res)
    for term in TERMS:
        np.testing.assert_allclose(metrics[term], losses[term], rtol=1e-3, atol=1e-6)
    total = sum(weights[term] * losses[term] for term in TERMS)
    np.testing.assert_allclose(metrics["g_loss_total"], total, rtol=1e-3, atol=1e-6)

    def loss():
        _, losses = hand_losses(generator, discriminator, low_res, high_res)
        return sum(weights[term] * losses[term] for term in TERMS)

    sgd(generator, loss)
    assert_weights(trainer.discriminator, discriminator.get_weights())
    assert_weights(trainer.generator, generator.get_weights())


def gradient_norms(generator, discriminator, low_res, high_res):
    """Of each term's gradient at the fake image, per image, meaned over the batch."""
    fake = generator(low_res)
    norms = {}
    for term in TERMS:
        with tf.GradientTape() as tape:
            tape.watch(fake)
            _, losses = hand_losses(lambda _: fake, discriminator, low_res, high_res)
        gradient = tf.reshape(tape.gradient(losses[term], fake), (len(fake), -1)) * len(fake)
        norms[term] = float(tf.reduce_mean(tf.norm(gradient, axis=1)))
    return norms


def test_the_critic_is_told_of_the_originals_and_no_gradient_reaches_the_classifier(eagerly):
    """Both steps against discriminators that get the originals' features as constants."""
    low_res, high_res, e = batch()
    trainer = build(critic=TOLD)
    bias = tf.Variable([0.0, 0.0, 0.0])  # a classifier's weight
    trainer.hyperpixels = lambda images: [maps + bias for maps in hyperpixels(images)]
    with tf.GradientTape() as tape:
        metrics = trainer.train_batch((low_res, high_res, e))
        total = metrics["gradient_penalty"] + metrics["adversarial"]
    assert not np.any(tape.gradient(total, bias, unconnected_gradients="zero"))

    generator, discriminator = networks(**TOLD)
    constant = hyperpixels(high_res)[-1]

    def told(images):
        return discriminator([images, constant])

    told.trainable_variables = discriminator.trainable_variables
    wasserstein = tf.reduce_mean(told(high_res)) - tf.reduce_mean(told(generator(low_res)))
    hand_critic_step(generator, told, low_res, high_res, e[:, 0], WEIGHTS.gpweight)
    np.testing.assert_allclose(metrics["wasserstein"], wasserstein, rtol=1e-3, atol=1e-6)
    _, losses = hand_losses(generator, told, low_res, high_res)
    for term in TERMS:
        np.testing.assert_allclose(metrics[term], losses[term], rtol=1e-3, atol=1e-6)

    def loss():
        _, losses = hand_losses(generator, told, low_res, high_res)
        return sum(weight * losses[term] for term, weight in WEIGHTS.weights("full").items())

    sgd(generator, loss)
    assert_weights(trainer.discriminator, discriminator.get_weights())
    assert_weights(trainer.generator, generator.get_weights())


@pytest.mark.parametrize("told", [False, True])
def test_what_only_the_originals_tell_is_learned(eagerly, told):
    """Bright originals come out dark and dark ones bright: of real and generated pictures as many are bright."""
    bright = np.float32([1, -1])[:, None, None, None] * 0.5
    low_res, high_res = tf.constant(-bright * np.ones((2, 8, 8, 3))), tf.constant(bright * np.ones((2, 16, 16, 3)))
    low_res, high_res = tf.cast(low_res, tf.float32), tf.cast(high_res, tf.float32)
    critic = TOLD if told else None
    trainer = build(rate=0.01, optimizer=build_optimizer, critic=critic)
    trainer.hyperpixels = lambda images: [tf.nn.avg_pool2d(images, 8, 8, "VALID")]
    random = tf.random.Generator.from_seed(0)
    for _ in range(20):
        metrics = trainer.train_batch((low_res, high_res, random.uniform([2, 1])), "critic")
    assert metrics["wasserstein"] > 2 if told else abs(metrics["wasserstein"]) < 0.2


def test_the_window_of_the_originals_is_the_critics(eagerly):
    """The classifier sees as many pixels, from the same offset, as the discriminator."""
    low_res, high_res, e = batch()
    trainer = build(critic=TOLD, shift=3)
    seen = []
    trainer.hyperpixels = lambda images: seen.append(images) or hyperpixels(images)
    real = trainer.shifted(high_res)
    trainer.train_batch((low_res, high_res, e), "critic")
    (window,) = seen
    np.testing.assert_array_equal(window, real)


def test_gradient_weighting_divides_by_a_running_mean_of_the_norms(eagerly):
    objective = replace(WEIGHTS, weighting="gradient")
    trainer = build(objective, rate=1e-3)
    generator, discriminator = networks()
    running = {}
    for step in range(3):
        low_res, high_res, e = batch(seed=step)
        metrics = trainer.train_batch((low_res, high_res, e))
        discriminator.set_weights(trainer.discriminator.get_weights())
        norms = gradient_norms(generator, discriminator, low_res, high_res)
        used = running or norms  # the first step's own norms start the mean
        running = {term: 0.99 * running[term] + 0.01 * norms[term] if running else norms[term] for term in TERMS}
        for term in TERMS:
            np.testing.assert_allclose(metrics[f"{term}_norm"], norms[term], rtol=1e-3)
            np.testing.assert_allclose(trainer.balance.running_norms[term], running[term], rtol=1e-3)
        weights = {term: weight / used[term] for term, weight in objective.weights("full").items()}

        def loss(low_res=low_res, high_res=high_res, weights=weights):
            _, losses = hand_losses(generator, discriminator, low_res, high_res)
            return sum(weights[term] * losses[term] for term in TERMS)

        sgd(generator, loss, rate=1e-3)
        assert_weights(trainer.generator, generator.get_weights(), atol=1e-5)
        generator.set_weights(trainer.generator.get_weights())


def test_a_weight_of_0_leaves_its_term_out(eagerly):
    trainer = build(Objective(cweight=0, advweight=0.5, rweight=0))
    trainer.hyperpixels = None
    metrics = trainer.train_batch(batch())
    assert "adversarial" in metrics and not {"content", "reconstruction"} & set(metrics)
    np.testing.assert_allclose(metrics["g_loss_total"], 0.5 * metrics["adversarial"], rtol=1e-5)


def test_steps_of_each_network_for_a_batch(eagerly):
    trainer = build(dstep=3, gstep=2)
    low_res, high_res, e = batch(draws=3)
    trainer.train_batch((low_res, high_res, e))
    assert int(trainer.discriminator_optimizer.iterations) == 3
    assert int(trainer.generator_optimizer.iterations) == 2
    generator, discriminator = networks()
    for i in range(3):  # each with its own penalty positions
        hand_critic_step(generator, discriminator, low_res, high_res, e[:, i], WEIGHTS.gpweight)
    assert_weights(trainer.discriminator, discriminator.get_weights(), rtol=1e-3, atol=1e-5)


def test_the_averaged_generator(eagerly):
    trainer = build(rate=0.5, ema=0.25)
    mean = trainer.average.get_weights()
    for step in range(1, 5):
        trainer.train_batch(batch(seed=step), "warmup")
        decay = min(0.25, (1 + step) / (10 + step))
        mean = [decay * m + (1 - decay) * w for m, w in zip(mean, trainer.generator.get_weights(), strict=True)]
        assert_weights(trainer.average, mean, rtol=1e-5)
    assert not same(mean, trainer.generator.get_weights())


@pytest.mark.parametrize("bad", [0, 1])
def test_a_batch_that_is_not_finite_changes_nothing_and_is_counted(eagerly, bad):
    trainer, undisturbed = (build(optimizer=build_optimizer, rate=1e-3) for _ in range(2))
    trainer.train_batch(batch(seed=1))
    undisturbed.train_batch(batch(seed=1))
    before = state(trainer)
    parts = list(batch(seed=2))
    parts[bad] = tf.where(parts[bad] > 0.9, float("nan"), parts[bad])
    metrics = trainer.train_batch(tuple(parts))
    assert all(np.array_equal(a, b) for a, b in zip(before, state(trainer), strict=True))
    assert (float(metrics["bad_steps"]), float(metrics["bad_in_a_row"])) == (1, 1)
    trainer.train_batch(tuple(parts))
    metrics = trainer.train_batch(batch(seed=3))
    assert (float(metrics["bad_steps"]), float(metrics["bad_in_a_row"])) == (2, 0)
    undisturbed.train_batch(batch(seed=3))
    for after, wanted in zip(state(trainer), state(undisturbed), strict=True):
        np.testing.assert_allclose(after, wanted, rtol=1e-5, atol=1e-7)


def test_gradients_are_brought_down_to_the_clip_norm(eagerly):
    def step_length(clip, network, phase):
        trainer = build(rate=1.0, clip=clip)
        before = getattr(trainer, network).get_weights()
        trainer.train_batch(batch(), phase)
        after = getattr(trainer, network).get_weights()
        return np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(after, before, strict=True)))

    for network, phase in ("generator", "warmup"), ("discriminator", "critic"):
        free = step_length(0.0, network, phase)
        np.testing.assert_allclose(step_length(free / 10, network, phase), free / 10, rtol=1e-3)
        np.testing.assert_allclose(step_length(free * 10, network, phase), free, rtol=1e-3)


@pytest.mark.parametrize("critic", [None, TOLD], ids=["plain", "told"])
def test_a_batch_in_parts_makes_the_same_step(eagerly, critic):
    whole, parts = build(critic=critic), build(critic=critic, accumulate=2)
    one, other = whole.train_batch(batch()), parts.train_batch(batch())
    assert_weights(parts.generator, whole.generator.get_weights())
    assert_weights(parts.discriminator, whole.discriminator.get_weights())
    for name in one:
        np.testing.assert_allclose(other[name], one[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_makes_about_the_same_step(eagerly, policy):
    exact, half = build(rate=0.01), build(rate=0.01, policy=policy, loss_scaling=policy == "mixed_float16")
    start = exact.generator.get_weights()
    one, other = exact.train_batch(batch()), half.train_batch(batch())
    for name in ("critic_norm", "reconstruction", "content", "adversarial_norm"):
        np.testing.assert_allclose(other[name], one[name], rtol=0.05)
    wanted = np.concatenate([(a - b).ravel() for a, b in zip(exact.generator.get_weights(), start, strict=True)])
    made = np.concatenate([(a - b).ravel() for a, b in zip(half.generator.get_weights(), start, strict=True)])
    assert np.linalg.norm(made - wanted) < 0.1 * np.linalg.norm(wanted)


def test_the_loss_scale_grows_until_float16_overflows(eagerly):
    trainer = build(policy="mixed_float16", loss_scaling=True, optimizer=build_optimizer, rate=1e-3)
    trainer.train_batch(batch(), "warmup")
    np.testing.assert_allclose(trainer.loss_scale, 2.0**12 * 2 ** (1 / 1000), rtol=1e-6)
    trainer.loss_scale.assign(2.0**40)
    before = state(trainer)
    metrics = trainer.train_batch(batch(), "warmup")
    assert float(metrics["bad_steps"]) == 1
    assert all(np.array_equal(a, b) for a, b in zip(before, state(trainer), strict=True))
    np.testing.assert_allclose(trainer.loss_scale, 2.0**39)


def test_the_compiled_step_is_the_eager_one():
    compiled, eager = build(), build()
    one = compiled.train_batch(batch())
    other = Trainer.train_batch.python_function(eager, batch())
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-3, atol=1e-5)
    assert_weights(compiled.generator, eager.generator.get_weights())
    assert_weights(compiled.discriminator, eager.discriminator.get_weights())
    assert_weights(compiled.average, eager.average.get_weights())


def test_several_batches_in_one_call_are_as_many_steps():
    batches = [batch(seed=seed) for seed in range(3)]
    one_by_one, at_once = build(), build()
    metrics = [one_by_one.train_batch(each, "warmup") for each in batches]
    dataset = tf.data.Dataset.from_tensor_slices(tuple(tf.stack(part) for part in zip(*batches, strict=True)))
    together = at_once.train_batches(iter(dataset), tf.constant(3), "warmup")
    assert_weights(at_once.generator, one_by_one.generator.get_weights())
    assert_weights(at_once.average, one_by_one.average.get_weights())
    mean = np.mean([each["reconstruction"] for each in metrics])
    np.testing.assert_allclose(together["reconstruction"], mean, rtol=1e-4)


def test_guarded_adam_is_adam():
    start = np.linspace(-1, 1, 5).astype(np.float32)
    guarded, plain = keras.Variable(start), keras.Variable(start)
    ours, reference = build_optimizer(0.01), keras.optimizers.Adam(0.01, beta_1=0.5, beta_2=0.9)
    assert isinstance(ours, GuardedAdam)
    for step in range(4):
        gradient = tf.constant(np.random.default_rng(step).normal(size=5), tf.float32)
        ours.apply([gradient], [guarded])
        reference.apply([gradient], [plain])
        np.testing.assert_array_equal(guarded, plain)


def test_learning_rate_schedules():
    def rates(**options):
        optimizer = build_optimizer(1.0, **options)
        values = []
        for step in range(12):
            optimizer.iterations.assign(step)
            values.append(float(optimizer.learning_rate))
        return np.array(values)

    np.testing.assert_allclose(rates(), 1.0)
    cosine = rates(schedule="cosine", total_steps=10)
    np.testing.assert_allclose(cosine[:11], 0.01 + 0.99 * (1 + np.cos(np.pi * np.arange(11) / 10)) / 2, rtol=1e-4)
    np.testing.assert_allclose(cosine[10:], 0.01, rtol=1e-4)
    for schedule in "constant", "cosine":
        rising = rates(schedule=schedule, total_steps=10, warmup_steps=4)
        np.testing.assert_allclose(rising[:5], 0.01 + 0.99 * np.arange(5) / 4, rtol=1e-4)


TWO_REPLICAS = """
import numpy as np
import tensorflow as tf

from srwgan.training.objective import Objective
from srwgan.training.optimizers import build_optimizer
from tests.training import test_step as t
from tests.two_replicas import divide_processor, shares

divide_processor()


def build(strategy):
    with strategy.scope():
        return t.build(rate=1e-4, optimizer=build_optimizer, strategy=strategy, critic=t.TOLD)


def train(trainer, batch):
    return trainer.train_batch(shares(trainer.strategy, batch))


def replicas(trainer):
    # Adam's first moments after one step are the gradients, halved.
    variables = [*trainer.average.weights, *trainer.generator.weights, *trainer.discriminator.weights,
                 *trainer.generator_optimizer._momentums, *trainer.discriminator_optimizer._momentums]
    return [[each.numpy() for each in trainer.strategy.experimental_local_results(v.value)] for v in variables]


alone = build(tf.distribute.OneDeviceStrategy("CPU:0"))
together = build(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
first, second = train(alone, t.batch(4)), train(together, t.batch(4))
for name in first:
    np.testing.assert_allclose(second[name], first[name], rtol=1e-3, atol=1e-5, err_msg=name)
after = replicas(together)
for (wanted,), (made, twin) in zip(replicas(alone), after, strict=True):
    np.testing.assert_array_equal(made, twin)
    np.testing.assert_allclose(made, wanted, rtol=1e-2, atol=1e-3 * np.abs(wanted).max() + 1e-6)

low_res, high_res, e = t.batch(4, seed=1)
high_res = tf.concat([high_res[:3], high_res[3:] * float("nan")], 0)  # only the second replica sees it
metrics = train(together, (low_res, high_res, e))
assert float(metrics["bad_steps"]) == 1
for before, now in zip(after, replicas(together), strict=True):
    np.testing.assert_array_equal(before, now)
print("same")
"""


@pytest.mark.slow
def test_two_replicas_make_the_step_of_one_with_the_whole_batch(tmp_path):
    """In a process of its own: devices cannot be divided once TensorFlow runs."""
    check_says_same(TWO_REPLICAS, tmp_path / "log")


def test_overfitting_one_photograph_beats_bicubic(make_photo):
    crop = make_photo(48, 48, seed=5)[None]
    low_res, high_res = to_range(downscale(tf.constant(crop), 2)), to_range(tf.constant(crop))
    keras.utils.set_random_seed(0)
    generator, discriminator = Generator(16, 2, 2), Discriminator(4)
    trainer = Trainer(
        generator,
        discriminator,
        average=with_precision(generator, "float32"),
        generator_optimizer=build_optimizer(5e-3, schedule="cosine", total_steps=150),
        discriminator_optimizer=build_optimizer(1e-3),
        objective=Objective(cweight=0, reconstruction="l1"),
        options=StepOptions(ema=0.9),
    )
    for _ in range(150):
        trainer.train_batch((low_res, high_res, tf.zeros((1, 1))), "warmup")
    made, bicubic = trainer.average(low_res), upscale_bicubic(low_res, 2)
    ours, theirs = (psnr(to_pixels(x)[0], crop[0], shave=2) for x in (made, bicubic))
    assert ours > theirs + 1


def test_the_shift_changes_at_every_step_and_covers_all_offsets(eagerly):
    trainer = build(shift=3)
    rows, columns = np.meshgrid(np.arange(16.0), np.arange(16.0), indexing="ij")
    images = tf.constant(np.stack([rows, columns, rows], -1)[None], tf.float32)
    offsets = []
    for step in range(60):
        trainer.generator_optimizer.iterations.assign(step)
        window = trainer.shifted(images)
        assert window.shape == (1, 13, 13, 3)
        np.testing.assert_array_equal(window, trainer.shifted(images))  # real and generated alike
        offsets.append(tuple(np.int32(window[0, 0, 0, :2])))
    assert set(offsets) == {(y, x) for y in range(3) for x in range(3)}
    assert build().shifted(images) is images


def test_the_lattice_term_takes_part_by_its_weight(eagerly):
    low_res, high_res, e = batch()
    trainer = build(Objective(cweight=0, advweight=0, rweight=0, latweight=2.0))
    metrics = trainer.train_batch((low_res, high_res, e), "full")
    generator, _ = networks()
    sgd(generator, lambda: 2 * tf.reduce_mean(lattice_loss(high_res, generator(low_res), scale=2)))
    assert_weights(trainer.generator, generator.get_weights())
    assert metrics["lattice"] > 0 and "reconstruction" not in metrics


def test_the_steady_term_is_the_difference_from_the_moved_crop_put_back(eagerly):
    low_res, high_res, e = batch()
    trainer = build(Objective(cweight=0, advweight=0, rweight=0, steadyweight=3.0))
    generator, _ = networks()
    offset = np.array(tf.random.stateless_uniform([2], trainer.step_key(STEADY_KEY), -1, 2, tf.int32))
    moved = np.roll(high_res, offset, axis=(1, 2))
    other = generator(to_range(downscale(np.float32(moved + 1) * 127.5, 2)))
    put_back = np.roll(other, -offset, axis=(1, 2))
    metrics = trainer.train_batch((low_res, high_res, e), "full")
    inner = np.s_[:, 4:-4, 4:-4]
    np.testing.assert_allclose(metrics["steady"], np.abs(generator(low_res) - put_back)[inner].mean(), rtol=1e-4)
    sgd(generator, lambda: 3 * tf.reduce_mean(tf.abs(generator(low_res) - put_back)[inner]))
    assert_weights(trainer.generator, generator.get_weights())


def test_the_steady_term_is_zero_where_nothing_moves():
    _, high_res, _ = batch()
    flat = tf.ones_like(high_res) * 0.2
    trainer = build(Objective(cweight=0, steadyweight=1.0), margin=20)  # as a picture to upscale: no zeros beyond
    low_res = to_range(downscale((flat + 1.0) * 127.5, 2))
    fake = trainer.generate(low_res)
    np.testing.assert_allclose(trainer.steady_loss(flat, fake), 0.0, atol=1e-5)


def test_crops_are_moved_by_less_than_a_low_resolution_pixel_and_not_always_alike():
    trainer = build(Objective(cweight=0, steadyweight=1.0))
    offsets = set()
    for step in range(60):
        trainer.generator_optimizer.iterations.assign(step)
        drawn = tf.random.stateless_uniform([2], trainer.step_key(STEADY_KEY), -1, 2, tf.int32)
        offsets.add(tuple(np.array(drawn)))
    assert offsets == {(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)}


# Self-adaptive weights


SELF_ADAPTIVE = replace(WEIGHTS, weighting="self-adaptive")


def test_the_weight_of_the_larger_loss_grows_faster(eagerly):
    trainer = build(SELF_ADAPTIVE, rate=1e-3)
    metrics = trainer.train_batch(batch())
    for term in TERMS:
        np.testing.assert_allclose(metrics[f"adaptive_{term}"], SELF_ADAPTIVE.weights("full")[term], rtol=1e-6)
    losses = {**metrics, "adversarial": metrics["wasserstein"]}
    values = {term: SELF_ADAPTIVE.weights("full")[term] * float(losses[term]) for term in TERMS}
    grown = {term: float(trainer.balance.adaptive[term]) for term in TERMS}
    assert sorted(TERMS, key=values.get) == sorted(TERMS, key=grown.get) and len(set(grown.values())) == len(TERMS)
    ratios = [grown[term] / values[term] for term in TERMS]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-4)  # the ascent of the weighted losses

    more = trainer.train_batch(batch(seed=1))
    for term in TERMS:
        expected = SELF_ADAPTIVE.weights("full")[term] * mask(tf.constant(grown[term]))
        np.testing.assert_allclose(more[f"adaptive_{term}"], expected, rtol=1e-5)
    total = sum(more[f"adaptive_{term}"] * more[term] for term in TERMS)
    np.testing.assert_allclose(more["g_loss_total"], total, rtol=1e-4)


def test_a_constant_added_to_the_critic_changes_no_weight(eagerly):
    grown = []
    for constant in (0.0, 100.0):
        trainer = build(SELF_ADAPTIVE)
        *_, bias = trainer.discriminator.get_layer("patch_scores").weights
        bias.assign(bias + constant)
        metrics = trainer.train_batch(batch())
        grown.append([float(trainer.balance.adaptive[term]) for term in TERMS])
    assert abs(metrics["adversarial"]) > 100
    np.testing.assert_allclose(grown[0], grown[1], rtol=1e-3, atol=1e-7)


def test_adaptive_weights_stay_positive_and_bounded():
    values = mask(tf.constant([-1e6, -1.0, 0.0, 1.0, 1e6])).numpy()
    np.testing.assert_allclose(values[[0, 2, 4]], [1 / ADAPTIVE_BOUND, 1, ADAPTIVE_BOUND], rtol=1e-5)
    assert np.all(np.diff(values) > 0)


def test_adaptive_weights_are_trained_in_full_steps_alone_and_kept(eagerly):
    trainer = build(SELF_ADAPTIVE, optimizer=GuardedAdam)
    for phase in ("warmup", "critic"):
        trainer.train_batch(batch(), phase)
    assert not any(float(value) for value in trainer.balance.adaptive.values())
    trainer.train_batch((tf.fill([4, 8, 8, 3], float("nan")), *batch()[1:]))
    assert not any(float(value) for value in trainer.balance.adaptive.values())
    trainer.train_batch(batch())
    kept = trainer.checkpoint()
    assert kept.adaptive["content"] is trainer.balance.adaptive["content"] and float(kept.adaptive["content"]) > 0


def test_options_that_are_off_leave_nothing_in_a_checkpoint(eagerly):
    """Else a run from before they were there could not go on."""
    assert set(build().balance.running_norms) == {"adversarial", "reconstruction", "content", "lattice"}
    assert not build().balance.adaptive
    some = build(Objective(cweight=0, otweight=0.1, otspace="pixels", weighting="self-adaptive"))
    assert (
        set(some.balance.adaptive) == {"adversarial", "reconstruction", "transport"}
        and "transport" in some.balance.running_norms
    )


def test_a_resumed_run_has_the_weights_of_an_uninterrupted_one(eagerly, tmp_path):
    objective = replace(WEIGHTS, latweight=0, weighting="self-adaptive", otweight=0.5, otspace="discriminator")
    whole, resumed = (build(objective, 1e-3, optimizer=build_optimizer, shift=2, critic=TOLD) for _ in range(2))
    whole.train_batch(batch(seed=0))
    resumed.checkpoint().restore(whole.checkpoint().save(tmp_path / "ckpt")).assert_consumed()
    for trainer in (whole, resumed):
        trainer.train_batch(batch(seed=1))
    assert all(float(value) for value in resumed.balance.adaptive.values())
    for made, wanted in zip(state(resumed), state(whole), strict=True):
        np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-7)


# Optimal transport


@pytest.mark.parametrize("space", ["discriminator", "pixels"])
def test_the_transport_term_takes_part_by_its_weight(eagerly, space):
    trainer = build(Objective(cweight=0, advweight=0.1, rweight=0, otweight=3.0, otspace=space))
    metrics = trainer.train_batch(batch())
    assert metrics["transport"] > 0 and metrics["transport_norm"] > 0
    total = 0.1 * metrics["adversarial"] + 3 * metrics["transport"]
    np.testing.assert_allclose(metrics["g_loss_total"], total, rtol=1e-4)


def test_the_transport_loss_falls_as_the_images_approach_and_moves_the_fake_alone():
    random = np.random.default_rng(0)
    real, start = (tf.constant(random.uniform(-1, 1, (2, 24, 24, 3)), tf.float32) for _ in range(2))
    key = tf.constant([1, 7], tf.int64)

    def loss(real, fake):
        return transport_loss(pixel_patches(real), pixel_patches(fake), key=key)

    values = [float(loss(real, start + share * (real - start))) for share in (0, 0.5, 0.9, 1)]
    assert values == sorted(values, reverse=True) and values[0] > 0.1 and abs(values[-1]) < 1e-6
    with tf.GradientTape() as tape:
        tape.watch([real, start])
        value = loss(real, start)
    at_real, at_fake = tape.gradient(value, [real, start])
    assert at_real is None and np.abs(at_fake).max() > 0
    np.testing.assert_allclose(loss(3 * real, 3 * start), value, rtol=1e-3)  # whatever the features' scale


def test_patches_are_side_by_side():
    rows, columns = np.meshgrid(np.arange(19.0), np.arange(16.0), indexing="ij")
    patches = pixel_patches(tf.constant(np.stack([rows, columns, rows], -1)[None], tf.float32))
    assert patches.shape == (1, 2, 2, 192)
    second = np.reshape(patches[0, 1, 0], (8, 8, 3))
    np.testing.assert_array_equal(second[..., 0], rows[8:16, :8])
    np.testing.assert_array_equal(second[..., 1], columns[8:16, :8])

"""Proximal policy optimization in TensorFlow, for continuous actions.

Schulman et al. 2017 (arXiv:1707.06347): a policy is improved on episodes that it has played itself, by a surrogate
whose ratio of probabilities is clipped. The advantages are generalized ones (Schulman et al. 2015, arXiv:1506.02438).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from srwgan.training.control.policy import Perceptron, Policy


@dataclass(frozen=True, kw_only=True)
class PPOOptions:
    """How a policy is trained.

    Args:
        episodes: that a policy plays between two updates.
        passes: over them in an update.
        minibatches: of a pass.
        rate: learning rate of both networks.
        clip: how far from 1 a ratio of probabilities still counts.
        discount: of later rewards, gamma. Episodes are short, so that 1 is exact and no harm.
        smoothing: lambda of the generalized advantages.
        entropy: weight of the policy's entropy.
        largest_gradient: global norm that gradients are brought down to.
        largest_divergence: from the policy that played; passes end beyond it.
    """

    episodes: int = 8
    passes: int = 10
    minibatches: int = 4
    rate: float = 2e-3
    clip: float = 0.2
    discount: float = 1.0
    smoothing: float = 0.95
    entropy: float = 0.0
    largest_gradient: float = 0.5
    largest_divergence: float = 0.1


@dataclass
class Episode:
    """What was seen and done in an episode of T steps.

    Attributes:
        observations: (T, n), before each action.
        actions: (T, m), as drawn; an environment clips them.
        rewards: (T,).
        infos: (T + 1,), the environment's, the first from `reset`.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    infos: list[dict]

    @property
    def gain(self) -> float:
        """The sum of the rewards."""
        return float(self.rewards.sum())


def play(env, act: Callable[[np.ndarray], np.ndarray], **options) -> Episode:
    """Play an episode of an environment with Gymnasium's interface, to its end.

    Args:
        act: observation (n,) -> action (m,).
        options: of `env.reset`.
    """
    observation, info = env.reset(**options)
    observations, actions, rewards, infos, ended = [], [], [], [info], False
    while not ended:
        action = act(observation)
        observations.append(observation)
        actions.append(action)
        observation, reward, terminated, truncated, info = env.step(np.clip(action, -1, 1).astype(np.float32))
        rewards.append(reward)
        infos.append(info)
        ended = terminated or truncated
    return Episode(np.array(observations, np.float32), np.array(actions, np.float32), np.array(rewards), infos)


def advantages(rewards: np.ndarray, values: np.ndarray, *, discount: float, smoothing: float) -> np.ndarray:
    """Generalized advantages (T,) of an episode that has ended, after which nothing is to be gained.

    ```
    delta_t = r_t + gamma V(s_t+1) - V(s_t)
    A_t     = delta_t + gamma lambda A_t+1
    ```

    Args:
        rewards: (T,).
        values: (T,), what was expected before each step.
        discount: gamma.
        smoothing: lambda; 0 trusts the values, 1 the rewards.
    """
    result, later, value_after = np.zeros(len(rewards)), 0.0, 0.0
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + discount * value_after - values[t]
        result[t] = later = delta + discount * smoothing * later
        value_after = values[t]
    return result


class PPO:
    """Trains a `Policy` beside a network of the values.

    What it draws follows from (seed, update, episode) alone, so that an interrupted training goes on as it would have.

    Args:
        policy: a `Policy`; it is changed.
        options: of the algorithm.
        seed: of all draws and of the value network.

    Attributes:
        updates: done so far.
        seen: number of observations, with which their mean and deviation are updated.
    """

    def __init__(self, policy: Policy, options: PPOOptions | None = None, *, seed: int = 0):
        self.policy, self.options, self.seed = policy, options or PPOOptions(), seed
        self.value = Perceptron((len(policy.features), policy.hidden, policy.hidden, 1), seed=seed + 1)
        self.optimizer = tf.keras.optimizers.Adam(self.options.rate, epsilon=1e-5)
        self.optimizer.build(self.variables_to_train())
        self.updates, self.seen = tf.Variable(0, trainable=False), tf.Variable(0.0, trainable=False)
        self.scale = tf.Variable(1.0, trainable=False)  # of returns, by which values are normalized

    def variables_to_train(self) -> list[tf.Variable]:
        return [*self.policy.network.trainable_variables, self.policy.log_deviation, *self.value.trainable_variables]

    def checkpoint(self) -> tf.train.Checkpoint:
        """All that training changes."""
        return tf.train.Checkpoint(
            policy=self.policy.arrays(),
            value=self.value,
            optimizer=self.optimizer,
            updates=self.updates,
            seen=self.seen,
            scale=self.scale,
        )

    def play(self, env, episode: int, **options) -> Episode:
        """Play an episode by chance, with draws that belong to it."""
        random = np.random.default_rng([self.seed, episode])
        deviation = np.exp(self.policy.log_deviation.numpy())

        def act(observation):
            mean = self.policy.means(tf.constant(observation[None]))[0].numpy()
            return mean + deviation * random.normal(size=mean.shape)

        return play(env, act, **options)

    def update(self, episodes: list[Episode]) -> dict[str, float]:
        """Improve the policy on episodes that it has played; returns what to log."""
        self.normalize(episodes)
        observations = self.policy.normalized(np.concatenate([each.observations for each in episodes]))
        actions = tf.constant(np.concatenate([each.actions for each in episodes]))
        values = self.value(observations)[:, 0].numpy() * float(self.scale)
        pieces = np.split(values, np.cumsum([len(each.rewards) for each in episodes])[:-1])
        gained = np.concatenate([self.advantages(each, piece) for each, piece in zip(episodes, pieces, strict=True)])
        targets = tf.constant((gained + values) / float(self.scale), tf.float32)
        standard = tf.constant((gained - gained.mean()) / (gained.std() + 1e-8), tf.float32)
        before = self.log_probability(observations, actions)
        log = self.passes([observations, actions, before, standard, targets])
        self.updates.assign_add(1)
        gains = [each.gain for each in episodes]
        return {
            "gain": float(np.mean(gains)),
            "gain_deviation": float(np.std(gains)),
            "deviation": float(np.mean(np.exp(self.policy.log_deviation.numpy()))),
            "explained": 1 - float(np.var(gained) / (np.var(gained + values) + 1e-8)),
            **log,
        }

    def advantages(self, episode: Episode, values: np.ndarray) -> np.ndarray:
        return advantages(episode.rewards, values, discount=self.options.discount, smoothing=self.options.smoothing)

    def normalize(self, episodes: list[Episode]) -> None:
        """Take the episodes into the mean and deviation of all observations, and the first ones' returns into scale."""
        new = np.concatenate([each.observations for each in episodes]).astype(np.float64)
        seen, mean, deviation = float(self.seen), self.policy.mean.numpy(), self.policy.deviation.numpy()
        total = seen + len(new)
        square = (seen * (deviation.astype(np.float64) ** 2 + mean**2) + np.square(new).sum(axis=0)) / total
        mean = (seen * mean + new.sum(axis=0)) / total
        self.policy.mean.assign(mean)
        self.policy.deviation.assign(np.sqrt(np.maximum(square - mean**2, 1e-4)))
        if not seen:
            returns = np.concatenate([np.cumsum(each.rewards[::-1]) for each in episodes])
            self.scale.assign(max(float(np.sqrt(np.mean(np.square(returns)))), 1e-4))
        self.seen.assign(total)

    def passes(self, data: list[tf.Tensor]) -> dict[str, float]:
        random = np.random.default_rng([self.seed, int(self.updates), 1_000_000])
        number, divergence, done = len(data[0]), 0.0, 0
        for _ in range(self.options.passes):
            for chosen in np.array_split(random.permutation(number), self.options.minibatches):
                self.descend(*(tf.gather(each, chosen) for each in data))
            divergence = float(tf.reduce_mean(data[2] - self.log_probability(data[0], data[1])))
            done += 1
            if divergence > self.options.largest_divergence:
                break
        return {"divergence": divergence, "passes": done}

    @tf.function(reduce_retracing=True)
    def descend(self, observations, actions, before, gained, targets):
        """A step of the optimizer on a minibatch."""
        with tf.GradientTape() as tape:
            ratio = tf.exp(self.log_probability(observations, actions) - before)
            error = tf.square(self.value(observations)[:, 0] - targets)
            entropy = tf.reduce_sum(self.policy.log_deviation)
            loss = tf.reduce_mean(0.5 * error - self.surrogate(ratio, gained)) - self.options.entropy * entropy
        variables = self.variables_to_train()
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), self.options.largest_gradient)
        self.optimizer.apply(gradients, variables)

    def surrogate(self, ratio, gained) -> tf.Tensor:
        """(B,), what the policy ascends: no more of it for a ratio of probabilities that is beyond the clip already."""
        clipped = tf.clip_by_value(ratio, 1 - self.options.clip, 1 + self.options.clip)
        return tf.minimum(ratio * gained, clipped * gained)

    def log_probability(self, observations, actions) -> tf.Tensor:
        """(B,) of actions, given normalized observations."""
        log_deviation = self.policy.log_deviation
        z = (actions - self.policy.network(observations)) / tf.exp(log_deviation)
        return -tf.reduce_sum(0.5 * tf.square(z) + log_deviation + 0.5 * math.log(2 * math.pi), axis=-1)

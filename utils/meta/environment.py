"""The environment: an agent watches a WGAN-GP in training and moves what people set by hand."""

from typing import Any

import gymnasium
import numpy as np

from srwgan.training.control.controls import CONTROLS, moved
from srwgan.training.control.observation import FEATURES, LIMIT, Observer
from utils.meta.episodes import Simulator, score

EPISODES = 50_000  # that `reset` draws from where no episode is named


class TrainingEnv(gymnasium.Env):
    """A short training run as an episode of Gymnasium (Towers et al. 2024, arXiv:2407.17032).

    ```
    observation   (25,) float32, `observation.FEATURES`
    action        (6,) float32 from -1 to 1: the largest moves of `controls.CONTROLS` down and up
    reward        the gain of `score` on the reward's photographs since the last decision
    ```

    So the rewards of an episode add up to the final score minus the first. An episode ends with its last interval;
    nothing is cut short. The same episode and the same actions give the same observations and rewards.

    Args:
        simulator: runs the episodes.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(self, simulator: Simulator):
        self.simulator, self.observer = simulator, Observer()
        self.observation_space = gymnasium.spaces.Box(-LIMIT, LIMIT, (len(FEATURES),), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (len(CONTROLS),), np.float32)
        self.levels, self.decision, self.measured = np.zeros(len(CONTROLS)), 0, (0.0, 0.0)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin an episode: `options["episode"]`, from `options["start"]`, or one that the seed draws."""
        super().reset(seed=seed)
        options = options or {}
        episode = options.get("episode")
        if episode is None:
            episode = int(self.np_random.integers(EPISODES))
        self.simulator.begin(episode, options.get("start"))
        self.observer.reset()
        self.levels, self.decision = np.zeros(len(CONTROLS)), 0
        self.measured = self.simulator.measure()
        return self.observe(), self.info(episode=episode)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Train up to the next decision, with the controls moved by an action."""
        before = score(*self.measured)
        self.levels = moved(self.levels, np.asarray(action, np.float64))
        metrics = self.simulator.interval(self.levels)
        self.observer.add(metrics, self.simulator.options.interval)
        self.decision += 1
        self.measured = self.simulator.measure()
        ended = self.decision == self.simulator.options.decisions
        return self.observe(), score(*self.measured) - before, ended, False, self.info()

    def observe(self) -> np.ndarray:
        progress = self.decision / self.simulator.options.decisions
        return self.observer.observe(progress=progress, held_out=self.measured, levels=self.levels)

    def info(self, **more) -> dict:
        psnr, lpips = self.measured
        return {"psnr": psnr, "lpips": lpips, "score": score(psnr, lpips), "levels": self.levels.tolist(), **more}

"""Policy training: PPO over episodes, in a folder from which it goes on."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from srwgan.training.control.policy import Policy
from srwgan.whole_files import read_json, write_json
from utils.meta.ppo import PPO, PPOOptions

LOG, POLICY, OPTIONS, CHECKPOINTS = "training.json", "policy.npz", "options.json", "checkpoints"
SHOWN = 5  # updates whose mean gain the progress bar shows


def train_policy(env, ppo: PPO, *, updates: int, folder: Path) -> list[dict]:
    """Train up to `updates` updates; what an interrupted training has done in `folder` is not done again.

    All episodes of an update are the same one, start and crops included, and differ by what the policy tries. So what
    they gain beyond their mean is due to that alone, not to a lucky start.

    Args:
        env: with Gymnasium's interface; `reset` takes the number of an episode.
        ppo: of a new policy.
        updates: in all, each after `ppo.options.episodes` episodes.
        folder: for checkpoints, `policy.npz` and `training.json`.

    Returns:
        A row for each update, see `PPO.update`.
    """
    manager = tf.train.CheckpointManager(ppo.checkpoint(), str(folder / CHECKPOINTS), max_to_keep=2)
    if manager.latest_checkpoint:
        manager.checkpoint.restore(manager.latest_checkpoint).assert_consumed()
    done = int(ppo.updates.numpy())
    rows = (read_json(folder / LOG) or [])[:done]
    each = ppo.options.episodes
    with tqdm(total=updates * each, initial=done * each, desc="Policy", unit="episode", disable=None) as bar:
        for update in range(done, updates):
            began, episodes = time.perf_counter(), []
            for i in range(each):
                episodes.append(ppo.play(env, update * each + i, options={"episode": update}))
                bar.update()
            row = {"update": update, **ppo.update(episodes), "gains": [episode.gain for episode in episodes]}
            row["final_levels"] = np.mean([episode.infos[-1].get("levels", [0]) for episode in episodes], 0).tolist()
            row["seconds"] = time.perf_counter() - began
            rows.append(row)
            write_json(folder / LOG, rows)
            ppo.policy.facts |= {"episodes": (update + 1) * each, "gain": row["gain"]}
            ppo.policy.save(folder / POLICY)
            manager.save(checkpoint_number=update + 1)
            bar.set_postfix(gain=f"{np.mean([row['gain'] for row in rows[-SHOWN:]]):.3f}", refresh=False)
    return rows


def keep_options(folder: Path, options: dict) -> None:
    """Write what a folder's training was started with, or make sure that it is the same.

    Raises:
        ValueError: other options are there.
        OSError: they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = read_json(folder / OPTIONS)
    if before is not None:
        different = [name for name in options if before.get(name) != options[name]]
        if different:
            name = different[0]
            raise ValueError(
                f"Received: --out {folder} with {name} {options[name]}, which was started with {before.get(name)}. "
                "Expected the same, or another folder."
            )
    write_json(folder / OPTIONS, options)


def new_ppo(*, decisions: int, episodes: int, seed: int, facts: dict) -> PPO:
    """PPO of a new policy of this many decisions."""
    options = dataclasses.replace(PPOOptions(), episodes=episodes)
    return PPO(Policy(decisions=decisions, seed=seed, facts=facts), options, seed=seed)

"""What `python3 -m utils.meta` does, once TensorFlow is there."""

import logging
from argparse import Namespace
from pathlib import Path

from srwgan.whole_files import read_json
from utils.meta.environment import TrainingEnv
from utils.meta.episodes import BASE, EpisodeOptions, PhotoSets, Simulator, open_sets
from utils.meta.evaluation import compare
from utils.meta.training import OPTIONS, POLICY, keep_options, new_ppo, train_policy

KEPT = ("datapath", "photos", "per_update", "decisions", "interval", "measured", "warmup", "base", "seed")


def train(options: Namespace) -> int:
    """Train a policy; returns the exit status."""
    folder = Path(options.out)
    kept = {name: getattr(options, name) for name in KEPT}
    kept["datapath"] = str(Path(options.datapath).absolute())
    keep_options(folder, kept)
    episodes, sets = build(kept, options.cache)
    facts = {"base": f"{BASE} {options.base}".strip(), "interval": options.interval, "photographs": len(sets.training)}
    facts["base"] = " ".join(Path(word).name if word.startswith("/") else word for word in facts["base"].split())
    ppo = new_ppo(decisions=options.decisions, episodes=options.per_update, seed=options.seed, facts=facts)
    env = TrainingEnv(Simulator(sets, episodes))
    rows = train_policy(env, ppo, updates=-(-options.episodes // options.per_update), folder=folder)
    print(f"Policy: {folder / POLICY}, mean gain of its last {options.per_update} episodes {rows[-1]['gain']:.3f}")
    print(f"Compare it: python3 -m utils.meta evaluate --out {folder}")
    return 0


def evaluate(options: Namespace) -> int:
    """Compare a trained policy with the baselines; returns the exit status."""
    folder = Path(options.out)
    kept = read_json(folder / OPTIONS)
    episodes, sets = build(kept, options.cache)
    print(compare(folder, sets, episodes, seeds=options.seeds, budget=options.budget))
    return 0


def build(kept: dict, cache: str) -> tuple[EpisodeOptions, PhotoSets]:
    """What an episode is, and the photographs, as the options of a training say."""
    logging.getLogger("srwgan").setLevel(logging.WARNING)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # which takes the few graphs of a step for too many
    names = ("decisions", "interval", "measured", "warmup")
    episodes = EpisodeOptions(**{name: kept[name] for name in names}, base=f"{BASE} {kept['base']}".strip())
    args = episodes.flags()
    return episodes, open_sets(kept["datapath"], smallest=args.cropsz, number=kept["photos"], cache=cache)

"""The comparison: a policy, and what an engineer would try, on photographs and from starts that none has seen."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from tqdm import tqdm

from srwgan.training.control.controls import CONTROLS
from srwgan.training.control.policy import Policy
from srwgan.whole_files import read_json, write_json, write_text
from utils.meta.baselines import SEARCHES, Found, constants, fixed_weights
from utils.meta.environment import TrainingEnv
from utils.meta.episodes import STARTS, EpisodeOptions, PhotoSets, Simulator, score
from utils.meta.figures import draw_actions, draw_learning, draw_methods
from utils.meta.ppo import play
from utils.meta.training import LOG, POLICY

RECIPE = "the recipe: shares of the gradient"
METHODS = {  # method -> what it is
    RECIPE: "`--weighting gradient` with the shares and rates of the base, which is where a policy begins",
    "the recipe, rates that fall": "the same with `--lr-schedule cosine`",
    "constants": "`--weighting fixed`, weights that begin with the same shares",
    "self-adaptive": "`--weighting self-adaptive` from those weights",
    "random search": "the best constants of a random search",
    "population-based": "the schedule of the best member of population-based training",
    "policy": "the policy, its mean action",
    "the policy's schedule": "the policy's mean levels at each decision, nothing being watched",
    "the policy's constants": "the mean of that schedule, throughout",
}
WATCHED = 50_000  # the first of the episodes, from starts of training, that a schedule is read off from
TESTED = 60_000  # the first of the episodes of the final test
FILE, TABLE = "evaluation.json", "evaluation.md"


class Simulators:
    """Simulators of further flags, made when they are first asked for, which share their starts.

    Args:
        sets: photographs.
        options: what an episode is.
    """

    def __init__(self, sets: PhotoSets, options: EpisodeOptions):
        self.sets, self.options, self.made, self.weights = sets, options, {}, None

    def get(self, more: str = "") -> Simulator:
        if more not in self.made:
            self.made[more] = Simulator(self.sets, self.options, more)
            if more:
                self.made[more].starts_from(self.get())
        return self.made[more]

    def fixed(self, kind: str) -> Simulator:
        """One whose weights begin with the base's shares."""
        if self.weights is None:
            self.weights = fixed_weights(self.get())
        return self.get(f"--weighting {kind} {self.weights}")


def compare(folder: Path, sets: PhotoSets, options: EpisodeOptions, *, seeds: int, budget: int | None) -> str:
    """Search, test, draw and write, as far as it is not done in `folder`; returns the table as Markdown."""
    log = read_json(folder / LOG) or []
    budget = budget or sum(len(row["gains"]) for row in log)
    simulators, policy = Simulators(sets, options), Policy.load(folder / POLICY)
    found = {
        name: search(simulators.get(), budget=budget, path=folder / f"search-{name.split('-')[0].split()[0]}.json")
        for name, search in SEARCHES.items()
    }
    done = read_json(folder / FILE) or {}
    done.setdefault("tests", {})
    if done.get("budget", budget) != budget:
        for name in SEARCHES:
            done["tests"].pop(name, None)  # of other searches
    if "watched" not in done:
        done["watched"] = watch(simulators.get(), policy)
        write_json(folder / FILE, done)
    tests = tested_methods(simulators, policy, found, np.asarray(done["watched"]["levels"]))
    pending = [
        (name, seed) for name in METHODS for seed in range(seeds) if str(seed) not in done["tests"].get(name, {})
    ]
    for name, seed in tqdm(pending, "Final test", unit="episode", disable=None):
        done["tests"].setdefault(name, {})[str(seed)] = tests[name](seed)
        write_json(folder / FILE, done)
    done["budget"], done["searches"] = budget, {name: each.gain for name, each in found.items()}
    write_json(folder / FILE, done)
    text = table(done, seeds)
    write_text(folder / TABLE, text + "\n")
    draw_learning(log, found, done["watched"], folder / "learning.png")
    draw_methods({name: gains(done, name, seeds) for name in METHODS}, folder / "methods.png")
    draw_actions(done, seeds, np.asarray(found["population-based"].levels), folder / "actions.png")
    return f"{text}\n\nFigures: {folder}/learning.png, methods.png, actions.png"


def watch(simulator: Simulator, policy: Policy) -> dict:
    """What a policy does from the starts of training, and how the recipe fares there."""
    env, levels, gained, recipe = TrainingEnv(simulator), [], [], []
    for start in range(STARTS):
        episode = play(env, lambda seen: policy.decide(seen).action, options={"episode": WATCHED + start})
        levels.append([info["levels"] for info in episode.infos[1:]])
        gained.append(episode.gain)
        nothing = play(env, lambda seen: np.zeros(len(CONTROLS)), options={"episode": WATCHED + start})
        recipe.append(nothing.gain)
    return {"levels": np.mean(levels, axis=0).tolist(), "policy": mean(gained), "recipe": mean(recipe)}


def tested_methods(
    simulators: Simulators, policy: Policy, found: dict[str, Found], watched: np.ndarray
) -> dict[str, Callable[[int], dict]]:
    """Method -> a function of the seed that plays the final test, see `tested`."""
    still = np.zeros((simulators.options.decisions, len(CONTROLS)))
    return {
        RECIPE: lambda seed: tested(simulators.get(), seed, still),
        "the recipe, rates that fall": lambda seed: tested(simulators.get("--lr-schedule cosine"), seed, still),
        "constants": lambda seed: tested(simulators.fixed("fixed"), seed, still),
        "self-adaptive": lambda seed: tested(simulators.fixed("self-adaptive"), seed, still),
        "random search": lambda seed: tested(simulators.get(), seed, found["random search"].levels),
        "population-based": lambda seed: tested(simulators.get(), seed, found["population-based"].levels),
        "policy": lambda seed: tested_policy(simulators.get(), seed, policy),
        "the policy's schedule": lambda seed: tested(simulators.get(), seed, watched),
        "the policy's constants": lambda seed: tested(
            simulators.get(), seed, constants(simulators.get(), watched.mean(axis=0))
        ),
    }


def tested(simulator: Simulator, seed: int, levels) -> dict:
    """An episode of the final test with given levels (D, 6): from a start of its own, on the test's photographs."""
    simulator.begin(TESTED + seed, STARTS + seed)
    before, began, critic_steps = simulator.measure("test"), time.perf_counter(), 0
    for each in levels:
        simulator.interval(np.asarray(each))
        critic_steps += simulator.controls.dstep * simulator.options.interval
    return outcome(before, simulator.measure("test"), levels, critic_steps, time.perf_counter() - began)


def tested_policy(simulator: Simulator, seed: int, policy: Policy) -> dict:
    """The same with a policy, which watches the photographs of the reward."""
    env = TrainingEnv(simulator)
    seen, _ = env.reset(options={"episode": TESTED + seed, "start": STARTS + seed})
    before, began = simulator.measure("test"), time.perf_counter()
    levels, reasons, critic_steps, ended = [], [], 0, False
    while not ended:
        decision = policy.decide(seen)
        seen, _, ended, _, info = env.step(decision.action.astype(np.float32))
        levels.append(info["levels"])
        reasons.append(decision.reasons)
        critic_steps += simulator.controls.dstep * simulator.options.interval
    result = outcome(before, simulator.measure("test"), levels, critic_steps, time.perf_counter() - began)
    return {**result, "reasons": reasons}


def outcome(before, after, levels, critic_steps: int, seconds: float) -> dict:
    return {
        "gain": score(*after) - score(*before),
        "psnr": after[0],
        "psnr_gain": after[0] - before[0],
        "lpips": after[1],
        "lpips_gain": before[1] - after[1],
        "levels": np.asarray(levels).tolist(),
        "critic_steps": critic_steps,
        "seconds": seconds,
    }


def gains(done: dict, name: str, seeds: int) -> list[float]:
    return [done["tests"][name][str(seed)]["gain"] for seed in range(seeds)]


def table(done: dict, seeds: int) -> str:
    """Markdown: a line for each method, means over the seeds and their standard deviation."""
    lines = [
        "| method | gain of the score | beyond the recipe's | PSNR-Y, dB | LPIPS | critic steps |",
        "|---|---|---|---|---|---|",
    ]
    recipe = gains(done, RECIPE, seeds)
    for name in METHODS:
        results = [done["tests"][name][str(seed)] for seed in range(seeds)]
        more = [gain - before for gain, before in zip(gains(done, name, seeds), recipe, strict=True)]
        cells = [
            name,
            spread(gains(done, name, seeds)),
            "" if name == RECIPE else spread(more, "+"),
            f"{mean(each['psnr'] for each in results):.2f} ({mean(each['psnr_gain'] for each in results):+.2f})",
            f"{mean(each['lpips'] for each in results):.4f} ({-mean(each['lpips_gain'] for each in results):+.4f})",
            f"{mean(each['critic_steps'] for each in results):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float], sign: str = "") -> str:
    """Mean ± standard deviation."""
    deviation = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{mean(values):{sign}.2f}{deviation}"

"""What an engineer would try in place of a policy: constants, and searches that take as many gradient steps."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from srwgan.training.control.controls import CONTROLS, LOWER, UPPER, bounded
from srwgan.whole_files import read_json, write_json
from utils.meta.episodes import Simulator, score

REPEATED = 4  # episodes that a finalist of a search is judged by, one from each start of training
POPULATION = 10  # members of population-based training
REPLACED = 0.2  # of them at every decision
PERTURBED = np.log(1.2)  # a control is multiplied or divided by this much


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        levels: (D, 6) of the controls at each decision.
        gain: of the score, by which it was chosen.
        episodes: as many as all training took.
        curve: [(episodes so far, the best gain so far)].
    """

    levels: list[list[float]]
    gain: float
    episodes: int
    curve: list[tuple[int, float]]


def play_levels(simulator: Simulator, levels, episode: int, start: int | None = None) -> float:
    """Play an episode with these levels (D, 6), nothing being watched; returns the gain on the reward's photographs."""
    simulator.begin(episode, start)
    before = score(*simulator.measure())
    for each in levels:
        simulator.interval(np.asarray(each))
    return score(*simulator.measure()) - before


def constants(simulator: Simulator, levels) -> np.ndarray:
    """The same levels (6,) at every decision, (D, 6)."""
    return np.tile(np.asarray(levels, np.float64), (simulator.options.decisions, 1))


def drawn_levels(seed: int, number: int) -> np.ndarray:
    """Levels (6,) of a trial, drawn evenly within the bounds; even levels are log-even factors."""
    return np.random.default_rng([seed, number]).uniform(LOWER, UPPER)


def random_search(simulator: Simulator, *, budget: int, path: Path, seed: int = 0) -> Found:
    """The best of many constants (Bergstra and Bengio 2012).

    Two thirds of the budget are trials of one episode each. The best of them are finalists, which play
    `REPEATED` episodes more each, since the best of many single episodes owes much of it to luck.

    Args:
        budget: episodes.
        path: of a JSON file that every trial is written to, from which an interrupted search goes on.
    """
    trials = max(1, budget * 2 // 3)
    finalists = max(1, (budget - trials) // REPEATED)
    done = read_json(path) or {"trials": [], "finals": []}
    if done.get("budget", budget) != budget:
        done["finals"] = []  # of other finalists
    done["budget"] = budget
    for number in tqdm(range(len(done["trials"]), trials), "Random search", disable=None, unit="episode"):
        levels = constants(simulator, drawn_levels(seed, number))
        done["trials"].append(play_levels(simulator, levels, number))
        write_json(path, done)
    chosen = np.argsort(done["trials"])[::-1][:finalists]
    finals = [(int(number), i) for number in chosen for i in range(REPEATED)]
    for number, i in tqdm(finals[len(done["finals"]) :], "Finalists", disable=None, unit="episode"):
        levels = constants(simulator, drawn_levels(seed, number))
        done["finals"].append(play_levels(simulator, levels, trials + i))
        write_json(path, done)
    means = np.reshape(done["finals"], (-1, REPEATED)).mean(axis=1)
    best = int(chosen[int(np.argmax(means))])
    curve = [(i + 1, float(max(done["trials"][: i + 1]))) for i in range(trials)]
    levels = constants(simulator, drawn_levels(seed, best)).tolist()
    return Found(levels, float(means.max()), trials + len(finals), curve)


@dataclass
class Member:
    """One of a population: its networks, its batches, and the controls that led to them."""

    values: dict
    batches: object
    levels: np.ndarray
    history: list[list[float]]
    score: float = 0.0


def population_based_training(simulator: Simulator, *, budget: int, path: Path, seed: int = 0) -> Found:
    """The schedule that led to the best member of several populations (Jaderberg et al. 2017, arXiv:1711.09846).

    A population trains side by side from one start. At every decision the worst fifth take over networks and controls
    of the best fifth and move each control up or down a little. What is found is the schedule along which the best
    member has come. Starts differ in how much there is to gain. So the populations' schedules are played again, all in
    the same `REPEATED` episodes, which are beside the budget, before one is chosen.

    Args:
        budget: episodes, of which each member takes one.
        path: of a JSON file that every population is written to, from which an interrupted search goes on.
    """
    rounds = max(1, budget // POPULATION)
    done = read_json(path) or {"populations": [], "finals": []}
    if len(done["populations"]) != rounds:
        done["finals"] = []
    for number in tqdm(range(len(done["populations"]), rounds), "Populations", disable=None, unit="population"):
        done["populations"].append(one_population(simulator, number, seed))
        write_json(path, done)
    populations = done["populations"][:rounds]
    finals = [(each["levels"], rounds * POPULATION + i) for each in populations for i in range(REPEATED)]
    for levels, episode in tqdm(finals[len(done["finals"]) :], "Schedules", disable=None, unit="episode"):
        done["finals"].append(play_levels(simulator, levels, episode))
        write_json(path, done)
    means = np.reshape(done["finals"], (-1, REPEATED)).mean(axis=1)
    curve = [((i + 1) * POPULATION, max(each["gain"] for each in populations[: i + 1])) for i in range(rounds)]
    best = populations[int(np.argmax(means))]
    return Found(best["levels"], float(means.max()), rounds * POPULATION + len(finals), curve)


def one_population(simulator: Simulator, number: int, seed: int) -> dict:
    random = np.random.default_rng([seed, number, 1])
    members = []
    for i in range(POPULATION):
        simulator.begin(number * POPULATION + i, simulator.start_of(number))
        levels = bounded(random.normal(0, UPPER / 4))
        members.append(Member(simulator.snapshot(), simulator.batches, levels, []))
    before = score(*simulator.measure())
    for decision in range(simulator.options.decisions):
        for member in members:
            simulator.restore(member.values)
            simulator.batches = member.batches
            simulator.interval(member.levels)
            member.values, member.score = simulator.snapshot(), score(*simulator.measure())
            member.history = [*member.history, member.levels.tolist()]
        if decision < simulator.options.decisions - 1:
            exploit_and_explore(members, random)
    best = max(members, key=lambda member: member.score)
    return {"levels": best.history, "gain": best.score - before}


def exploit_and_explore(members: list[Member], random: np.random.Generator) -> None:
    """The worst members take over from the best ones, and move on from there."""
    ranked = sorted(members, key=lambda member: member.score)
    number = max(1, round(REPLACED * len(members)))
    for worse, better in zip(ranked[:number], random.permutation(np.array(ranked[-number:], object)), strict=True):
        worse.values, worse.history, worse.score = better.values, better.history, better.score
        worse.levels = bounded(better.levels + PERTURBED * random.choice([-1, 1], len(CONTROLS)))


def fixed_weights(simulator: Simulator) -> str:
    """Flags of fixed weights that begin with the shares that the base's `--weighting gradient` keeps throughout.

    Each weight is divided by the norm of its term's gradient at the first batches of the first start.
    """
    simulator.begin(0)
    metrics = simulator.interval(np.zeros(len(CONTROLS)))
    args = simulator.args
    shares = {"adversarial": args.advweight, "content": args.cweight, "reconstruction": args.rweight}
    shares["lattice"] = args.latweight
    flags = {"adversarial": "advweight", "content": "cweight", "reconstruction": "rweight", "lattice": "latweight"}
    weights = {term: share / metrics[f"{term}_norm"] for term, share in shares.items() if share}
    return " ".join(f"--{flags[term]} {weight:.6g}" for term, weight in weights.items())


Search = Callable[..., Found]
SEARCHES: dict[str, Search] = {"random search": random_search, "population-based": population_based_training}

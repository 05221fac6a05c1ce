"""Policies that steer a training: PPO and the searches on problems with known answers, the environment, the command."""

import json

import numpy as np
import pytest
import tensorflow as tf
from gymnasium.utils.env_checker import check_env

from srwgan.training.control.controls import CONTROLS, LOWER, UPPER, moved
from srwgan.training.control.observation import FEATURES
from srwgan.training.control.policy import Policy
from utils.meta import baselines, evaluation
from utils.meta.baselines import population_based_training, random_search
from utils.meta.command import main
from utils.meta.environment import TrainingEnv
from utils.meta.episodes import EpisodeOptions, PhotoSets, Simulator, fixed_crops, open_sets, score
from utils.meta.ppo import PPO, Episode, PPOOptions, advantages, play
from utils.meta.training import train_policy

TINY = (
    "--filters 4 --blocks 1 --dfilters 4 --cropsz 32 --batchsz 2 --scale 2 --precision float32 --cweight 0 "
    "--weighting gradient --rweight 0.1 --advweight 0.05 --latweight 0 --goptimizer adam --doptimizer adam"
)


def test_advantages_by_hand():
    """Two rewards, 1 and 2, expected 0.5 and 1; gamma 0.5, lambda 0.5: the second is 2 - 1, the first 0.5 more."""
    rewards, values = np.array([1.0, 2.0]), np.array([0.5, 1.0])
    made = advantages(rewards, values, discount=0.5, smoothing=0.5)
    np.testing.assert_allclose(made, [1 + 0.5 * 1 - 0.5 + 0.25 * 1, 1.0])
    undiscounted = advantages(rewards, values, discount=1.0, smoothing=1.0)
    np.testing.assert_allclose(undiscounted, [3 - 0.5, 2 - 1])  # what came, less what was expected
    one_step = advantages(rewards, values, discount=1.0, smoothing=0.0)
    np.testing.assert_allclose(one_step, [1 + 1 - 0.5, 2 - 1])


class Servo:
    """A point on a line is to be brought to a target that is seen, in three moves; the reward is the way gained."""

    def reset(self, *, options):
        random = np.random.default_rng(options["episode"])
        self.place, self.target = random.uniform(-1, 1, 2)
        self.moves = 0
        return self.seen(), {}

    def seen(self):
        return np.array([self.place, self.target], np.float32)

    def step(self, action):
        before = abs(self.place - self.target)
        self.place += 0.5 * float(action[0])
        self.moves += 1
        return self.seen(), before - abs(self.place - self.target), self.moves == 3, False, {}


def test_ppo_solves_a_small_control_task():
    policy = Policy(decisions=5, features=("place", "target"), controls=("move",), seed=1)
    ppo = PPO(policy, PPOOptions(rate=1e-2, passes=5, smoothing=0.9, largest_divergence=1.0), seed=1)
    for update in range(12):
        ppo.update([ppo.play(Servo(), 12 * update + i, options={"episode": 12 * update + i}) for i in range(12)])
    left = []
    for episode in range(10_000, 10_020):
        env = Servo()
        play(env, lambda seen: policy.decide(seen).action, options={"episode": episode})
        left.append(abs(env.place - env.target))
    assert np.mean(left) < 0.25  # 0.67 without a move, on average


class Quadratic:
    """A simulator without networks: the score falls with the square of the levels' distance from the best ones."""

    best = np.clip([1.0, -0.5, 0.5, 0.7, -0.7, 0.5], LOWER, UPPER)

    def __init__(self, decisions=3):
        self.options, self.batches, self.value = EpisodeOptions(decisions=decisions, interval=1), None, 0.0

    def start_of(self, number):
        return number

    def begin(self, episode, start=None):
        self.value, self.batches = 0.0, iter(())

    def interval(self, levels):
        self.value -= float(np.square(np.asarray(levels) - self.best).sum())
        return {}

    def measure(self, which="reward"):
        return 2 * self.value, 0.0

    def snapshot(self):
        return {"value": self.value}

    def restore(self, values):
        self.value = values["value"]


class Bandit:
    """One decision: the log-weight of a loss, whose best value is 0.6."""

    def reset(self, *, options):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), -float(np.square(action[0] - 0.6)), True, False, {}


def test_a_bandit_on_a_quadratic_finds_the_best_loss_weight():
    policy = Policy(decisions=1, features=("nothing",), controls=("adversarial",))
    ppo = PPO(policy, PPOOptions(rate=1e-2))
    for update in range(25):
        ppo.update([ppo.play(Bandit(), 16 * update + i, options={}) for i in range(16)])
    assert policy.decide(np.zeros(1)).action[0] == pytest.approx(0.6, abs=0.1)


def test_what_is_normalized_has_mean_0_and_deviation_1():
    random = np.random.default_rng(0)
    policy = Policy(decisions=1, features=("a", "b"), controls=("c",))
    ppo = PPO(policy)
    seen = random.normal([3, -1], [2, 0.1], (60, 2)).astype(np.float32)
    for part in np.split(seen, [20, 50]):
        ppo.normalize([Episode(part, np.zeros((len(part), 1)), np.ones(len(part)), [])])
    np.testing.assert_allclose(policy.mean, seen.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(policy.deviation, seen.std(axis=0), rtol=1e-3)


def test_the_random_search_finds_a_quadratics_best_weights_and_goes_on(tmp_path, monkeypatch):
    found = random_search(Quadratic(), budget=600, path=tmp_path / "search.json")
    assert np.shape(found.levels) == (3, 6) and found.episodes == 600
    gains = [baselines.play_levels(Quadratic(), np.tile(baselines.drawn_levels(0, i), (3, 1)), i) for i in range(400)]
    assert found.gain == pytest.approx(max(gains)) and found.curve[-1] == (400, found.gain)
    done = json.loads((tmp_path / "search.json").read_text())
    done["finals"] = done["finals"][:3]
    (tmp_path / "search.json").write_text(json.dumps(done))
    played = []
    play_levels = baselines.play_levels
    monkeypatch.setattr(baselines, "play_levels", lambda *a, **k: played.append(1) or play_levels(*a, **k))
    assert random_search(Quadratic(), budget=600, path=tmp_path / "search.json") == found
    assert len(played) == 200 - 3


def test_a_population_comes_closer_than_its_members_began(tmp_path):
    decisions = 30
    simulator = Quadratic(decisions)
    found = population_based_training(simulator, budget=20, path=tmp_path / "search.json")
    distance = np.square(np.array(found.levels) - Quadratic.best).sum(axis=1)
    assert len(distance) == decisions and found.episodes == 20 + 2 * baselines.REPEATED
    assert distance[-1] < 0.3 * distance[0]
    assert found.gain == pytest.approx(-distance.sum())  # the history is that of the networks that it led to
    assert population_based_training(simulator, budget=20, path=tmp_path / "search.json") == found


# The environment, on networks of a few hundred weights.


@pytest.fixture(scope="module")
def simulator(make_photo):
    photos = [make_photo(40, 40, seed) for seed in range(5)]
    options = EpisodeOptions(decisions=3, interval=2, measured=2, warmup=3, critic_warmup=1, base=TINY)
    return Simulator(PhotoSets(training=photos[:3], reward=photos[3:4], test=photos[4:]), options)


def actions(seed=0, number=3):
    """Actions by chance, but for the critic's steps, each number of which would be a graph of its own."""
    chosen = np.random.default_rng(seed).uniform(-1, 1, (number, len(CONTROLS)))
    chosen[:, CONTROLS.index("dstep")] = -1
    return chosen


def test_rewards_telescope(simulator):
    env, given = TrainingEnv(simulator), iter(actions())
    episode = play(env, lambda seen: next(given), options={"episode": 5})
    first, last = episode.infos[0], episode.infos[-1]
    assert episode.gain == pytest.approx(last["score"] - first["score"]) != 0
    assert last["score"] == pytest.approx(score(last["psnr"], last["lpips"]))
    assert len(episode.rewards) == 3 and episode.observations.shape == (3, len(FEATURES))


def test_an_episode_is_the_same_again_whatever_was_played_between(simulator):
    env, played = TrainingEnv(simulator), []
    for episode, seed in [(5, 0), (6, 1), (5, 0), (5, 1)]:
        given = iter(actions(seed))
        played.append(play(env, lambda seen, given=given: next(given), options={"episode": episode}))
    np.testing.assert_allclose(played[0].observations, played[2].observations, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(played[0].rewards, played[2].rewards, rtol=1e-4, atol=1e-6)
    assert not np.allclose(played[0].rewards, played[1].rewards) and not np.allclose(
        played[0].rewards, played[3].rewards
    )
    levels = np.zeros(len(CONTROLS))
    for action, info in zip(actions(), played[0].infos[1:], strict=True):
        levels = moved(levels, action)
        np.testing.assert_allclose(info["levels"], levels, atol=1e-6)


def test_an_episode_is_traced_once(simulator):
    env = TrainingEnv(simulator)
    for _ in range(2):
        play(env, lambda seen: np.zeros(len(CONTROLS)), options={"episode": 1})
        traced = simulator.trainer.train_batches.experimental_get_tracing_count()
    play(env, lambda seen: np.zeros(len(CONTROLS)), options={"episode": 2})
    assert simulator.trainer.train_batches.experimental_get_tracing_count() == traced


def test_gymnasiums_check_passes(simulator):
    check_env(TrainingEnv(simulator), skip_render_check=True)


def test_a_start_is_a_generator_as_it_is_exported(simulator):
    start = simulator.start(1)
    for name, value in start.items():
        if name.startswith("generator_optimizer") or name == "averaged_steps":
            np.testing.assert_array_equal(value, simulator.fresh[name])
    means = [value for name, value in start.items() if name.startswith("average/")]
    generator = [value for name, value in start.items() if name.startswith("generator/")]
    assert all(np.array_equal(*pair) for pair in zip(means, generator, strict=True))
    assert any(not np.array_equal(start[name], simulator.start(0)[name]) for name in start)


def test_a_start_has_nothing_of_what_was_played_before_it(simulator):
    made = []
    for levels in LOWER, UPPER:
        simulator.begin(0)
        simulator.interval(np.where(np.arange(len(CONTROLS)) == CONTROLS.index("dstep"), 0, levels))
        simulator.starts.pop(2, None)
        made.append(simulator.start(2))
    for name, value in made[0].items():
        np.testing.assert_allclose(value, made[1][name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_three_sets_have_no_photograph_in_common(photo_folder, tmp_path):
    sets = open_sets(str(photo_folder), smallest=64, cache=str(tmp_path / "cache"))
    paths = [set(each.paths) for each in (sets.training, sets.reward, sets.test)]
    assert sum(map(len, paths)) == len(set.union(*paths)) == 6 and all(paths)
    with pytest.raises(ValueError, match="with 2 photographs of 64x64 or more. Expected three"):
        open_sets(str(photo_folder), smallest=64, number=2, cache=str(tmp_path / "cache"))


def test_fixed_crops_are_as_many_as_asked_for(simulator, make_photo):
    low_res, high_res = fixed_crops([make_photo(40, 40)], 3, simulator.crops)
    assert low_res.shape == (3, 16, 16, 3) and high_res.shape == (3, 32, 32, 3)
    again = fixed_crops([make_photo(40, 40)], 3, simulator.crops)[1]
    np.testing.assert_array_equal(high_res, again)


def test_a_training_of_policies_goes_on_as_if_it_had_not_been_interrupted(tmp_path):
    def train(folder, updates):
        policy = Policy(decisions=5, features=("place", "target"), controls=("move",))
        ppo = PPO(policy, PPOOptions(episodes=2))
        (tmp_path / folder).mkdir(exist_ok=True)
        rows = train_policy(Servo(), ppo, updates=updates, folder=tmp_path / folder)
        return policy, [{**row, "seconds": 0} for row in rows]

    whole = train("whole", 3)
    train("part", 1)
    resumed = train("part", 3)
    assert resumed[1] == whole[1] and len(whole[1]) == 3
    for name, variable in whole[0].arrays().items():
        np.testing.assert_array_equal(variable, resumed[0].arrays()[name])


# The command.


@pytest.mark.slow
def test_train_and_evaluate_from_the_command_line(photo_folder, tmp_path, capsys, monkeypatch, eagerly):
    monkeypatch.setattr(evaluation, "STARTS", 1)
    monkeypatch.setattr("utils.meta.episodes.STARTS", 1)
    monkeypatch.setattr(baselines, "POPULATION", 2)
    monkeypatch.setattr(baselines, "REPEATED", 1)
    monkeypatch.setattr("utils.meta.episodes.CRITIC_WARMUP", 1)
    out, cache = str(tmp_path / "meta"), str(tmp_path / "cache")
    size = "--episodes 2 --per-update 2 --decisions 1 --interval 1 --measured 1 --warmup 1".split()
    arguments = ["train", "--datapath", str(photo_folder), "--out", out, "--cache", cache, "--base", TINY, *size]
    assert main(arguments) == 0
    assert f"Policy: {out}/policy.npz" in capsys.readouterr().out
    assert main([*arguments, "--interval", "2"]) == 2
    assert "with interval 2, which was started with 1. Expected the same" in capsys.readouterr().err

    evaluate = ["evaluate", "--out", out, "--cache", cache, "--seeds", "1", "--budget", "3"]
    assert main(evaluate) == 0
    printed = capsys.readouterr().out
    for name in evaluation.METHODS:
        assert f"| {name} | " in printed
    assert all((tmp_path / "meta" / f"{name}.png").exists() for name in ("learning", "methods", "actions"))
    before = (tmp_path / "meta" / "evaluation.json").read_bytes()
    assert main(evaluate) == 0  # nothing is played again
    assert capsys.readouterr().out == printed and (tmp_path / "meta" / "evaluation.json").read_bytes() == before


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["train", "--datapath", "nowhere"], "nowhere, which does not exist"),
        (["train", "--episodes", "0"], "Expected a whole number of 1 or more"),
        (["evaluate", "--out", "nothing"], "without a trained policy"),
    ],
)
def test_bad_inputs_are_one_line(arguments, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments)
    except SystemExit as error:
        status = error.code
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2 and named in line


def test_gradients_of_the_surrogate_stop_at_the_clip():
    """A ratio beyond 1 + clip in the direction of a gain has no slope; one in the other direction has."""
    policy = Policy(decisions=1, features=("a",), controls=("b",))
    ppo = PPO(policy, PPOOptions(rate=0.0))
    observations, chosen = tf.zeros((1, 1)), tf.constant([[0.3]])
    probability = ppo.log_probability(observations, chosen)
    slopes = []
    for gained in (1.0, -1.0):
        with tf.GradientTape() as tape:
            ratio = tf.exp(ppo.log_probability(observations, chosen) - (probability - 1.0))  # e
            loss = ppo.surrogate(ratio, tf.constant([gained]))
        slopes.append(float(tape.gradient(loss, policy.network.biases[-1])[0]))
    assert slopes[0] == 0 and slopes[1] != 0

import json

import pytest
import tensorflow as tf

from srwgan.training.cluster import cluster_config, expand_node_list, expand_task_counts
from srwgan.training.devices import build_strategy, is_chief, sum_over_workers, worker_position


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in "TF_CONFIG", "SLURM_STEP_NUM_TASKS":
        monkeypatch.delenv(name, raising=False)


def slurm(**variables):
    return {
        "SLURM_JOB_ID": "41007",
        "SLURM_PROCID": "0",
        "SLURM_NTASKS": "3",
        **{f"SLURM_{name.upper()}": str(value) for name, value in variables.items()},
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("login1", ["login1"]),
        ("a,b", ["a", "b"]),
        ("node[2-3,10]", ["node2", "node3", "node10"]),
        ("gpu[08-10,12],login1", ["gpu08", "gpu09", "gpu10", "gpu12", "login1"]),
        ("rack[1-2]n[07,9]-ib", ["rack1n07-ib", "rack1n9-ib", "rack2n07-ib", "rack2n9-ib"]),
    ],
)
def test_slurms_node_lists(text, names):
    assert expand_node_list(text) == names


@pytest.mark.parametrize(("text", "counts"), [("1", [1]), ("2(x3),1", [2, 2, 2, 1]), ("4,2(x2)", [4, 2, 2])])
def test_slurms_task_counts(text, counts):
    assert expand_task_counts(text) == counts


def test_a_job_step_of_slurm_is_a_cluster_in_the_order_of_its_ranks():
    """node10 after node9, two tasks on the first node."""
    environment = slurm(step_num_tasks=3, step_nodelist="node[9-10]", step_tasks_per_node="2,1", procid=2)
    assert cluster_config(environment) == {
        "cluster": {"worker": ["node9:21007", "node9:21008", "node10:21007"]},
        "task": {"type": "worker", "index": 2},
    }


def test_the_port_can_be_given():
    environment = slurm(step_num_tasks=2, step_nodelist="a,b", step_tasks_per_node="1(x2)", srwgan_port=9)
    assert cluster_config({**environment, "SRWGAN_PORT": "5000"})["cluster"]["worker"] == ["a:5000", "b:5000"]


def test_a_batch_script_without_srun_is_a_single_task():
    """SLURM_NTASKS and SLURM_PROCID are there, but nobody else is."""
    assert cluster_config(slurm(job_nodelist="a,b", tasks_per_node="2,1")) is None
    assert cluster_config(slurm(step_num_tasks=1, step_nodelist="a", step_tasks_per_node="1")) is None
    assert cluster_config({}) is None


def test_tasks_that_do_not_fit_their_nodes():
    with pytest.raises(ValueError, match=r"Received: 3 SLURM tasks, \[1, 1\] on the nodes \['a', 'b'\]"):
        cluster_config(slurm(step_num_tasks=3, step_nodelist="a,b", step_tasks_per_node="1(x2)"))


def test_a_given_cluster_comes_first_and_its_chief_is_the_first_worker():
    given = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    environment = slurm(step_num_tasks=2, step_nodelist="x,y", step_tasks_per_node="1(x2)")
    assert cluster_config({**environment, "TF_CONFIG": json.dumps(given)}) == given

    given = {"cluster": {"chief": ["c:1"], "worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    expected = {"cluster": {"worker": ["c:1", "a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}
    assert cluster_config({"TF_CONFIG": json.dumps(given)}) == expected
    given["task"] = {"type": "chief", "index": 0}
    assert cluster_config({"TF_CONFIG": json.dumps(given)})["task"] == {"type": "worker", "index": 0}

    alone = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    assert cluster_config({"TF_CONFIG": json.dumps(alone)}) is None


@pytest.mark.parametrize(
    "text",
    [
        "two workers",
        "[]",
        "{}",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:1"], "ps": ["c:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_a_tf_config_that_is_none(text):
    with pytest.raises(ValueError, match="Received: TF_CONFIG=.*Expected JSON like"):
        cluster_config({"TF_CONFIG": text})


def test_strategies_by_name():
    assert build_strategy("one") is tf.distribute.get_strategy()
    if not tf.config.list_physical_devices("GPU"):
        assert build_strategy("auto") is tf.distribute.get_strategy()
    assert isinstance(build_strategy("mirrored"), tf.distribute.MirroredStrategy)
    with pytest.raises(ValueError, match="Received: strategy=two. Expected one of auto, one, mirrored, multiworker."):
        build_strategy("two")
    with pytest.raises(ValueError, match="strategy=multiworker without a cluster. Expected TF_CONFIG, or a job step"):
        build_strategy("multiworker")


@pytest.mark.parametrize("name", ["one", "mirrored"])
def test_a_single_process_is_chief_of_itself(name):
    strategy = build_strategy(name)
    assert is_chief(strategy)
    assert worker_position(strategy) == (0, 1, strategy.num_replicas_in_sync)
    assert sum_over_workers(strategy, 5) == 5

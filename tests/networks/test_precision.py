from pathlib import Path

import pytest

from srwgan.networks import precision


@pytest.fixture(autouse=True)
def fresh():
    precision.has_fast_bfloat16.cache_clear()
    yield
    precision.has_fast_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("flags", "seconds", "policy"),
    [
        ("fma avx512f avx512_bf16", {"float32": 2, "bfloat16": 1}, "mixed_bfloat16"),
        ("fma avx512f amx_bf16", {"float32": 8, "bfloat16": 1}, "mixed_bfloat16"),
        ("fma avx512f avx512_bf16", {"float32": 1, "bfloat16": 2}, "float32"),  # has it, but is slow at it
        ("fma avx512f", {"float32": 2, "bfloat16": 1}, "float32"),  # no hardware: no need to try
    ],
)
def test_auto_is_bfloat16_where_the_cpu_has_it_and_is_faster(flags, seconds, policy, monkeypatch):
    monkeypatch.setattr(precision.tf.config, "list_physical_devices", lambda kind: [])
    cpuinfo = f"model name: x\nflags\t: {flags}\n"
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: cpuinfo)
    monkeypatch.setattr(precision, "seconds_of_product", seconds.get)
    assert precision.choose_policy() == policy


def test_a_moments_load_does_not_decide(monkeypatch):
    monkeypatch.setattr(precision.tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: "flags\t: avx512_bf16\n")
    seconds = {"bfloat16": iter([9, 1, 9]), "float32": iter([2, 2, 2])}
    monkeypatch.setattr(precision, "seconds_of_product", lambda name: next(seconds[name]))
    assert precision.choose_policy() == "mixed_bfloat16"


@pytest.mark.parametrize(("capability", "policy"), [((8, 0), "mixed_bfloat16"), ((7, 5), "float32")])
def test_auto_on_a_gpu(capability, policy, monkeypatch):
    monkeypatch.setattr(precision.tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(
        precision.tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": capability}
    )
    assert precision.choose_policy() == policy


def test_products_are_timed():
    assert 0 < precision.seconds_of_product("float32", 64) < precision.seconds_of_product("float32", 1536)


def test_an_unknown_name():
    with pytest.raises(ValueError, match=r"Received: precision=half. Expected auto, float32, bfloat16,"):
        precision.choose_policy("half")

import json
from pathlib import Path

import pytest

from srwgan.measured import cache_file
from srwgan.networks import precision


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "CHOICES_FILE", tmp_path / "cache" / "precision.json")
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


@pytest.fixture
def cpu(monkeypatch):
    """A CPU's name, which may be set, that has bfloat16; what is measured of it, and how often that was."""
    cpu = {"name": "one", "bfloat16": 1.0, "float32": 2.0, "measured": 0}
    read_text = Path.read_text

    def cpuinfo(path, **options):
        if path.name != "cpuinfo":
            return read_text(path, **options)
        return f"model name\t: {cpu['name']}\nflags\t: avx512_bf16\n"

    def seconds_of_product(name):
        cpu["measured"] += 1
        return cpu[name]

    monkeypatch.setattr(precision.tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(Path, "read_text", cpuinfo)
    monkeypatch.setattr(precision, "seconds_of_product", seconds_of_product)
    return cpu


def measured_by(cpu, policy):
    """How many products were timed for a choice, in a process of its own."""
    before = cpu["measured"]
    precision.has_fast_bfloat16.cache_clear()
    assert precision.choose_policy() == policy
    return cpu["measured"] - before


def test_the_choice_is_kept_for_the_cpu_and_the_version(cpu, monkeypatch):
    assert measured_by(cpu, "mixed_bfloat16") == 6
    cpu["bfloat16"] = 9.0
    assert measured_by(cpu, "mixed_bfloat16") == 0
    cpu["name"] = "another"
    assert measured_by(cpu, "float32") == 6 and measured_by(cpu, "float32") == 0
    cpu["name"] = "one"
    assert measured_by(cpu, "mixed_bfloat16") == 0
    monkeypatch.setattr(precision.tf, "__version__", "99.0")
    assert measured_by(cpu, "float32") == 6


@pytest.mark.parametrize("content", ["torn {", "[1, 2]", '{"one": true}', '{"KEY": "bfloat16"}', '{"KEY": true}'])
def test_a_file_of_something_else_is_measured_anew(cpu, content):
    assert measured_by(cpu, "mixed_bfloat16") == 6
    (key,) = json.loads(precision.CHOICES_FILE.read_bytes())
    precision.CHOICES_FILE.write_text(content.replace("KEY", key))
    assert measured_by(cpu, "mixed_bfloat16") == 6 and measured_by(cpu, "mixed_bfloat16") == 0


def test_what_is_not_clear_or_not_wanted_is_not_kept(cpu, tmp_path, monkeypatch):
    cpu["bfloat16"] = 1.9
    assert measured_by(cpu, "mixed_bfloat16") == measured_by(cpu, "mixed_bfloat16") == 6
    cpu["bfloat16"] = 1.0
    for nowhere in None, Path("/proc/no folder can be here/precision.json"):
        monkeypatch.setattr(precision, "CHOICES_FILE", nowhere)
        assert measured_by(cpu, "mixed_bfloat16") == measured_by(cpu, "mixed_bfloat16") == 6


def test_where_it_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("SRWGAN_CACHE", str(tmp_path))
    assert cache_file("a.json") == tmp_path / "a.json"
    monkeypatch.setenv("SRWGAN_CACHE", "")
    assert cache_file("a.json") is None
    monkeypatch.delenv("SRWGAN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_file("a.json") == tmp_path / "srwgan" / "a.json"


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

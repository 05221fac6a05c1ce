from srwgan.memory import available_memory, cgroup_memory


def test_memory_limits_of_control_groups_are_seen(tmp_path):
    group = tmp_path / "slurm" / "job"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text("1000\n")
    (group.parent / "memory.current").write_text("400\n")
    (group.parent / "memory.stat").write_text("anon 300\ninactive_file 50\n")
    (tmp_path / "self").write_text("0::/slurm/job\n")
    assert list(cgroup_memory(tmp_path, tmp_path / "self")) == [650]
    (tmp_path / "self").write_text("4:cpu,memory:/slurm\n1:name=systemd:/x\n")
    memory = tmp_path / "memory" / "slurm"
    memory.mkdir(parents=True)
    (memory / "memory.limit_in_bytes").write_text("900")
    (memory / "memory.usage_in_bytes").write_text("100")
    (memory / "memory.stat").write_text("total_inactive_file 7\n")
    assert list(cgroup_memory(tmp_path, tmp_path / "self")) == [807]
    assert available_memory() > 0

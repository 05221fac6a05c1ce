import pytest

from srwgan.whole_files import read_json, write_json, write_text


def test_json_there_and_back(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, None]})
    assert read_json(tmp_path / "a.json") == {"a": [1, None]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_json_that_is_torn_or_not_there_is_none(tmp_path):
    (tmp_path / "torn.json").write_text('{"a": ')
    assert read_json(tmp_path / "torn.json") is None and read_json(tmp_path / "none.json") is None


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere.*cannot be written"):
        write_text(tmp_path / "nowhere" / "a.txt", "text")


def test_content_that_is_no_json_leaves_what_was_there(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", object())
    assert read_json(tmp_path / "a.json") == 1

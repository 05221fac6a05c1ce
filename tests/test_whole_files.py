import pytest

from srwgan.whole_files import folder_written_whole, read_json, write_json, write_text


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


def test_a_folder_is_there_when_its_block_has_ended_and_the_old_one_is_moved_aside(tmp_path):
    for number, aside in (1, None), (2, tmp_path / "before"):
        with folder_written_whole(tmp_path / "new", aside=aside) as temporary:
            (temporary / "a.txt").write_text(str(number))
            assert (tmp_path / "new").exists() == (number == 2)
    assert (tmp_path / "new" / "a.txt").read_text() == "2" and (tmp_path / "before" / "a.txt").read_text() == "1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before", "new"]


def test_a_folder_whose_block_failed_leaves_the_old_one_and_nothing_else(tmp_path):
    (tmp_path / "new").mkdir()
    with pytest.raises(KeyError), folder_written_whole(tmp_path / "new", aside=tmp_path / "before") as temporary:
        (temporary / "a.txt").write_text("half")
        raise KeyError
    assert [path.name for path in tmp_path.rglob("*")] == ["new"]

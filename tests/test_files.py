"""Files that are written whole or not at all."""

import pytest

from kdjax import files


def test_what_others_write_takes_its_place_with_the_files_beside_it(tmp_path):
    target = tmp_path / "model.onnx"
    target.write_text("old")
    with files.replacing(target) as part:
        part.write_text("new")
        part.with_suffix(".json").write_text("{}")
        assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.onnx"]
    assert target.read_text() == "new"


def test_after_an_error_all_is_as_before(tmp_path):
    target = tmp_path / "model.onnx"
    target.write_text("old")

    def fail():
        with files.replacing(target) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert target.read_text() == "old"


def test_bytes_are_written_into_a_folder_that_is_not_there(tmp_path):
    files.write_bytes(tmp_path / "a" / "b" / "c", b"1")
    assert (tmp_path / "a/b/c").read_bytes() == b"1"
    assert len(list((tmp_path / "a/b").iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "said"), [("[]", "holds list, not the description of the model"), ("{", "cannot read")]
)
def test_a_description_that_is_none_is_told(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        files.read_description(tmp_path / "a.json", "the model")

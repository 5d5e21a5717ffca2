"""Files are written whole or not at all, and errors say which file, what, and what to do."""

import errno
import os

import pytest

from toolslm_helpers.files import (
    DataError,
    WorkbookError,
    atomic_write_json,
    atomic_write_text,
    data_samples,
    read_json,
    repository_root,
)


def test_what_is_written_is_read_again_and_stays_readable(tmp_path):
    path = atomic_write_json(tmp_path / "new" / "folder" / "a.json", {"city": "Zürich", "n": [1, 2]})
    assert read_json(path) == {"city": "Zürich", "n": [1, 2]}
    assert path.read_text(encoding="utf-8") == '{\n "city": "Zürich",\n "n": [\n  1,\n  2\n ]\n}\n'
    assert os.stat(path).st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["a.json"]


@pytest.mark.parametrize("fails", ["write", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, fails):
    path = atomic_write_text(tmp_path / "a.txt", "old")

    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace" if fails == "replace" else "fdopen", full)
    with pytest.raises(WorkbookError, match=r"a\.txt: could not be written \(No space left on device\).*Free some space"):
        atomic_write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_value_that_json_cannot_hold_leaves_the_old_file(tmp_path):
    path = atomic_write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        atomic_write_json(path, {1, 2})
    assert read_json(path) == 1 and os.listdir(tmp_path) == ["a.json"]


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WorkbookError, match="could not be written"):
        atomic_write_text(tmp_path / "file" / "a.txt", "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"\xff\xfe", r"not UTF-8 text \(byte 0\)"),
        (b'{"a": 1,\n "b"}', r"broken JSON at line 2, column 5"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, message):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_json(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_folder_in_place_of_a_file_is_named(tmp_path):
    with pytest.raises(DataError, match="could not be read"):
        read_json(tmp_path)


def test_the_repository_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (repository_root() / "pyproject.toml").is_file() and data_samples() == repository_root() / "data_samples"

"""Kills and errors at file operations; imports little, since a process to kill imports it too."""

import errno

import pytest

from tests.faults import operations

pytestmark = pytest.mark.slow


def write_two(root):
    root.mkdir()
    (root / "a").write_text("first")
    (root / "draft").write_text("second")
    (root / "draft").replace(root / "b")


def test_a_kill_leaves_what_was_on_disk_before_it(tmp_path):
    """Making the folder, opening a, opening draft, renaming: four changes."""
    assert operations.count(tmp_path / "counted", write_two, changes=True) == 4
    assert operations.killed(tmp_path / "x", write_two, 2)
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["a"]
    assert not operations.killed(tmp_path / "y", write_two, 4)
    operations.stopped(tmp_path / "z", write_two, 3)
    assert sorted(path.name for path in (tmp_path / "z").iterdir()) == ["a", "draft"]


def test_a_full_disk_cuts_what_was_being_written(tmp_path):
    raised = operations.refused(tmp_path / "x", write_two, 3, errno.ENOSPC)
    assert isinstance(raised, OSError)
    assert raised.errno == errno.ENOSPC
    assert (tmp_path / "x/draft").read_text() == "sec"

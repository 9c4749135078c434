"""The tutorial runs from top to bottom on the demo, and what is committed shows what it prints."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.conftest import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


@pytest.fixture
def kernel(tmp_path, monkeypatch) -> Path:
    """A folder to run a notebook in, with this checkout importable and nothing of the user's Jupyter."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel draws inline
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
        (tmp_path / name).mkdir()
    return tmp_path


def execute(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """A notebook, executed; raises if a cell does."""
    resources = {"metadata": {"path": str(folder)}}
    return NotebookClient(notebook, timeout=600, record_timing=False, resources=resources).execute()


def committed() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: nbformat.NotebookNode) -> set[str]:
    """Return what a cell shows: streams by name, everything else by its media types.

    Progress on stderr is left out, since whether a line comes depends on how fast the machine is.
    """
    shown = {kind for output in cell.outputs for kind in output.get("data", [output.get("name", "error")])}
    return shown - {"stderr"}


@pytest.mark.nightly
@pytest.mark.slow
def test_every_cell_runs_and_shows_what_is_committed(kernel):
    notebook = committed()
    shown = {cell.id: kinds(cell) for cell in code_cells(notebook)}
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    executed = {cell.id: kinds(cell) for cell in code_cells(execute(notebook, kernel))}
    assert executed == shown  # so outputs that were stripped, or are of other cells, are found
    assert {"image/png", "text/markdown", "stdout"} <= set().union(*executed.values())


@pytest.mark.slow
def test_a_cell_that_raises_is_found(kernel):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 > 2")])
    with pytest.raises(CellExecutionError, match="AssertionError"):
        execute(notebook, kernel)


def test_no_cell_may_raise_unseen():
    notebook = committed()
    assert not [cell.id for cell in notebook.cells if "raises-exception" in cell.metadata.get("tags", [])]
    assert "allow_errors" not in str(notebook.metadata)


def test_the_committed_outputs_are_of_one_run_without_warnings():
    cells = code_cells(committed())
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not {"error", "stderr"} & set().union(*map(kinds, cells))
    assert "Warning" not in NOTEBOOK.read_text(encoding="utf-8")


def test_the_committed_outputs_name_no_folder_of_a_machine():
    told = "".join(str(output) for cell in code_cells(committed()) for output in cell.outputs)
    assert not re.findall(r"(?<![\w.])/(?:home|root|tmp|usr|Users|work)/\S*|site-packages\S*", told)


def test_the_notebook_is_light_and_its_links_lead_somewhere():
    assert NOTEBOOK.stat().st_size < 300_000
    text = "\n".join(cell.source for cell in committed().cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert {"how-to/own_data.md", "explanation/concepts.md"} <= set(links)
    assert [link for link in links if not (NOTEBOOK.parent / link).is_file()] == []

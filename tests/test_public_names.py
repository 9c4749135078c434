"""What each package offers by its own name: examples that run, and console scripts that nothing shadows."""

import argparse
import doctest
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from augment_store import inspect_store
from augment_store.chips.layouts import shipped_layout
from eval import compare_runs, score_maps, score_runs
from finetune import fit
from finetune.options import parser as finetune_parser
from generate import GenerateOptions, generate
from generate.cli.generate import generate_parser
from generate.errors import OptionsError
from tests.conftest import ROOT
from tests.eval.scores import make_score
from tests.worlds import EAST, write_impactmesh_chips, write_tif

PACKAGES = ("augment_store", "generate", "finetune", "eval", "predict")
CONFIG = ROOT / "demo" / "configs" / "demo.yaml"
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with what the examples name: chips, a store, a trained run and scores of three seeds."""
    root, layout = tmp_path_factory.mktemp("place"), shipped_layout("impactmesh")
    chips = root / "data" / "nyc"
    ids = [f"scene{i // 2}_r{i % 2:03d}c000" for i in range(6)]
    write_impactmesh_chips(chips, ids)
    for number, split in enumerate(("train", "val", "test")):
        path = chips / layout.splits[split][0]
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(ids[2 * number : 2 * number + 2]))
    for seed, chip_id in enumerate(ids):
        labels = np.random.default_rng(seed).integers(0, 5, (1, 32, 32)).astype(np.int8)
        write_tif(chips / "data" / layout.mask[0].format(id=chip_id), labels, EAST + 320 * seed)
    store = root / "stores" / "nyc_lulc"
    generate(chips, store, generator="demo", accelerator="cpu", top_k=1)
    shorter = {"trainer.max_epochs": 1, "trainer.accelerator": "cpu"}
    trained = fit(CONFIG, root / "runs" / "tim", chips=chips, augment=store, overrides=shorter)
    assert "maps onehot, seed 0, epochs 1" in repr(trained)
    assert trained._repr_html_().count("data:image/webp") == 2  # curves and predictions
    for seed in (1, 2, 3):
        make_score(root / "scored" / f"base_{seed}", seed=seed)
        make_score(root / "scored" / f"tim_{seed}", gain=0.1, seed=seed)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_the_example_of_a_package_runs(name, place, monkeypatch):
    monkeypatch.chdir(place)
    package = importlib.import_module(name)
    assert ">>> " in package.__doc__
    (example,) = doctest.DocTestFinder(recurse=False).find(package, name, globs={})
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_ONLY_FIRST_FAILURE)
    report: list[str] = []
    assert runner.run(example, out=report.append).failed == 0, "".join(report)


@pytest.mark.slow
def test_the_python_of_the_readme_runs(place, monkeypatch):
    monkeypatch.chdir(place)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    known: dict[str, object] = {}
    for block in blocks:
        exec(block, known)
    assert known["lulc"].shape == (1, 2, 32, 32)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_on_offer_is_there(name):
    package = importlib.import_module(name)
    assert package.__all__ == sorted(package.__all__)
    assert dir(package) == package.__all__
    assert all(getattr(package, offered).__doc__ for offered in package.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = package.nothing


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_waits_with_heavy_imports(name):
    """A door that imports what is behind it would make every --help wait for torch."""
    code = f"import sys, {name}; sys.exit(any(heavy in sys.modules for heavy in ('torch', 'zarr', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_function_takes_what_the_command_takes():
    """All of its options, but those that say what is printed, with the command's defaults."""
    options = {action.dest: action.default for action in generate_parser()._actions}
    taken = inspect.signature(generate).parameters
    assert set(taken) == options.keys() - {"help", "version", "dry_run", "quiet"}
    assert [name for name, one in taken.items() if one.kind is one.POSITIONAL_OR_KEYWORD] == [
        "chips",
        "store",
    ]
    assert taken["top_p"].default == options["top_p"] == 0.8
    assert inspect.signature(generate).return_annotation == "AugmentStore"


def _parser_of(module: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    importlib.import_module(module).add_arguments(parser)
    return parser


@pytest.mark.parametrize(
    ("function", "parser", "printed"),
    [
        # what is written or printed of what the function returns
        (inspect_store, lambda: _parser_of("augment_store.cli.inspect"), {"png", "html"}),
        (compare_runs, lambda: _parser_of("eval.cli.compare"), {"require", "control"}),
        (score_runs, lambda: _parser_of("eval.cli.score"), set()),
        (score_maps, lambda: _parser_of("eval.cli.zero_shot"), set()),
        (fit, finetune_parser, {"version", "command", "smoke", "dtype"}),
    ],
)
def test_functions_take_what_their_commands_take(function, parser, printed):
    options = {
        action.dest: action.default for action in parser()._actions if action.dest not in {"help", *printed}
    }
    taken = dict(inspect.signature(function).parameters)
    # names that Python users expect: several controls by name, and further keys of the YAML as a dict
    for own in ("controls", "overrides"):
        taken.pop(own, None)
    assert set(taken) == set(options)
    defaults = {name: one.default for name, one in taken.items() if one.default is not one.empty}
    assert {name: options[name] for name in defaults} == defaults


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modality": "FOO"}, "--modality FOO: expected LULC, NDVI, "),
        ({"samples": 0}, "--samples 0: expected at least 1"),
        ({"top_k": "many"}, "--top-k many: Input should be a valid integer"),
        ({"inputs": "DEM"}, "--inputs DEM: "),
        ({"inputs": ["DEM", "DEM"]}, "--inputs DEM DEM: a modality appears twice"),
    ],
)
def test_the_function_refuses_what_the_command_refuses(options, message, tmp_path):
    chips = write_impactmesh_chips(tmp_path / "chips", ["a"])
    with pytest.raises(OptionsError, match=message):
        generate(chips, tmp_path / "store", **options)
    with pytest.raises(OptionsError, match=message):
        generate(GenerateOptions(chips, tmp_path / "store", **options))


def test_the_function_refuses_a_keyword_that_is_no_option(tmp_path):
    with pytest.raises(TypeError, match="unexpected keyword argument 'top_q'"):
        generate(tmp_path, tmp_path / "store", top_q=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [name if name == "tim-eval" else pytest.param(name, marks=pytest.mark.nightly) for name in SCRIPTS],
)
def test_a_console_script_is_not_shadowed_by_a_file_of_the_users(script, tmp_path):
    """As pip makes them, run in a folder with modules of the same names as our packages."""
    module, _, function = SCRIPTS[script].partition(":")
    package = module.split(".")[0]
    installed = tmp_path / "bin" / script
    installed.parent.mkdir()
    installed.write_text(f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / f"{package}.py").write_text("print('MINE')\n")
    told = [
        subprocess.run(
            [sys.executable, *words, "--help"],
            cwd=tmp_path / "work",
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for words in ([installed], ["-m", package])
    ]
    assert told[0].startswith("usage: ")
    assert told[1] == "MINE\n"  # which is why there are scripts

"""Help and mistakes are told before anything heavy is imported; seconds would depend on the machine."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from augment_store.cli.main import COMMANDS as STORE_COMMANDS
from eval.cli.main import COMMANDS as EVAL_COMMANDS
from finetune.options import CONFIGS
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

MODULES = (
    *("augment_store", "generate", "finetune", "eval", "predict"),
    *("demo", "demo.world", "tools.demo_generator"),
)
SUBCOMMANDS = [
    "generate audit",
    "generate decode",
    *(f"augment_store {name}" for name in STORE_COMMANDS),
    *(f"eval {name}" for name in EVAL_COMMANDS),
]
TRAINING = ("torch", "lightning", "terratorch")
HEAVY = (*TRAINING, "zarr", "rasterio", "matplotlib", "scipy", "xarray")


FORKING = """
import gc, importlib, json, os, runpy, sys, traceback

for name in sys.argv[1:]:
    importlib.import_module(name)
gc.freeze()
for line in sys.stdin:
    folder, words, unwanted = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        for stream in (sys.stdout, sys.stderr):
            opened = os.open(f"{folder}.{stream.fileno()}", os.O_WRONLY | os.O_CREAT)
            os.dup2(opened, stream.fileno())
        sys.argv = words
        status = 0
        try:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            status = ended.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
        print("imported:", *[name for name in unwanted if name in sys.modules])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # to take the interpreter down would take longer than the command
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Program that runs `python -m WORDS` in a fork of a fresh interpreter, for each line of JSON that it reads."""


@dataclass(frozen=True)
class Done:
    """What a command ended with; the last line of `stdout` lists the unwanted modules that it imported."""

    returncode: int
    stdout: str
    stderr: str


Start = Callable[[Path, list[str], tuple[str, ...]], Done]


@contextmanager
def forking(*imported: str) -> Iterator[Start]:
    """Start an interpreter with some modules imported, whose forks are the commands: a tenth of a second each."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKING, *imported],
        env={"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def start(folder: Path, words: list[str], unwanted: tuple[str, ...]) -> Done:
            process.stdin.write(json.dumps([str(folder), words, unwanted]) + "\n")
            process.stdin.flush()
            status = int(process.stdout.readline())
            return Done(status, *(Path(f"{folder}.{number}").read_text() for number in (1, 2)))

        yield start
        process.stdin.close()


@pytest.fixture(scope="module")
def start_fresh() -> Iterator[Start]:
    """Starts commands where nothing heavy has been imported."""
    with forking("numpy", "pydantic", "rich.progress", "yaml") as start:
        yield start


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Starts commands where everything but what trains has been imported, which would take a second each time."""
    light = ("eval.cli.compare", "augment_store.cli.inspect", "generate.cli.main", "huggingface_hub")
    with forking("matplotlib.pyplot", "scipy.stats", "xarray", *light) as start:
        yield start


@pytest.mark.parametrize(
    "command", [*MODULES, *(pytest.param(name, marks=pytest.mark.nightly) for name in SUBCOMMANDS)]
)
def test_help_imports_nothing_heavy(command, start, start_fresh, tmp_path):
    # a subcommand's own help imports its module, which may read stores; no help waits for torch
    chosen, unwanted = (start_fresh, HEAVY) if command in MODULES else (start, TRAINING)
    done = chosen(tmp_path, [*command.split(), "--help"], unwanted)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
    assert done.stdout.endswith("imported:\n")


@pytest.mark.parametrize("command", MODULES)
@pytest.mark.parametrize(("option", "status"), [("--version", 0), ("--unheard-of", 2)])
def test_the_version_and_a_usage_error_import_nothing_heavy(command, option, status, start_fresh, tmp_path):
    done = start_fresh(tmp_path, [*command.split(), option], HEAVY)
    assert done.returncode == status, done.stderr
    assert done.stdout.endswith("imported:\n")


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with the mistakes that the commands below run into."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.yaml").write_text("data: [1, 2")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "zarr.json").write_text("{")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "zarr.json").write_text(
        '{"zarr_format": 3, "node_type": "group", "attributes": {"schema_version": 1}}'
    )
    (tmp_path / "taken" / "checkpoints").mkdir(parents=True)
    (tmp_path / "taken" / "checkpoints" / "last.ckpt").touch()
    named = yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())
    named["data"]["init_args"]["encoding"] = ["onehott"]
    named["data"]["init_args"]["control"] = "constant"
    (tmp_path / "typo.yaml").write_text(yaml.safe_dump(named))
    return tmp_path


FIT = "finetune fit --run run --config nyc_phase2"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("generate --chips none --store s", "none: no such folder"),
        ("generate --chips empty --store s", "empty: no chips found"),
        ("generate --chips empty --store s --generator terramind_v9", "unknown generator 'terramind_v9'"),
        ("generate --chips empty --store taken", "taken: exists and is not an augment store"),
        ("generate --chips empty --store s --devices 0", "--devices 0: expected 1 or more"),
        ("generate audit --chips none", "none: no such folder"),
        ("finetune fit --run run --config nyc_phase3", "--config nyc_phase3: no such file; these ship"),
        ("finetune fit --run run --config broken.yaml", "broken.yaml: cannot be read"),
        ("finetune fit --run run --config typo.yaml", "unknown encoding 'onehott'; expected onehot"),
        ("finetune fit --run run --config nyc_tim_lulc", "data.init_args.augment: stores/nyc_lulc is not an"),
        ("finetune test --run run", "run/config.yaml: no such file; name a YAML with --config"),
        ("finetune fit --run taken --config nyc_phase2", "taken: holds a run already"),
        (f"{FIT} --chips none", "none: no such folder; --chips takes the root folder of a chip set"),
        (f"{FIT} --chips empty --layout unheard", "unheard"),
        (f"{FIT} --augment none", "--augment none: not an augment store"),
        (f"{FIT} --augment damaged", "damaged"),
        (f"{FIT} --augment old", "old: schema version 1"),
        (f"{FIT} --control shufle", "unknown control 'shufle'; expected shuffle"),
        (f"{FIT} --control shuffle", "--control shuffle takes the maps of a store"),
        (f"{FIT} --encoding onehot", "encoding onehot without a store"),
        (f"{FIT} --control analytic-ndvi --encoding onehot", "cannot make onehot; use --encoding ndvi"),
        (f"{FIT} --control constant --encoding tokens onehot", "tokens are not planes"),
        (f"{FIT} --chips none --data.init_args.batch_size 2", "none: no such folder"),
        ("eval score taken empty", "taken/manifest.json: no such file"),
        ("eval score out --config none.yaml --checkpoint x.ckpt", "none.yaml: cannot be read"),
        ("eval score out --config typo.yaml --checkpoint x.ckpt", "--checkpoint x.ckpt: no such file"),
        ("eval score out --config typo.yaml --checkpoint typo.yaml --chips none", "none: no such folder"),
        ("eval score out --config typo.yaml --checkpoint typo.yaml --store none", "not an augment store"),
        ("eval zero-shot none --chips empty --out out", "none: not an augment store"),
        (
            "eval publish none --report empty --out out --license MIT",
            "empty/report.json: no such report",
        ),
        ("eval compare --baseline none --candidate none --out out", "none: no score"),
        ("eval study --config none", "--config none: no such file"),
        ("augment_store verify none", "none: not an augment store"),
        ("demo --out taken", "taken: cannot be written (exists and is not empty)"),
        ("demo.world --chips taken", "taken: cannot be written (exists and is not empty)"),
    ],
)
def test_a_mistake_is_reported_before_torch_is_imported(command, message, start, place):
    done = start(place, command.split(), TRAINING)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout.endswith("imported:\n")
    assert not any((place / name).exists() for name in ("run", "s", "out"))

import json
import shlex
import subprocess
import sys
from importlib.metadata import version

import pytest

from augment_store.cli.main import COMMANDS, main
from augment_store.cli.parser import add_commands, new_parser, run_guarded
from augment_store.io.lock import file_lock
from augment_store.store.chip_index import ChipEntry
from augment_store.store.schema import ChipShape
from augment_store.store.writer import AugmentStore
from tests.worlds import make_spec


def run_module(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True, **kwargs
    )


def test_info_tells_what_is_in_a_store(store, capsys):
    assert main(["info", str(store.path), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["chips"], summary["complete"], summary["pending"], summary["scenes"]) == (5, 4, 1, 3)
    assert summary["spec"] == store.spec.to_dict()
    assert main(["info", str(store.path)]) == 0
    assert "terramind_v1_tiny" in capsys.readouterr().out


@pytest.mark.slow
def test_verify_as_a_subprocess_exits_1_with_a_line_per_problem(store):
    found = run_module("augment_store", "verify", store.path)
    assert found.returncode == 1
    assert found.stdout.splitlines() == [
        "chip chip4: pending; run the generate command again",
        f"{store.path}: 1 problem, 5 chips",
    ]


def test_repair_looks_at_nothing_while_another_run_writes(store, capsys):
    before = store.path.joinpath("zarr.json").stat().st_mtime_ns
    with file_lock(store.path):
        assert main(["verify", str(store.path), "--repair"]) == 2
    told = capsys.readouterr()
    assert told.err == f"error: {store.path}: another run is writing here; wait for it to end\n"
    assert told.out == ""  # nothing was looked at
    assert store.path.joinpath("zarr.json").stat().st_mtime_ns == before
    assert main(["verify", str(store.path), "--repair"]) == 1
    assert capsys.readouterr().out.endswith("1 problem, 5 chips\n0 chips set back to pending\n")


def test_repairing_what_is_no_store_makes_nothing(tmp_path, capsys):
    assert main(["verify", str(tmp_path / "none" / "s"), "--repair"]) == 2
    assert "not an augment store" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_verify_says_of_how_many_chips_the_maps_were_read(store, capsys):
    assert main(["verify", str(store.path), "--random", "2", "--seed", "5"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "chip chip4: pending; run the generate command again",
        f"{store.path}: 1 problem, 5 chips, maps read of 2 (seed 5)",
    ]
    with pytest.raises(SystemExit, match="2"):
        main(["verify", str(store.path), "--random", "0"])
    assert "argument --random: 0; expected at least 1" in capsys.readouterr().err


@pytest.mark.slow
def test_a_missing_store_is_a_line_and_exit_2(tmp_path):
    found = run_module("augment_store", "info", tmp_path / "none")
    assert found.returncode == 2
    assert found.stderr.startswith(f"error: {tmp_path}/none: not an augment store")
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_examples_that_its_parser_takes(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    examples = capsys.readouterr().out.partition("examples:\n")[2].strip().splitlines()
    parser = new_parser("augment_store", "")
    add_commands(parser, COMMANDS, [command])
    assert examples
    for example in examples:
        words = shlex.split(example.partition(" > ")[0])
        assert words[0] == "tim-store"
        assert parser.parse_args(words[1:]).command == command


@pytest.mark.slow
def test_only_the_module_of_the_chosen_command_is_imported():
    code = (
        "import sys\n"
        "from augment_store.cli.main import COMMANDS, main\n"
        "try: main(['info', '--help'])\n"
        "except SystemExit: pass\n"
        "print('imported:', *[name for name, command in COMMANDS.items() if command.module in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported: info"


def test_equal_problems_are_summed_up(tmp_path, capsys):
    store = AugmentStore.create(tmp_path / "s", make_spec(), ChipShape(1, 32, 32), 8)
    store.announce([ChipEntry(f"chip{number:02}", "scene") for number in range(13)])
    assert main(["verify", str(store.path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:10] == [
        f"chip chip{number:02}: pending; run the generate command again" for number in range(10)
    ]
    assert lines[10:] == [
        "3 more chips: pending; run the generate command again",
        f"{store.path}: 13 problems, 13 chips",
    ]


def test_help_says_what_a_store_is_and_which_version_this_is(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "holds what TerraMind generated for each chip" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"terramind-tim-store {version('terramind-tim-store')}\n"


def test_disk_full_and_ctrl_c_are_a_line(capsys):
    def full():
        raise OSError(28, "No space left on device", "/store/x")

    def failing():
        raise OSError(5, "Input/output error")

    def interrupted():
        raise KeyboardInterrupt

    assert run_guarded(full) == 1
    assert "/store/x: No space left on device; what is complete is kept" in capsys.readouterr().err
    assert run_guarded(failing) == 1
    assert "error: Input/output error; what is complete is kept" in capsys.readouterr().err
    assert run_guarded(interrupted) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path, capsys):
    assert run_guarded(lambda: (tmp_path / "none" / "s").mkdir()) == 2
    assert (
        capsys.readouterr().err == f"error: {tmp_path}/none/s: No such file or directory; name another path\n"
    )


@pytest.mark.parametrize("given", ["x" * 300, "loop"])
def test_a_path_that_is_none_is_a_usage_error(tmp_path, capsys, given):
    (tmp_path / "loop").symlink_to("loop")
    assert main(["verify", str(tmp_path / given)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / given) in line


def test_an_unexpected_error_keeps_its_traceback():
    def broken():
        raise OSError("a library's own")

    with pytest.raises(OSError, match="a library's own"):
        run_guarded(broken)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["inspekt", "x"], "no command 'inspekt'; expected init, "),
        (["inspekt", "x"], "; did you mean inspect?"),
        (["inspect", "x", "--htlm", "a.html"], "unrecognized arguments: --htlm a.html; did you mean --html?"),
    ],
)
def test_a_misspelled_command_or_option_names_the_one_that_was_meant(words, told, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err

"""The documents say what the code does: tables, commands, options, links and records are compared with it."""

import argparse
import dataclasses
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from augment_store.chips.layouts import SPLITS, Image, Layout, load_layout, shipped_layout
from augment_store.cli.main import COMMANDS as STORE_COMMANDS
from augment_store.modalities.definitions import INPUT_MODALITIES, LULC_LEGEND
from augment_store.modalities.legend_table import LegendTable
from augment_store.modalities.map_arrays import token_arrays
from augment_store.modalities.registry import CONTINUOUS, MAPS
from augment_store.store.schema import ENTRY_CHIPS, SCHEMA_VERSION, ChipShape, Role, chip_arrays, map_arrays
from augment_store.store.writer import AugmentStore
from eval.cli.main import COMMANDS as EVAL_COMMANDS
from eval.study.config import Study
from finetune.augment.controls import CONTROLS
from finetune.augment.encodings import ENCODINGS, VALUE
from finetune.options import parser as finetune_parser
from generate.options import audit_parser, generate_parser
from tests.conftest import ROOT
from tests.worlds import make_spec

DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
GUIDES = [path for path in DOCUMENTS if path.name not in {"CHANGELOG.md", "log.md"}]  # those tell of the past
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rows(text: str, *heading: str) -> list[list[str]]:
    """Rows of every table in a Markdown text whose heading begins with these cells."""
    found, inside = [], False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")] if "|" in line else []
        if tuple(cells[: len(heading)]) == heading:
            inside = True
        elif inside and not cells:
            inside = False
        elif inside and not line.startswith("|---"):
            found.append(cells)
    return found


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# The store ---------------------------------------------------------------------------------------------


def schemas() -> dict[str, tuple[object, bool]]:
    """Every array that a store can have, and whether it holds maps."""
    extent = ChipShape(2, 32, 32)
    specs = [make_spec(name, 2, probabilities=not entry.continuous) for name, entry in MAPS.items()]
    maps = {schema.name: (schema, True) for spec in specs for schema in map_arrays(spec, extent)}
    return maps | {schema.name: (schema, False) for spec in specs for schema in chip_arrays(spec, extent)}


def test_the_stores_page_has_every_array_as_the_schema_has_it():
    page = read("docs/store.md")
    documented = {
        names(name)[0]: (dims, dtype, fill.strip('"'), sorted(names(attributes)))
        for name, dims, dtype, fill, attributes, *_ in rows(page, "array", "dimensions")
    }
    expected = {
        name: (
            ", ".join(schema.dims),
            schema.dtype,
            str(schema.fill).replace("nan", "NaN"),
            sorted(schema.attributes),
        )
        for name, (schema, _) in schemas().items()
    }
    assert documented == expected


def test_the_stores_page_puts_arrays_where_they_belong():
    maps, columns = read("docs/store.md").split("The maps.")[1].split("The columns:")
    for text, are_maps in ((maps, True), (columns, False)):
        listed = {names(row[0])[0] for row in rows(text, "array", "dimensions")}
        assert listed == {name for name, (_, is_map) in schemas().items() if is_map is are_maps}


def test_the_stores_page_says_who_writes_which_column():
    page = read("docs/store.md").split("The columns:")[1]
    told = {names(row[0])[0]: row[5] for row in rows(page, "array", "dimensions")}
    assert told == {
        name: schema.role.name.lower() for name, (schema, is_map) in schemas().items() if not is_map
    }
    sizes = {names(row[0])[0]: row[2] for row in rows(page, "role", "written by")}
    assert sizes == {
        role.name.lower(): f"{ENTRY_CHIPS:,}" if role in {Role.ENTRY, Role.LOOKUP} else "a shard"
        for role in Role
        if role is not Role.GENERATED
    }


def test_the_stores_page_explains_every_dimension_and_attribute(tmp_path):
    page = read("docs/store.md")
    dims = [name for row in rows(page, "dimension", "length") for name in names(row[0])]
    tokens, _ = token_arrays("LULC", codebooks=2)
    assert set(dims) == {*tokens.dims, *(dim for schema, _ in schemas().values() for dim in schema.dims)}
    assert len(set(dims)) == len(dims)
    store = AugmentStore.create(tmp_path / "store", make_spec(), ChipShape(1, 32, 32))
    assert {names(row[0])[0] for row in rows(page, "attribute", "what")} == set(store.attributes)
    assert f"**schema version {SCHEMA_VERSION}**" in page
    missing = [f.name for f in dataclasses.fields(store.spec) if f"`{f.name}`" not in page]
    assert missing == []


# Files that a user writes ------------------------------------------------------------------------------


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", read(name), flags=re.MULTILINE | re.DOTALL)


def test_the_layouts_are_those_that_are_found():
    page = read("docs/formats.md").split("## A chip set")[1].split("A `.zarr.zip`")[0]
    table = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| ")}
    for column, name in ((2, "folders"), (3, "impactmesh")):
        layout = shipped_layout(name)
        prefix = "" if layout.data == (".",) else f"{layout.data[0]}/"
        cells = {key: line.split("|")[column].strip() for key, line in table.items()}
        assert cells[""].startswith(f"`{name}`")
        for modality in INPUT_MODALITIES:
            image = layout.images.get(modality)
            shown = "–" if image is None else f"`{prefix}{image.files[0].replace('{id}', '<id>')}`"
            assert cells[modality] == shown
        assert cells["mask"] == f"`{prefix}{layout.mask[0].replace('{id}', '<id>')}`"
        one = layout.splits["train"][0]
        assert cells["splits"] == f"`{one.replace('train', '{' + ','.join(SPLITS) + '}')}`"
        assert [paths[0] for paths in layout.splits.values()] == [one.replace("train", s) for s in SPLITS]


def test_the_layout_file_shown_is_one_and_every_key_is_explained(tmp_path):
    page = read("docs/formats.md").split("## A layout file")[1].split("## Scenes")[0]
    [shown] = [block for block in blocks("docs/formats.md", "yaml") if block.startswith("# layout")]
    (tmp_path / "layout.yaml").write_text(shown)
    assert load_layout(str(tmp_path / "layout.yaml")).images["S1GRD"].bands == ("VH", "VV")
    assert {names(row[0])[0] for row in rows(page, "key", "what")} == {
        f.name for f in dataclasses.fields(Layout)
    }
    assert all(f"`{f.name}`" in page for f in dataclasses.fields(Image))


def test_the_bands_are_those_that_are_read():
    told = {
        name: names(bands)
        for cell, bands, _ in rows(read("docs/formats.md"), "modality", "bands", "unit")
        for name in names(cell)
    }
    assert told == {name: list(modality.bands) for name, modality in INPUT_MODALITIES.items()}


def test_the_legend_and_the_study_shown_can_be_read(tmp_path):
    shown = {block.splitlines()[0]: block for block in blocks("docs/formats.md", "yaml")}
    (tmp_path / "legend.yaml").write_text(shown["# legend"])
    table = LegendTable.load(tmp_path / "legend.yaml")
    assert [entry.name for entry in table.classes] == ["land", "water"]
    values = ", ".join(f"{entry.value} {entry.name}" for entry in LULC_LEGEND)
    assert values in " ".join(read("docs/formats.md").split())
    (tmp_path / "study.yaml").write_text(shown["# study"])
    study = Study.load(tmp_path / "study.yaml")
    assert set(study.comparisons["tim"].controls) == {"random", "shuffle", "map_itself"}
    (section,) = re.findall(r"## A study\n(.*?)\n## ", read("docs/formats.md"), flags=re.DOTALL)
    keys = [names(row[0])[0] for row in rows(section, "key", "what")]
    assert sorted(keys) == sorted(field.name for field in dataclasses.fields(Study))


# Commands ----------------------------------------------------------------------------------------------

SUBCOMMANDS = {"augment_store": STORE_COMMANDS, "eval": EVAL_COMMANDS}


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command, by package and subcommand."""
    made = {"generate": generate_parser(), "generate audit": audit_parser(), "finetune": finetune_parser()}
    for package, commands in SUBCOMMANDS.items():
        for name, command in commands.items():
            made[f"{package} {name}"] = argparse.ArgumentParser(f"{package} {name}", allow_abbrev=False)
            command.load().add_arguments(made[f"{package} {name}"])
    return made


def commands(text: str) -> list[list[str]]:
    """What follows ``-m`` of each Python command in a text, in blocks and inline."""
    lines = [
        line
        for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
        for line in block.splitlines()
    ]
    lines += [" ".join(span.split()) for span in re.findall(r"`(python -m [^`]+)`", text)]
    lines = [re.sub(r"\$\w+", "1", line) for line in lines]  # variables of a job are numbers
    split = [shlex.split(line, comments=True) for line in lines if " -m " in line and " && " not in line]
    return [[word for word in words[words.index("-m") + 1 :] if word != "--"] for words in split]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_every_command_shown_is_one_that_the_package_takes(path):
    known = parsers()
    for module, *words in commands(path.read_text(encoding="utf-8")):
        place = ROOT.joinpath(*module.split("."))
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file() or module == "pytest"
        whole = f"{module} {words[0]}" if words else module
        if words and whole in known:
            known[whole].parse_args(words[1:])
        elif words and module in known:
            _, rest = known[module].parse_known_args(words)
            keys = [
                word for word in rest if word.startswith("-")
            ]  # TerraTorch's own, which only finetune takes
            assert not rest or module == "finetune"
            assert len(rest) == 2 * len(keys)
            assert all(key.startswith(("--trainer.", "--data.", "--model.")) for key in keys)
        else:
            assert not words or module not in SUBCOMMANDS, f"{path.name}: {module} {words}"


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_every_option_named_is_there(path):
    options = {word for parser in parsers().values() for word in parser._option_string_actions}
    options |= {"--quick"}  # the demo's
    spans = re.findall(r"`(--[a-z][^`]*)`", path.read_text(encoding="utf-8"))
    named = {span.split()[0] for span in spans}
    assert {word for word in named if "." not in word} <= options | {"--help"}  # with a dot: TerraTorch's


def test_encodings_controls_and_modalities_are_named_where_users_look():
    arrays = {kind.array for kind in CONTINUOUS.values()}  # users call these encodings `value`
    encodings = {VALUE, *(name for name in ENCODINGS if name not in arrays)}
    told = finetune_parser().format_help()
    section = read("README.md").split("### How cached maps enter the model")[1].split("###")[0]
    for text in (told.split("--encoding")[-1].split("--control")[0], section):
        assert encodings <= set(re.findall(r"\w+", text))
    (controls,) = re.findall(r"`--control ([a-z|-]+)`", section)
    assert set(controls.split("|")) == set(CONTROLS)
    assert set(CONTROLS) <= set(re.findall(r"[\w-]+", told.split("--control NAME")[-1].split("--new")[0]))
    assert set(CONTROLS) == set(re.findall(r"`--control ([a-z-]+)`", read("docs/concepts.md")))
    (modalities,) = re.findall(r"`--modality` takes (.*?), even", read("README.md"), flags=re.DOTALL)
    assert set(names(modalities)) == set(MAPS)


def test_the_readme_names_the_console_scripts():
    assert set(re.findall(r"`(tim-[a-z]+)`", read("README.md"))) == set(PROJECT["scripts"])


# Places ------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        place = (path.parent / file) if file else path
        assert place.is_file(), target
        assert not anchor or anchor in anchors(place.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_every_file_named_is_there(path):
    tops = {entry.name for entry in ROOT.iterdir()}
    for span in re.findall(r"`([\w./]+\.(?:py|md|yaml))`", path.read_text(encoding="utf-8")):
        if span.split("/")[0] in tops and "/" in span:
            assert (ROOT / span).is_file(), span


def test_pictures_are_light_and_used():
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert pictures
    for picture in pictures:
        assert picture.stat().st_size < 300_000, picture
        assert f"docs/images/{picture.name}" in read("README.md")


# Records -----------------------------------------------------------------------------------------------


def test_the_changelog_has_versions_and_one_entry_a_change():
    text = read("CHANGELOG.md")
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(PROJECT['version'])}, \d{{4}}-\d{{2}}-\d{{2}}", headings[1])
    body = text.split("## Unreleased")[1]
    loose = [line for line in body.splitlines() if line and not line.startswith(("- **", "  ", "## "))]
    assert loose == []


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == PROJECT["version"]
    assert f"{citation['version']}, {citation['date-released']}" in read("CHANGELOG.md")
    assert citation["license"] == PROJECT["license"]


def test_the_workflow_runs_what_runs_everywhere():
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}
    for form in (Path(ROOT) / ".github" / "ISSUE_TEMPLATE").glob("[bd]*.yml"):
        assert {"name", "description", "body"} <= set(yaml.safe_load(form.read_text(encoding="utf-8")))

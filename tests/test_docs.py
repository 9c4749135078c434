"""The documents say what the code does: tables, commands, options, links and records are compared with it."""

import dataclasses
import importlib
import re

import pytest
import yaml

from augment_store.chips.layouts import SPLITS, Image, Layout, load_layout, shipped_layout
from augment_store.modalities.definitions import INPUT_MODALITIES, LULC_LEGEND
from augment_store.modalities.legend_table import LegendTable
from augment_store.modalities.map_arrays import token_arrays
from augment_store.modalities.registry import CONTINUOUS, MAPS
from augment_store.store.schema import SCHEMA_VERSION, ChipShape, Role, chip_arrays, map_arrays
from augment_store.store.writer import AugmentStore
from eval.study.config import Study
from finetune.augment.controls import CONTROLS
from finetune.augment.encodings import ENCODINGS, VALUE
from finetune.options import parser as finetune_parser
from tests.conftest import ROOT
from tests.worlds import make_spec
from tools.documents import (
    PUBLIC_PACKAGES,
    ROOT_PAGES,
    api_reference,
    command_parsers,
    command_reference,
    module_and_arguments,
    project,
    public_names,
    site_links,
)

DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
GUIDES = [path for path in DOCUMENTS if path.name not in {"CHANGELOG.md", "log.md"}]  # those tell of the past
PROJECT = project()


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
    page = read("docs/reference/store.md")
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
    maps, columns = read("docs/reference/store.md").split("The maps.")[1].split("The columns:")
    for text, are_maps in ((maps, True), (columns, False)):
        listed = {names(row[0])[0] for row in rows(text, "array", "dimensions")}
        assert listed == {name for name, (_, is_map) in schemas().items() if is_map is are_maps}


def test_the_stores_page_says_who_writes_which_column():
    page = read("docs/reference/store.md").split("The columns:")[1]
    told = {names(row[0])[0]: row[5] for row in rows(page, "array", "dimensions")}
    assert told == {
        name: schema.role.name.lower() for name, (schema, is_map) in schemas().items() if not is_map
    }
    sizes = {names(row[0])[0]: row[2] for row in rows(page, "role", "written by")}
    shard = 7  # a number that no role has of its own
    held = {schema.role: schema.object_chips(shard) for schema, is_map in schemas().values() if not is_map}
    assert sizes == {role.name.lower(): "a shard" if n == shard else f"{n:,}" for role, n in held.items()}
    assert set(held) == {*Role} - {Role.GENERATED}


def test_the_stores_page_explains_every_dimension_and_attribute(tmp_path):
    page = read("docs/reference/store.md")
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
    page = read("docs/reference/layouts.md").split("## A chip set")[1].split("A `.zarr.zip`")[0]
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
    page = read("docs/reference/layouts.md").split("## A layout file")[1].split("## Scenes")[0]
    [shown] = [b for b in blocks("docs/reference/layouts.md", "yaml") if b.startswith("# layout")]
    (tmp_path / "layout.yaml").write_text(shown)
    assert load_layout(str(tmp_path / "layout.yaml")).images["S1GRD"].bands == ("VH", "VV")
    assert {names(row[0])[0] for row in rows(page, "key", "what")} == {
        f.name for f in dataclasses.fields(Layout)
    }
    assert all(f"`{f.name}`" in page for f in dataclasses.fields(Image))


def test_the_bands_are_those_that_are_read():
    told = {
        name: names(bands)
        for cell, bands, _ in rows(read("docs/reference/layouts.md"), "modality", "bands", "unit")
        for name in names(cell)
    }
    assert told == {name: list(modality.bands) for name, modality in INPUT_MODALITIES.items()}


def test_the_legend_and_the_study_shown_can_be_read(tmp_path):
    shown = {block.splitlines()[0]: block for block in blocks("docs/reference/yaml.md", "yaml")}
    (tmp_path / "legend.yaml").write_text(shown["# legend"])
    table = LegendTable.load(tmp_path / "legend.yaml")
    assert [entry.name for entry in table.classes] == ["land", "water"]
    values = ", ".join(f"{entry.value} {entry.name}" for entry in LULC_LEGEND)
    assert values in " ".join(read("docs/reference/yaml.md").split())
    (tmp_path / "study.yaml").write_text(shown["# study"])
    study = Study.load(tmp_path / "study.yaml")
    assert set(study.comparisons["tim"].controls) == {"random", "shuffle", "map_itself"}
    (section,) = re.findall(r"## A study\n(.*?)\n## ", read("docs/reference/yaml.md"), flags=re.DOTALL)
    keys = [names(row[0])[0] for row in rows(section, "key", "what")]
    assert sorted(keys) == sorted(field.name for field in dataclasses.fields(Study))


# Commands ----------------------------------------------------------------------------------------------

WITH_SUBCOMMANDS = {"augment_store", "eval"}


def commands(text: str) -> list[list[str]]:
    """Module and arguments of each Python command in a text, in blocks and inline."""
    lines = [
        line
        for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
        for line in block.splitlines()
    ]
    lines += [" ".join(span.split()) for span in re.findall(r"`((?:python -m|tim-[a-z]+) [^`]+)`", text)]
    lines = [re.sub(r"\$\w+", "1", line) for line in lines]  # variables of a job are numbers
    found = [module_and_arguments(line) for line in lines if " && " not in line]
    return [[word for word in words if word != "--"] for words in found if words]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_shown_is_one_that_the_package_takes(path):
    known = command_parsers()
    for module, *words in commands(path.read_text(encoding="utf-8")):
        place = ROOT.joinpath(*module.split("."))
        assert (
            place.with_suffix(".py").is_file()
            or (place / "__main__.py").is_file()
            or module in {"pytest", "venv"}
        )
        whole = f"{module} {words[0]}" if words else module
        if words[1:] and whole in known:
            known[whole].parse_args(words[1:])
        elif whole in known:
            pass  # the name alone, as in "`tim-eval score` does"
        elif words and module in known:
            if module == "generate":
                known[module].parse_args(words)
                continue
            _, rest = known[module].parse_known_args(words)
            keys = [
                word for word in rest if word.startswith("-")
            ]  # TerraTorch's own, which only finetune takes
            assert not rest or module == "finetune"
            assert len(rest) == 2 * len(keys)
            assert all(key.startswith(("--trainer.", "--data.", "--model.")) for key in keys)
        else:
            assert not words or module not in WITH_SUBCOMMANDS, f"{path.name}: {module} {words}"


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_named_is_there(path):
    options = {word for parser in command_parsers().values() for word in parser._option_string_actions}
    options |= {"--quick", "--strict", "--requeue", "--signal"}  # the demo's, mkdocs', SLURM's
    spans = re.findall(r"`(--[a-z][^`]*)`", path.read_text(encoding="utf-8"))
    named = {span.split()[0].split("=")[0] for span in spans}
    assert {word for word in named if "." not in word} <= options | {"--help"}  # with a dot: TerraTorch's


def test_encodings_controls_and_modalities_are_named_where_users_look():
    arrays = {kind.array for kind in CONTINUOUS.values()}  # users call these encodings `value`
    encodings = {VALUE, *(name for name in ENCODINGS if name not in arrays)}
    told = finetune_parser().format_help()
    section = read("docs/reference/encodings.md")
    for text in (told.split("--encoding")[-1].split("--control")[0], section):
        assert encodings <= set(re.findall(r"\w+", text))
    (controls,) = re.findall(r"`--control ([a-z|-]+)`", section)
    assert set(controls.split("|")) == set(CONTROLS)
    assert set(CONTROLS) <= set(re.findall(r"[\w-]+", told.split("--control NAME")[-1].split("--new")[0]))
    assert set(CONTROLS) == set(re.findall(r"`--control ([a-z-]+)`", read("docs/explanation/statistics.md")))
    (modalities,) = re.findall(
        r"`--modality` takes (.*?), even", read("docs/how-to/generate_maps.md"), flags=re.DOTALL
    )
    assert set(names(modalities)) == set(MAPS)


def test_the_readme_names_the_console_scripts():
    assert set(re.findall(r"(?<!terramind-)\b(tim-[a-z]+) ", read("README.md"))) == set(PROJECT["scripts"])


# Places ------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    for target in re.findall(r"\]\((?!https://)([^)]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        place = (path.parent / file) if file else path
        assert place.is_file(), target
        assert not anchor or anchor in anchors(place.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
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
        assert any(f"images/{picture.name}" in path.read_text(encoding="utf-8") for path in DOCUMENTS), (
            picture
        )


# Records -----------------------------------------------------------------------------------------------


def test_the_changelog_has_versions_and_groups():
    text = read("CHANGELOG.md")
    releases = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert releases[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(PROJECT['version'])}, \d{{4}}-\d{{2}}-\d{{2}}", releases[1])
    for release in text.split("\n## ")[1:]:
        groups = re.findall(r"^### (.+)$", release, flags=re.MULTILINE)
        assert groups == [name for name in ("Added", "Changed", "Fixed", "Removed") if name in groups]
        loose = [line for line in release.split("\n### ", 1)[1].splitlines()[1:] if line]
        assert all(line.startswith(("- ", "  ", "### ")) for line in loose)


def test_the_placeholders_of_a_maintainer_stand_in_one_place():
    assert all(
        "OWNER" in address for address in PROJECT["urls"].values()
    )  # until someone publishes the project
    elsewhere = [*DOCUMENTS, ROOT / "mkdocs.yml", *(ROOT / ".github").rglob("*.yml")]
    assert [path for path in elsewhere if "OWNER" in path.read_text(encoding="utf-8")] == []


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == PROJECT["version"]
    assert f"{citation['version']}, {citation['date-released']}" in read("CHANGELOG.md")
    assert citation["license"] == PROJECT["license"]


def test_the_workflows_run_what_contributing_names():
    ci, nightly, release = (
        yaml.safe_load(read(f".github/workflows/{name}.yml")) for name in ("ci", "nightly", "release")
    )
    steps = {
        name: [step["run"] for step in job["steps"] if "run" in step]
        for jobs in (ci["jobs"], nightly["jobs"])
        for name, job in jobs.items()
    }
    assert {"lint", "types", "fast", "slow"} == set(ci["jobs"])
    assert 'python -m pytest -m "not slow"' in steps["fast"]
    assert "mkdocs build --strict" in steps["types"]
    assert ci["jobs"]["fast"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert ".ci/run" in steps["everything"]
    assert set(release["jobs"]) == {"build", "publish"}
    assert release["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    for form in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("[bd]*.yml"):
        assert {"name", "description", "body"} <= set(yaml.safe_load(form.read_text(encoding="utf-8")))


# The site ------------------------------------------------------------------------------------------------


def test_every_page_is_in_the_navigation_once():
    config = yaml.load(read("mkdocs.yml"), yaml.BaseLoader)

    def pages(entry) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [
            page for part in (entry.values() if isinstance(entry, dict) else entry) for page in pages(part)
        ]

    documents = ROOT / "docs"
    written = [str(path.relative_to(documents)) for path in documents.rglob("*.md")]
    root_pages = set(ROOT_PAGES.values()) - {"index.md"}
    assert sorted(pages(config["nav"])) == sorted([*written, "tutorial.ipynb", *root_pages])


def test_the_reference_of_commands_has_every_option():
    page = command_reference()
    for name, parser in command_parsers().items():
        section = page.split(f"## {parser.prog}\n")[1].split("\n## ")[0]
        options = {option for option in parser._option_string_actions if option.startswith("--")}
        assert options <= set(re.findall(r"--[a-z][\w-]*", section)), name


@pytest.mark.parametrize("package", PUBLIC_PACKAGES)
def test_the_reference_of_python_has_every_public_name(package):
    found = public_names(package)
    assert sorted(found) == importlib.import_module(package).__all__
    assert all(f"::: {module}.{name}\n" in api_reference() for name, module in found.items())


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("index.md", "](../CHANGELOG.md)", "](changelog.md)"),
        ("how-to/buckets.md", "](../../SECURITY.md#x)", "](../security.md#x)"),
        ("how-to/buckets.md", "](../reference/store.md)", "](../reference/store.md)"),
        (
            "how-to/buckets.md",
            "](../../demo/configs/demo.yaml)",
            "](http://repo/blob/main/demo/configs/demo.yaml)",
        ),
        ("CHANGELOG.md", "](docs/log.md#a)", "](log.md#a)"),
        ("CONTRIBUTING.md", "](README.md)", "](index.md)"),
        ("CONTRIBUTING.md", "](CITATION.cff)", "](http://repo/blob/main/CITATION.cff)"),
        ("results.md", "](https://x.org/a)", "](https://x.org/a)"),
    ],
)
def test_links_of_a_page_lead_somewhere_on_the_site(page, link, expected):
    assert site_links(f"[a{link}", page, "http://repo") == f"[a{expected}"

"""What the documents take from the code: every command's parser, the public names, and links between pages."""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from augment_store.cli.main import COMMANDS as STORE_COMMANDS
from augment_store.store.history import SCRIPTS
from eval.cli.main import COMMANDS as EVAL_COMMANDS
from finetune.options import parser as finetune_parser
from generate.cli.audit import audit_parser
from generate.cli.decode import decode_parser
from generate.cli.generate import generate_parser
from predict.cli import predict_parser

ROOT: Final = Path(__file__).resolve().parents[1]
PUBLIC_PACKAGES: Final = ("augment_store", "generate", "finetune", "eval", "predict")
ROOT_PAGES: Final = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "README.md": "index.md",
}
"""Documents at the root of the repository, and their pages of the site."""

HELP_COLUMNS: Final = "100"


def project() -> dict[str, Any]:
    """Return the table `project` of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def command_parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command, by package and subcommand."""
    parsers: dict[str, argparse.ArgumentParser] = {
        "generate": generate_parser(),
        "generate audit": audit_parser(),
        "generate decode": decode_parser(),
        "finetune": finetune_parser(),
        "predict": predict_parser(),
    }
    for package, commands in {"augment_store": STORE_COMMANDS, "eval": EVAL_COMMANDS}.items():
        for name, command in commands.items():
            parser = argparse.ArgumentParser(f"{SCRIPTS[package]} {name}", allow_abbrev=False)
            command.load().add_arguments(parser)
            parsers[f"{package} {name}"] = parser
    return parsers


def module_and_arguments(line: str) -> list[str]:
    """Return the module that a command line runs and its arguments; nothing where it runs none of Python's.

    ``tim-store info maps`` and ``srun python -m augment_store info maps`` both give augment_store, info, maps.
    """
    words = shlex.split(line, comments=True)
    modules = {script: module for module, script in SCRIPTS.items()}
    for position, word in enumerate(words):
        # a script may lie in a folder: .venv/bin/tim-demo
        module = modules.get(word.rpartition("/")[2])
        if word == "-m" or module is not None:
            return [*([] if module is None else [module]), *words[position + 1 :]]
    return []


def command_reference() -> str:
    """Return the help of every command as Markdown, a section each."""
    with patch.dict(os.environ, {"COLUMNS": HELP_COLUMNS, "NO_COLOR": "1"}):
        return "\n".join(
            f"## {parser.prog}\n\n```text\n{parser.format_help().strip()}\n```\n"
            for parser in command_parsers().values()
        )


def public_names(package: str) -> dict[str, str]:
    """Return the module that each public name of a package is defined in, without importing any of them."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    (offered,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    # the type checker's imports beside the lazy ones say where a name comes from
    origins = {alias.name: str(node.module) for node in imports for alias in node.names}
    return {name: origins[name] for name in offered}


def api_reference() -> str:
    """Return mkdocstrings' directives for every public name, a section for each package."""
    sections = []
    for package in PUBLIC_PACKAGES:
        names = [f"::: {module}.{name}" for name, module in sorted(public_names(package).items())]
        sections.append("\n\n".join([f"## {package}", *names]))
    return "\n\n".join(sections) + "\n"


def site_links(markdown: str, page: str, repository: str) -> str:
    """Rewrite links to files at the repository's root, which are pages of the site or lie outside it.

    Args:
        markdown: Text of a page.
        page: Path of the page below `docs`, or the name of a document at the root.
        repository: Address of the repository.
    """
    at_root = page in ROOT_PAGES
    up = "" if at_root else "../" * page.count("/")

    def rewrite(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        name = target if at_root else target.removeprefix(up + "../")
        if not at_root and name == target:  # stays below docs
            return match[0]
        if name in ROOT_PAGES:
            return f"]({up}{ROOT_PAGES[name]}{anchor})"
        if at_root and name.startswith("docs/"):
            return f"]({name.removeprefix('docs/')}{anchor})"
        return f"]({repository}/blob/main/{name}{anchor})"

    return re.sub(r"\]\((?!\w+:)([^)#\s]+)(#[^)]*)?\)", rewrite, markdown)

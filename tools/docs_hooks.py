"""Hooks of `mkdocs build`: addresses of pyproject.toml, pages made from the code, documents at the root."""

from __future__ import annotations

from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tools.documents import ROOT, ROOT_PAGES, api_reference, command_reference, project, site_links

FILLED: Final = {"<!-- commands -->": command_reference, "<!-- api -->": api_reference}
"""What stands in for each marker of a page."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the addresses of site and repository from pyproject.toml."""
    urls = project()["urls"]
    config.site_url, config.repo_url = urls["Documentation"], urls["Repository"]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents at the repository's root as pages."""
    for name, page in ROOT_PAGES.items():
        if page != "index.md":  # the README's place is taken by the site's own first page
            text = (ROOT / name).read_text(encoding="utf-8")
            content = site_links(text, name, str(config.repo_url))
            files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what is made from the code, and rewrite links that leave `docs`."""
    for marker, make in FILLED.items():
        if marker in markdown:
            markdown = markdown.replace(marker, make())
    if page.file.src_uri in ROOT_PAGES.values() and page.file.src_uri != "index.md":
        return markdown
    return site_links(markdown, page.file.src_uri, str(config.repo_url))

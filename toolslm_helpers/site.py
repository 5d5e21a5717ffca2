"""The executed lessons as pages that open from disk, with no network: one HTML file a lesson and an index."""

import posixpath
import tomllib
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path, PurePosixPath
from string import Template
from typing import Any
from urllib.parse import urlsplit

import nbformat
from bs4 import BeautifulSoup

from toolslm_helpers import __version__
from toolslm_helpers.files import atomic_write_text, repository_root
from toolslm_helpers.results import as_fields, duration
from toolslm_helpers.teaching import views


@dataclass(frozen=True)
class Page:
    """One executed lesson on its way to HTML."""

    executed: Path
    title: str
    seconds: float | None

    @property
    def file(self) -> str:
        """The page's file name."""
        return f"{self.executed.stem}.html"


def build_site(lessons: list[tuple[Path, float | None]], results: dict[str, Any], folder: Path) -> Path:
    """Writes the pages of ``lessons`` (executed notebook, its seconds) and index.html into ``folder``; returns the index."""
    pages = [Page(path, _title(path), seconds) for path, seconds in lessons]
    names = {page.file for page in pages}
    for old in folder.glob("*.html"):
        if old.name not in names:
            old.unlink()
    for index, page in enumerate(pages):
        before = pages[index - 1] if index else None
        after = pages[index + 1] if index + 1 < len(pages) else None
        _write(folder / page.file, page.title, _navigation(before, after), lesson_body(page, names, results))
    return _write(folder / "index.html", "How Small Models Learn Tool Use", "", _index(pages, results))


def lesson_body(page: Page, pages: set[str], results: dict[str, Any]) -> str:
    """The HTML of one executed notebook, without anything that a browser would have to fetch."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    config = Config()
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_cell_tags = {"injected-parameters"}  # it names folders of this machine
    exporter = HTMLExporter(
        config=config, template_name="basic", embed_images=True, exclude_input_prompt=True, exclude_output_prompt=True
    )
    resources = {"metadata": {"path": str(repository_root() / "notebooks")}}
    html, _ = exporter.from_notebook_node(nbformat.read(page.executed, as_version=4), resources)
    soup = BeautifulSoup(html, "html.parser")
    for loading in soup.find_all(["script", "iframe", "link"]):
        loading.decompose()
    for image in soup.find_all("img"):
        if urlsplit(image["src"]).scheme != "data":  # a badge: its words do
            image.replace_with(image.get("alt", ""))
    for anchor in soup.find_all("a", href=True):
        anchor["href"] = _target(anchor["href"], pages)
    for table in soup.find_all("table"):
        table.wrap(soup.new_tag("div", attrs={"class": "wide"}))
    ran = f"Executed at size {results['size']} with seed {results['seed']} in {duration(page.seconds)}."
    return f'<p class="note">{escape(ran)}</p>\n{soup}'


def _target(href: str, pages: set[str]) -> str:
    """Where a lesson's link leads from the site: to a page of it, else to the file in the repository."""
    parts = urlsplit(href)
    if parts.scheme or not parts.path:
        return href
    page = PurePosixPath(parts.path).with_suffix(".html").name
    if parts.path.endswith(".ipynb") and page in pages:
        return page + (f"#{parts.fragment}" if parts.fragment else "")
    inside = posixpath.normpath(posixpath.join("notebooks", parts.path))
    return f"{repository_url()}/blob/v{__version__}/{inside}"


def repository_url() -> str:
    """The repository's address, from its one place in pyproject.toml."""
    with (repository_root() / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["urls"]["Repository"]


def _title(executed: Path) -> str:
    """The text of the notebook's first heading."""
    for cell in nbformat.read(executed, as_version=4).cells:
        for line in cell.source.splitlines():
            if cell.cell_type == "markdown" and line.startswith("# "):
                return line.removeprefix("# ").strip()
    return executed.stem


def _navigation(before: Page | None, after: Page | None) -> str:
    left = f'<a rel="prev" href="{before.file}">← {escape(before.title)}</a>' if before else "<span></span>"
    right = f'<a rel="next" href="{after.file}">{escape(after.title)} →</a>' if after else "<span></span>"
    return f'{left} <a href="index.html">all lessons</a> {right}'


def _index(pages: list[Page], results: dict[str, Any]) -> str:
    rows = "\n".join(
        f'<tr><td><a href="{page.file}">{escape(page.title)}</a></td><td class="number">{duration(page.seconds)}</td></tr>'
        for page in pages
    )
    parts = [
        "<h1>How Small Models Learn Tool Use</h1>",
        f"<p>{len(pages)} executed lessons, size {results['size']}, seed {results['seed']}.</p>",
        f"<table><thead><tr><th>lesson</th><th>time</th></tr></thead>\n<tbody>\n{rows}\n</tbody></table>",
    ]
    if results["pass_rate"]:
        parts += ["<h2>Results</h2>", views.pass_rates(as_fields(results["pass_rate"])).html]
    if results["versions"]:
        versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
        parts.append(f'<p class="note">Device: {escape(str(results["device"]))}. Versions: {escape(versions)}.</p>')
    return "\n".join(parts)


def _write(path: Path, title: str, navigation: str, body: str) -> Path:
    """Puts a body into the page that every file of the site shares."""
    from pygments.formatters import HtmlFormatter

    page = Template(files("toolslm_helpers").joinpath("site_page.html").read_text(encoding="utf-8"))
    colours = HtmlFormatter(style="default").get_style_defs(".highlight")
    return atomic_write_text(path, page.substitute(title=escape(title), navigation=navigation, body=body, colours=colours))

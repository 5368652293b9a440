"""Executed notebooks as linked HTML pages that need no network.

nbconvert's own pages fetch MathJax and require.js. Here formulas become MathML, which browsers draw
themselves, pictures are embedded, and the style stands in the page.
"""

import base64
import mimetypes
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import jinja2
import latex2mathml.exceptions
import nbformat
from bs4 import BeautifulSoup
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

TEX_ERRORS = tuple(e for e in vars(latex2mathml.exceptions).values() if isinstance(e, type))
# TeX that notebooks use and the converter does not know, by what it does know.
TEX_ALIASES = {
    r"\begin{aligned}": r"\begin{align*}",
    r"\end{aligned}": r"\end{align*}",
    r"\arg": r"\operatorname{arg}",
}


@dataclass(frozen=True)
class Page:
    """One executed notebook on its way to a page."""

    stem: str  # 01_boxes_and_metrics: names the page and orders the series
    notebook: NotebookNode
    folder: Path  # where pictures named in the prose are looked for
    took: str  # shown in the contents: "0:42", or what went wrong

    @property
    def title(self) -> str:
        """The first heading, or the file's name where there is none."""
        prose = "\n".join(cell.source for cell in self.notebook.cells if cell.cell_type == "markdown")
        return next((line[2:].strip() for line in prose.split("\n") if line.startswith("# ")), self.stem)


def tex_to_mathml(tex: str, display: str) -> str:
    """A formula as MathML; as its TeX source in ``<code class="tex">`` where it cannot be converted.

    Parameters
    ----------
    tex : str
        The formula without its dollar signs.
    display : {"inline", "block"}
        In the line of text, or on a line of its own.
    """
    known = tex
    for name, alias in TEX_ALIASES.items():
        known = known.replace(name, alias)
    try:
        mathml = convert(known, display=display)
    except TEX_ERRORS:
        mathml = None
    # The converter passes a command that it does not know, and a stray &, on as the name of a variable.
    if mathml is None or "<mi>\\" in mathml or "<mi>&</mi>" in mathml:
        return f'<code class="tex">{escape(tex)}</code>'
    return mathml


class _Renderer(IPythonRenderer):
    def inline_math(self, body: str) -> str:
        return tex_to_mathml(body, "inline")

    def block_math(self, body: str) -> str:
        return tex_to_mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return tex_to_mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")


class _Exporter(HTMLExporter):
    @jinja2.pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        attachments = context.get("cell", {}).get("attachments", {})
        return MarkdownWithMath(renderer=_Renderer(escape=False, attachments=attachments)).render(source)


def _localize(html: str, folder: Path) -> str:
    """Embed the pictures that lie beside the notebook, and point links at pages instead of notebooks."""
    soup = BeautifulSoup(html, features="html.parser")
    for img in soup.find_all("img", src=True):
        file = folder / img["src"]
        if "://" not in img["src"] and not img["src"].startswith("data:") and file.is_file():
            mime = mimetypes.guess_type(file.name)[0]
            img["src"] = f"data:{mime};base64,{base64.b64encode(file.read_bytes()).decode()}"
    for link in soup.find_all("a", href=True):
        target, hash_, section = link["href"].partition("#")
        if target.endswith(".ipynb") and "/" not in target:
            link["href"] = target.removesuffix(".ipynb") + ".html" + hash_ + section
    return str(soup)


def _contents(pages: list[Page]) -> NotebookNode:
    rows = [f"| {p.stem.split('_')[0]} | [{p.title}]({p.stem}.html) | {p.took} |" for p in pages]
    prose = (
        "# Object detection from HoG to YOLO\n\nThe notebooks as they ran on this machine. "
        "To change something and run it again, open them with `make lab`.\n"
    )
    text = "\n".join([prose, "| | notebook | minutes |", "|---|---|--:|", *rows])
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])


def write_pages(pages: list[Page], out: Path) -> Path:
    """Write one page per notebook, linked in the order given, and a page of contents.

    Parameters
    ----------
    pages : list of Page
        The notebooks in reading order.
    out : Path
        Folder to write to; made where it is missing.

    Returns
    -------
    Path
        The page of contents, ``out/index.html``.
    """
    out.mkdir(parents=True, exist_ok=True)
    templates = str(Path(__file__).parent / "templates")
    exporter = _Exporter(template_name="course", extra_template_basedirs=[templates], exclude_output_prompt=True)
    css = HtmlFormatter(style="friendly").get_style_defs(".highlight")

    def write(stem: str, nb: NotebookNode, folder: Path, **links: Any) -> Path:
        html, _ = exporter.from_notebook_node(nb, resources={"highlight_css": css, **links})
        file = out / f"{stem}.html"
        file.write_text(_localize(html, folder), encoding="utf-8")
        return file

    for before, page, after in zip([None, *pages], pages, [*pages[1:], None]):
        write(page.stem, page.notebook, page.folder, title=page.title, previous=before, next=after, home=True)
    return write("index", _contents(pages), out, title="Object detection from HoG to YOLO")

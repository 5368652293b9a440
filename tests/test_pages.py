"""The HTML pages: no network, formulas, pictures, folded code, links."""

import base64
import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils.notebook.execute import read
from course_utils.notebook.pages import Page, tex_to_mathml, write_pages
from course_utils.paths import repo_root

PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cfc0f01f0005000"
        "1ffa2a4c5e50000000049454e44ae426082"
    )
).decode()
PROSE = r"""# Boxes & measures
In the line $\frac{a}{b}$, on its own
$$L = \sum_i x_i^2$$
\begin{aligned} a &= b \\ c &= d \end{aligned}

`code $x$` costs 5\$; [next](01_next.ipynb#two), [away](https://example.org/a.ipynb)

```python
price = "$1$"
```
![near](img/near.png) <img src="img/near.png" alt="raw">
"""


@pytest.fixture
def site(tmp_path):
    """Two pages and their contents, parsed, by name."""
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "near.png").write_bytes(base64.b64decode(PIXEL))
    figure = new_output(
        "display_data",
        data={"image/png": PIXEL, "text/plain": "<Figure>"},
        metadata={"image/png": {"alt": "a < b & c"}},
    )
    script = new_output("display_data", data={"application/javascript": "fetch('https://example.org')"})
    widget = new_output(
        "display_data",
        data={"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "Slider()"},
    )
    latex = new_output("execute_result", data={"text/latex": "$x^2$", "text/plain": "x**2"})
    first = new_notebook(
        cells=[
            new_markdown_cell(PROSE),
            new_code_cell("a = 1  # shape ()", execution_count=1, outputs=[figure, script, widget, latex]),
            new_code_cell("hidden()", metadata={"tags": ["hide-input"]}, outputs=[figure]),
        ]
    )
    second = new_notebook(cells=[new_markdown_cell("# Next\n\n## two")])
    pages = [Page("00_first", first, tmp_path, "0:42"), Page("01_next", second, tmp_path, "stopped")]
    index = write_pages(pages, tmp_path / "html")
    return {p.stem: BeautifulSoup(p.read_text(), "html.parser") for p in index.parent.iterdir()}


def test_nothing_is_fetched_from_a_network(site):
    assert set(site) == {"index", "00_first", "01_next"}
    for page in site.values():
        assert not page.find_all(["script", "iframe", "object", "link"])
        for element in page.find_all(src=True):
            assert element["src"].startswith("data:")
        for style in page.find_all("style"):
            assert not re.search(r"url\(|@import", style.text)


def test_formulas_are_mathml_outside_code(site):
    page = site["00_first"]
    assert [m["display"] for m in page.find_all("math")] == ["inline", "block", "block", "inline"]
    assert page.find("mfrac") and page.find("mtable") and page.find("munder") is not page.find("mtable")
    assert "code $x$" in [c.text for c in page.find_all("code")] and 'price = "$1$"' in page.text
    assert "costs 5$" in page.text and not page.select("code.tex")


def test_pictures_have_alt_text_and_are_embedded(site):
    images = site["00_first"].find_all("img")
    assert [i["alt"] for i in images] == ["near", "raw", "a < b & c", "a < b & c"]
    assert {i["src"] for i in images} == {f"data:image/png;base64,{PIXEL}"}


def test_hidden_code_is_folded_and_its_output_is_not(site):
    (folded,) = site["00_first"].select("details.folded")
    assert "hidden()" in folded.text and not folded.find("img")
    assert "a = 1" not in folded.text and site["00_first"].select(".highlight .c1")


def test_links_lead_to_pages(site):
    links = {a.text: a["href"] for a in site["00_first"].find_all("a")}
    assert links["next"] == "01_next.html#two" and links["away"] == "https://example.org/a.ipynb"
    assert site["00_first"].find("a", rel="next")["href"] == "01_next.html"
    assert not site["00_first"].find("a", rel="prev") and not site["01_next"].find("a", rel="next")
    assert site["01_next"].find("a", rel="prev").text == "← Boxes & measures"
    assert site["01_next"].find(id="two")


def test_contents_list_every_notebook(site):
    rows = [[cell.text for cell in row.find_all("td")] for row in site["index"].select("tbody tr")]
    assert rows == [["00", "Boxes & measures", "0:42"], ["01", "Next", "stopped"]]
    assert site["index"].find("title").text == "Object detection from HoG to YOLO"


@pytest.mark.parametrize("tex", [r"\nosuch{x}", r"x^{", r"\left( x", "a & b"])
def test_a_formula_that_cannot_be_converted_shows_its_source(tex):
    assert BeautifulSoup(tex_to_mathml(tex, "inline"), "html.parser").select_one("code.tex").text == tex


@pytest.mark.parametrize(
    "tex", [r"\arg\max_k p_k", r"\lVert x \rVert_2 \in \mathbb{R}", r"\begin{cases}1&2\end{cases}"]
)
def test_formulas_that_courses_use(tex):
    assert tex_to_mathml(tex, "block").startswith("<math")


@pytest.mark.parametrize("path", sorted((repo_root() / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_every_formula_of_the_course_converts(path: Path, tmp_path):
    index = write_pages([Page(path.stem, read(path), path.parent, "")], tmp_path)
    page = BeautifulSoup((index.parent / f"{path.stem}.html").read_text(), "html.parser")
    assert [code.text for code in page.select("code.tex")] == []
    assert [i["src"] for i in page.find_all("img") if not i["src"].startswith("data:")] == []


def test_a_notebook_without_heading_is_called_by_its_file():
    assert Page("own", nbformat.v4.new_notebook(), Path(), "").title == "own"

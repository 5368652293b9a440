"""JupyterLab in a real browser: a notebook of ours runs, shows its picture, and its slider redraws.

Needs Chromium (Debian: ``apt-get install chromium``), found on the path; skipped without it.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import nbformat
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
SOURCE = """
from course_utils.notebook.explore import explore
from course_utils.plots import use_course_style

use_course_style()
explore(lambda k, ax: ax.plot([0, k]), "k", values=[1, 2, 3, 4], static=[1, 4], alt="a line that rises to k")
"""
RUN_ALL = """async () => {
  const app = window.jupyterapp;
  await app.restored;
  const panel = app.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
  await app.commands.execute('notebook:run-all-cells');
}"""


@pytest.fixture
def lab(tmp_path):
    """Address of a JupyterLab server in a folder with one notebook; its settings and state lie in that folder, too."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SOURCE)])
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    (tmp_path / "work").mkdir()
    nbformat.write(notebook, tmp_path / "work" / "slider.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    homes = ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    env = {k: v for k, v in os.environ.items() if k != "COURSE_STATIC"} | {k: str(tmp_path / k) for k in homes}
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"),
        *("--ServerApp.port_retries=0", "--IdentityProvider.token=key", f"--ServerApp.root_dir={tmp_path / 'work'}"),
        *("--LabApp.news_url=None", "--LabApp.expose_app_in_browser=True"),
    ]
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    base = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{base}/api/status?token=key", timeout=2)
            break
        except (urllib.error.URLError, OSError):
            assert server.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
    yield f"{base}/lab/tree/slider.ipynb?reset&token=key"
    server.terminate()
    server.wait(20)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the browser is not tested")
def test_slider_redraws_in_jupyterlab(lab):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        outside = []
        page.on("request", lambda r: outside.append(r.url) if r.url[:4] == "http" and "127.0.0.1" not in r.url else 0)
        page.goto(lab)
        page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
        page.evaluate(RUN_ALL)
        live = page.locator(".widget-html img")
        live.wait_for(timeout=60_000)
        assert "k = 3" in live.get_attribute("alt")
        assert page.locator(".jp-OutputArea-output img[alt]").count() >= 1, "the static sheet has no alt text"
        page.locator(".widget-slider .noUi-handle").focus()
        page.keyboard.press("ArrowRight")
        page.locator('.widget-html img[alt*="k = 4"]').wait_for(timeout=20_000)
        assert page.locator("text=javascript error").count() == 0
        assert outside == []
        browser.close()

"""Assembling a page: what it holds, and that data ends no script element."""

import json
import re

from augment_store.inspect.page.assembly import PageAssets, as_json, as_legend, assemble
from augment_store.modalities.definitions import LegendClass

ASSETS = PageAssets("augment_store.inspect", ("chips.js", "main.js"))


def test_a_page_holds_style_data_and_scripts_in_this_order():
    text = "".join(assemble(ASSETS, "a <b> & c", {"store": ["[1,", "2]"], "chips": ["{}"]}))
    assert "<title>a &lt;b> &amp; c</title>" in text
    assert "<!--" not in text
    found = dict(re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', text))
    assert {name: json.loads(value) for name, value in found.items()} == {"store": [1, 2], "chips": {}}
    places = [
        text.index(mark) for mark in ("--ground:", "<main>", 'id="store"', "const read =", "let shown =")
    ]
    assert places == sorted(places)


def test_data_cannot_end_its_script_element():
    text = as_json({"name": "</script><script>alert(1)</script>"})
    assert "<" not in text
    assert json.loads(text) == {"name": "</script><script>alert(1)</script>"}


def test_colours_as_css_has_them():
    assert as_legend([LegendClass(0, "water", (1, 171, 255))]) == [{"name": "water", "colour": "#01abff"}]

"""The documentation site: `make docs`."""

import re

from latex2mathml.converter import convert

project = "nanogfl"
author = "the nanogfl founders"
copyright = "the nanogfl founders"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]
autodoc_typehints = "signature"
autodoc_default_options = {"member-order": "bysource"}
html_theme = "furo"
html_title = "nanogfl"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False


def _inline(translator, node):
    translator.body.append(convert(node.astext()))
    raise _skip()


def _display(translator, node):
    translator.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise _skip()


def _skip():
    from docutils.nodes import SkipNode

    return SkipNode()


def _read_as_markdown(app, what, name, obj, options, lines):
    """Docstrings have `code` in single backticks and indented examples: written as reStructuredText wants them."""
    marked, inside = [], False
    for line in lines:
        if line.startswith("    ") and not inside and marked and not marked[-1] and not _is_section(marked):
            marked += ["::", ""]
        inside = (inside and not line) or line.startswith("    ")
        line = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``\ ", line)
        marked.append(line)
    lines[:] = marked


def _is_section(lines):
    written = [line for line in lines if line]
    return bool(written) and written[-1].endswith(":") and " " not in written[-1]


def setup(app):
    """Formulas become MathML when the site is built: browsers draw it without a script from elsewhere."""
    app.connect("autodoc-process-docstring", _read_as_markdown, priority=100)  # before napoleon
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_display, None))
    app.config.html_math_renderer = "mathml"

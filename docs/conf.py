# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sphinx: the pages that antsibull-docs writes. ``make docs`` builds them without the network."""

from __future__ import annotations

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

project = "virtaudit.qemu"
project_copyright = "2026, virtaudit contributors"
html_title = "virtaudit.qemu"
extensions = ["sphinx_antsibull_ext"]
html_theme = "sphinx_rtd_theme"
pygments_style = "ansible"
highlight_language = "yaml+jinja"
html_copy_source = False
html_show_sphinx = False
html_use_index = False

# Labels of Ansible's own documentation that the generated pages refer to. Without intersphinx, as its
# inventories would have to be fetched.
ANSIBLE_DOCS = "https://docs.ansible.com/projects/ansible/latest"
ANSIBLE_LABELS = {
    "action_plugins": "plugins/action.html",
    "callback_plugins": "plugins/callback.html",
    "ansible_configuration_settings": "reference_appendices/config.html#ansible-configuration-settings",
    "common_return_values": "reference_appendices/common_return_values.html",
}


def refer_to_ansible(
    _app: Sphinx, _env: object, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Resolve a reference to one of these labels; None leaves it to be reported as missing."""
    page = ANSIBLE_LABELS.get(node["reftarget"])
    if page is None:
        return None
    return nodes.reference("", "", content, refuri=f"{ANSIBLE_DOCS}/{page}")


def setup(app: Sphinx) -> None:
    """Sphinx calls it."""
    app.connect("missing-reference", refer_to_ansible)

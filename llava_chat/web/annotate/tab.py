"""What stands in the Annotate tab. Its scripts and styles are loaded when it is opened.

The field for boxes on a picture is the `gradio_image_annotation` component, which is not there
until a form has such a field: it weighs two megabytes. Imports gradio and that.
"""

from __future__ import annotations

import gradio as gr
from gradio_image_annotation import image_annotator

__all__ = ["add"]


def add() -> None:
    """Lay the tab out within the surrounding gr.Tabs."""
    with gr.Tab("Annotate", id="annotate", elem_id="annotate-tab"):
        gr.HTML('<div id="annotate" class="workplace"></div>', apply_default_css=False)
        image_annotator(elem_id="boxes", visible=False)

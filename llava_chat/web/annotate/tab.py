"""What stands in the Annotate tab. Its scripts and styles are loaded when it is opened.

The field for boxes on a picture is the `gradio_image_annotation` component, which is not there
until a form has such a field: it weighs two megabytes. What it shows and what was drawn go through
the browser alone: the pictures come from our own routes, which know whose they are, and what was
drawn is sent with the rest of the form. Imports gradio and that.
"""

from __future__ import annotations

import gradio as gr
from gradio_image_annotation import image_annotator

_HAND_ON = "element.addEventListener('llava-act', () => trigger('act', {}));"


def add() -> None:
    """Lay the tab out within the surrounding gr.Tabs."""
    with gr.Tab("Annotate", id="annotate", elem_id="annotate-tab"):
        gr.HTML('<div id="annotate"></div>', elem_id="annotate-root", apply_default_css=False)
        with gr.Column(elem_id="boxes-home", min_width=0):
            doings = gr.HTML(
                "<i></i>", js_on_load=_HAND_ON, elem_id="boxes-doings", apply_default_css=False
            )
            boxes = image_annotator(
                visible=False,
                elem_id="boxes",
                sources=[],
                show_label=False,
                container=False,
                show_clear_button=False,
                show_download_button=False,
                show_share_button=False,
                show_remove_button=True,
                use_default_label=True,
                box_min_size=4,
                box_thickness=2,
            )
    quiet = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    doings.act(None, js="() => llavaBoxes.wanted()", outputs=[boxes], **quiet)
    boxes.change(None, js="value => { llavaBoxes.drawn(value); }", inputs=[boxes], **quiet)

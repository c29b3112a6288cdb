"""The page, its routes and what guards them. The only package that imports gradio."""

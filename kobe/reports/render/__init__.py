"""Renderers of a `Document`: terminal, Markdown, HTML, JSON, and the SVG pictures in them."""

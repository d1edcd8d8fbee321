"""The report: a comparison as console text, HTML, Markdown and JSON."""

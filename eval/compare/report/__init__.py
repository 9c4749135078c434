"""The report of a comparison: JSON for machines, Markdown for notes, one page for the browser."""

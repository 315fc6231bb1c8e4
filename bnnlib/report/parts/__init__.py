"""The generated parts of README.md and docs/, as Markdown from the reports."""

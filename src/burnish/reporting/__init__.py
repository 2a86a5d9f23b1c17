"""The training report: one self-contained HTML file per run and language."""

from burnish.reporting.html import render, write_reports

__all__ = ["render", "write_reports"]

"""Figures that the documents quote, each made by `python -m bench <name>` on the real control plane."""

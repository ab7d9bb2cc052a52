"""Distillation: smaller networks from trained ones (torch; no files)."""

"""Diffusion: schedules, noise as a field, objectives and samplers (torch; no files)."""

"""One function a stage: read, compute, write, report."""

"""Models: named layers with a halo in, carbon density out."""

"""`distill`: a smaller network from a trained one, by PCA of its features."""

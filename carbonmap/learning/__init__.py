"""Learning: what a family of networks is trained by, and the loop that trains any of them."""

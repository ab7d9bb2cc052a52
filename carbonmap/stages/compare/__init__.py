"""Models side by side, on one split and one budget, as the paper's Tables 2 and A3 have them."""

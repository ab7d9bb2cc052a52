"""Networks: VGG trunks, U-Nets, the IIDM's own parts, and the baselines' (torch; no files)."""

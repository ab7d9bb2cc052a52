"""Files in and out: rasters, vectors, stores, maps; no carbon formula."""

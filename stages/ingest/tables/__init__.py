"""Tables of photos and labels as people hand them out: files, cells, rows of one photo."""

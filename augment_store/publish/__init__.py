"""A store as a folder that others find, cite and open: data, STAC collection, dataset card, Croissant."""

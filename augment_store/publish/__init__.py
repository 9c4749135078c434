"""A store as a folder that others can find, cite and open: data, STAC collection, dataset card."""

"""The Zarr store: spec, schema, index, reader and writer."""

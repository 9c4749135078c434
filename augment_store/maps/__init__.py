"""What a generated map is, by family: categorical or continuous. A new modality is one entry of `registry.MAPS`."""

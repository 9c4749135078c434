"""The contract between the stages: chip sets on disk, the Zarr store of generated modalities, and looking at both."""

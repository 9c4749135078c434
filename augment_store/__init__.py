"""The contract between the stages: chip sets on disk and the Zarr store of generated modalities."""

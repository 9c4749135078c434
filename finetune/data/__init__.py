"""Chips as samples: splits, checks, standardisation, transforms, the datamodule."""

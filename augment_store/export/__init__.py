"""Exporting a store's maps to what geographic information systems read: GeoTIFF, COG and GeoZarr."""

"""What our pages for the browser share: their assembly into one file, their look, and their first functions."""

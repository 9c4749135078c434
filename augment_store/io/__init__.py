"""Read and write bytes: local files, URLs, archives, locks."""

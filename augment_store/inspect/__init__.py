"""Looking at a store: statistics, a summary for the terminal, a contact sheet and a page for the browser."""

"""Parts of docks: rows, tables, plots and choices."""

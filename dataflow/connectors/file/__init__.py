"""Files: csv, json lines, text, parquet and Arrow, read and written, one file or many."""

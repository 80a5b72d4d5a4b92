"""Files: csv, json lines, text and parquet, read and written, one file or many."""

"""Reads tables from files, and knows neither torch nor Lightning.

The way of a row: `discovery` finds the files of a path, and `partitions` reads the columns that the
names of their folders give. `file_format` opens each file as its first bytes say: as `csv`,
`json_lines`, `parquet`, `arrow`, or as a whole (`excel`, `statistics_file`). A data frame is a
`frame`. `dataset` reads one after the other and yields chunks, each a record batch of pyarrow;
`prefetch` reads the next one in a thread. `prediction_file` writes.

CSV files have most rules: `csv_format` says how one is written, `csv_lines` and `csv_sections` cut
it, `csv_layout` recognises lines that are no rows, and `csv_errors` words what is wrong.
`number_text` and `date_text` read numbers and dates as people write them; `disguised_numbers`
recognises such columns, and names the option that reads them.

Of CSV: `csv_format` has the options, `csv_sections` reads whole lines, `csv_lines` finds where they
end, `csv` parses them, `csv_values` finds missing values, and `csv_layout` says what is around the
table where that cannot be read.

To add a format, write a file beside `parquet.py` with a subclass of `TableFile` that has
`read_schema`, `count_rows` and `read_batches`, and add its first bytes to `FIRST_BYTES` in
file_format.py.
"""

"""Foreign data to records: formats, encodings, layouts, data sets of the Hugging Face hub."""

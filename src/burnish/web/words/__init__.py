"""What the pages say, English and Chinese side by side, one file a group of pages."""

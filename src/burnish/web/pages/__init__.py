"""The pages, one file a group: its routes and who may use them."""

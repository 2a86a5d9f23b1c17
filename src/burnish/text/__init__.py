"""From conversations and documents to token ids: templates, documents, packed batches."""

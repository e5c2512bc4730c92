"""The study's tables and files: schema, storage, writer, reader, SQL. No torch, no Ray."""

"""A validation part that shares no photograph with the training part, and what two given parts share. No torch."""

"""Every message that crosses the bus: names of subjects, the envelope, one pydantic model per message."""

"""Networks that read, write and listen: recurrence, memory and alignment."""

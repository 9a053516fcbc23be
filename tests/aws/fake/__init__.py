"""AWS services that behave like the real ones where the emulator does not."""

"""What the official CloudEvents SDKs send, recorded as bytes; `python -m tests.foreign.sdks` records it."""

"""Events, meters and usage over HTTP."""

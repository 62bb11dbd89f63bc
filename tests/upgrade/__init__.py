"""A data folder that an earlier version wrote is opened, and counting continues. See README.md."""

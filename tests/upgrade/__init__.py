"""A data folder that an earlier version wrote is opened, and counting goes on. README.md says how."""

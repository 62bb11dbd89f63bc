"""OpenMeter's own clients, unchanged, against a running stack."""

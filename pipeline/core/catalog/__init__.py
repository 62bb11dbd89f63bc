"""What is sold: features."""

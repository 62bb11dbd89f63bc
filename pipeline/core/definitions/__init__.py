"""What every kind of definition shares: kinds, the index, a command's body and context, audit, barriers."""

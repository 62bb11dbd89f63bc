"""Status, reconciliation and the audit log over HTTP."""

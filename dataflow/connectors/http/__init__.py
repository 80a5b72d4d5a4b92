"""Services that are asked over HTTP."""

"""What the end-to-end tests share: starting real nodes, waiting for conditions, speaking RESP by hand."""

"""Speed, beside the machine's limits and a peer: python -m bench OP|MODEL [--peer torch] [--threads N] [--quick]."""

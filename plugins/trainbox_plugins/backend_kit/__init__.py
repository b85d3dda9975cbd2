"""What every backend on this host does before a sandbox exists, whatever it is made of."""

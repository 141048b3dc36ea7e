"""What is tried on the device, one file a matter. Each function runs in a process of its own and returns its figures."""

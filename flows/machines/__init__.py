"""Hosts and their devices: workers, pools, priority, hangs."""

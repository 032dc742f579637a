"""What runs the runtime elsewhere: containers, services, clusters."""

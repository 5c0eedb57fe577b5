"""What brings the agent into a process and carries frames to it: LD_PRELOAD, a borrowed thread, Frida."""

"""Frida's Interceptor as the second backend of function probes: for what the inline one refuses."""

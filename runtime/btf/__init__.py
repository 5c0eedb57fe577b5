"""BTF: reading types, CO-RE relocation, printing values by type."""

"""What will be written where: sites, displaced instructions, thunks, exits, and the plan of them all."""

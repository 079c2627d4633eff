"""What one core does for one work tile, in whole hardware tiles, and what can be told of it."""

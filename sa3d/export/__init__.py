"""What leaves the program: masks of the photographs, a point cloud, a mesh."""

"""What leaves the program: masks of the photos, a point cloud, a mesh."""

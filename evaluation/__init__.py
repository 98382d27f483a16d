"""Models compared and joined: what stands above the stages, and none of them imports."""

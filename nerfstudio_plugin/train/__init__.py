"""``ns-train sa3d`` and the viewer on a run: pipeline, model, panel wiring."""

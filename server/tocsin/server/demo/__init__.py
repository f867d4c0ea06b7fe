"""`tocsin demo`: the main job, played for real on the embedded default, judged at the end."""

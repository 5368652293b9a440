"""The joints of a person and the limbs between them."""

# The 14 joints of a person in the order of Leeds Sports Pose; right and left are the person's own.
JOINTS = (
    "r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle",
    "r_wrist", "r_elbow", "r_shoulder", "l_shoulder", "l_elbow", "l_wrist",
    "neck", "head_top",
)  # fmt: skip
# The skeleton: pairs of joints that a line connects.
LIMBS = (
    ("r_ankle", "r_knee"), ("r_knee", "r_hip"), ("l_ankle", "l_knee"), ("l_knee", "l_hip"),
    ("r_wrist", "r_elbow"), ("r_elbow", "r_shoulder"), ("l_wrist", "l_elbow"), ("l_elbow", "l_shoulder"),
    ("r_hip", "r_shoulder"), ("l_hip", "l_shoulder"), ("r_hip", "l_hip"),
    ("r_shoulder", "neck"), ("l_shoulder", "neck"), ("neck", "head_top"),
)  # fmt: skip

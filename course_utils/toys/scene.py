"""A scene: toys on a ground, before a photograph, seen by one camera under one light."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from course_utils.toys.backgrounds import pick_quarter
from course_utils.toys.mesh import Mesh, rotation
from course_utils.toys.models import build
from course_utils.toys.raster import draw_tile, fill_triangles, ground_lookup, shade_pixels
from course_utils.toys.things import clutter

SUPERSAMPLE = 2
TRUNCATED, OCCLUDED, HARD_TO_SEE, UNSEEN = 0.05, 0.10, 0.40, 0.20
SMALL_SIDE = 20
# What difficulty 1 means; tuned with benchmarks/toyvoc_probe.py, see data/README.md.
OBJECTS = (0.22, 0.24, 0.21, 0.15, 0.11, 0.07)
POSE, CLUTTER, HIDING, SIDEWAYS, YAW = 0.28, 0.7, 0.35, 0.88, np.pi / 10
KINDS = ("plain", "grain", "stripes", "patches", "spots")


@dataclass
class Camera:
    """Pinhole one unit above the ground, looking ahead and *pitch* radians down; *size* pixels square."""

    size: int
    focal: float
    pitch: float

    @property
    def horizon(self) -> float:
        """Row of the horizon, in pixels; negative when it lies above the picture."""
        return self.size / 2 - self.focal * np.tan(self.pitch)

    def depth_at(self, row: float) -> float:
        """Depth of the ground point seen in *row* (below the horizon)."""
        return self.focal / (np.cos(self.pitch) * (row - self.horizon))

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (n, 3: right, up, away) to pixels (n, 2) and depths (n,)."""
        below = 1.0 - points[:, 1]
        depth = points[:, 2] * np.cos(self.pitch) + below * np.sin(self.pitch)
        down = below * np.cos(self.pitch) - points[:, 2] * np.sin(self.pitch)
        safe = np.maximum(depth, 0.05)
        return np.stack(
            [self.size / 2 + self.focal * points[:, 0] / safe, self.size / 2 + self.focal * down / safe], 1
        ), depth


@dataclass
class Pattern:
    """A random field over a toy: waves whose sum is cut into stripes, patches, spots, or left as a soft grain."""

    waves: np.ndarray
    phases: np.ndarray
    kind: str
    color: np.ndarray
    sharp: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Pattern":
        kind = rng.choice(KINDS, p=[0.42, 0.26, 0.13, 0.11, 0.08])
        fast = {"plain": 2, "grain": 45, "stripes": 3, "patches": 6, "spots": 17}[kind]
        waves = rng.normal(0, fast, (6, 3))
        if kind == "stripes":
            waves[0] = rng.normal(0, 1, 3)
            waves[0] *= rng.uniform(15, 45) / np.linalg.norm(waves[0])
        return cls(waves, rng.uniform(0, 2 * np.pi, 6), str(kind), rng.uniform(0.02, 1, 3), rng.uniform(2, 8))


@dataclass
class Light:
    """One far light and an ambient dome, both coloured by the photograph behind."""

    direction: np.ndarray
    strength: float
    ambient: np.ndarray
    color: np.ndarray

    @classmethod
    def random(cls, rng: np.random.Generator, surroundings: np.ndarray) -> "Light":
        azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.35)
        direction = np.array([np.cos(azimuth) * np.cos(height), np.sin(height), np.sin(azimuth) * np.cos(height)])
        tint = 0.55 + 0.45 * surroundings / max(surroundings.max(), 0.05)
        strength = rng.uniform(0.5, 0.95)
        return cls(direction, strength, rng.uniform(0.45, 0.7) * tint, 0.4 * tint + 0.6 * rng.uniform(0.85, 1.0, 3))


@dataclass
class Toy:
    """A model put somewhere in the world, and its picture alone."""

    label: int
    world: np.ndarray
    normals: np.ndarray
    attributes: np.ndarray
    faces: np.ndarray
    joints: np.ndarray | None
    pattern: Pattern
    outline: float
    tile: tuple | None = None

    def outline_box(self, camera: Camera) -> np.ndarray:
        """Smallest box (x1 y1 x2 y2, pixels) around the whole toy, hidden and cut parts included."""
        xy, _ = camera.project(self.world)
        return np.concatenate([xy.min(0), xy.max(0)])

    def draw(self, camera: Camera, margin: int) -> None:
        """Rasterise the toy alone into ``tile``; what lies further than *margin* outside the picture is cut off."""
        xy, depth = camera.project(self.world)
        size = camera.size
        att = self.attributes.copy()
        att[:, :3] = self.normals
        limit = np.array([-margin, -margin, size + margin, size + margin]) * SUPERSAMPLE
        self.tile = draw_tile((xy * SUPERSAMPLE).astype(np.float32), depth.astype(np.float32), att, self.faces, limit)

    def shade(self, att: np.ndarray, light: Light, camera: Camera) -> np.ndarray:
        """Colours (n, 3) of pixels of the tile with the attributes (n, 11)."""
        view = np.array([0, np.sin(camera.pitch), -np.cos(camera.pitch)])
        return shade_pixels(
            att,
            self.pattern.waves,
            self.pattern.phases,
            KINDS.index(self.pattern.kind),
            self.pattern.color,
            self.pattern.sharp,
            light.direction,
            view,
            light.strength * light.color,
            light.ambient,
            self.outline,
        )


def place(
    mesh: Mesh,
    label: int,
    joints,
    rng,
    camera: Camera,
    *,
    row: float,
    column: float,
    pixels: float,
    yaw: float,
    stretch: float,
    tilt: float,
) -> Toy:
    """Put a toy on the ground under pixel (column, row), scaled to about *pixels* in its longer direction."""
    vertices, attributes, faces = mesh.arrays()
    attributes[:, 4] -= vertices[:, 1].min()
    turn = rotation(yaw, 0, tilt) * np.array([stretch, 1 / stretch, stretch])
    extent = np.ptp(vertices, axis=0).max()
    depth = camera.depth_at(row)
    scale = pixels * depth / (camera.focal * extent)
    away = (depth - np.sin(camera.pitch)) / np.cos(camera.pitch)
    origin = np.array([(column - camera.size / 2) * depth / camera.focal, 0, away])

    def to_world(points, shift=True):
        points = points @ turn.T * [1, 1, -1]
        return points * scale + origin if shift else points

    world = to_world(vertices)
    lift = world[:, 1].min()
    world[:, 1] -= lift
    normals = to_world(attributes[:, :3], shift=False)
    if joints is not None:
        joints = to_world(joints) - [0, lift, 0]
    return Toy(
        label,
        world,
        normals.astype(np.float32),
        attributes,
        faces,
        joints,
        Pattern.random(rng),
        rng.uniform(0, 0.9) if rng.uniform() < 0.6 else 0.0,
    )


def background(
    rng: np.random.Generator, camera: Camera, split: str, quarters: int, classes: tuple[str, ...]
) -> np.ndarray:
    """Photograph above the horizon, a photographed ground below it: float (size, size, 3)."""
    size = camera.size
    crop = pick_quarter(rng, split, quarters, ground=False, classes=classes)
    h, w = crop.shape[:2]
    side = rng.uniform(0.5, 1.0) * min(h, w)
    x, y = rng.uniform(0, w - side), rng.uniform(0, h - side)
    band = int(np.clip(camera.horizon + 6, 8, size))
    picture = Image.fromarray((crop * 255).astype(np.uint8)).resize(
        (size, band), Image.BILINEAR, box=(x, y, x + side, y + side * min(1, band / size * 1.3))
    )
    backdrop = gaussian_filter(np.asarray(picture, np.float32) / 255, (1, 1, 0))
    texture = pick_quarter(rng, split, quarters, ground=True, classes=classes)
    ground, distance = ground_lookup(
        np.ascontiguousarray(texture),
        size,
        size,
        camera.focal,
        camera.pitch,
        1.0,
        rng.uniform(35, 140),
        rng.uniform(0, 2 * np.pi),
        rng.uniform(0, 500, 2),
    )
    canvas = np.zeros((size, size, 3), np.float32)
    canvas[:band] = backdrop
    canvas[band:] = ground[band:]
    haze = np.clip((np.arange(size)[:, None, None] - camera.horizon) / 10, 0, 1)
    return np.where(np.isfinite(distance)[..., None], haze * ground + (1 - haze) * canvas, canvas)


def shadows(toys: list[Toy], camera: Camera, light: Light) -> np.ndarray:
    """How much light the toys take from every ground pixel: (size, size) in 0-1."""
    size = camera.size
    cast, contact = (np.full((size, size), np.inf, np.float32) for _ in range(2))
    nothing = np.zeros((size, size, 0), np.float32)
    for toy in toys:
        for buffer, direction in ((cast, light.direction), (contact, np.array([0.0, 1.0, 0.0]))):
            flat = toy.world - direction * (toy.world[:, 1:2] / direction[1])
            flat[:, 1] = 0
            xy, depth = camera.project(flat)
            drawn = depth > 0.1
            if buffer is contact:
                drawn &= toy.world[:, 1] < 0.25 * toy.world[:, 1].max()
            a, b, c = toy.faces.T
            faces = toy.faces[drawn[a] & drawn[b] & drawn[c]]
            fill_triangles(
                xy.astype(np.float32),
                np.zeros(len(xy), np.float32),
                np.zeros((len(xy), 0), np.float32),
                faces,
                0,
                0,
                buffer,
                nothing,
            )
    soft = gaussian_filter(np.isfinite(cast).astype(np.float32), 2.2)
    tight = gaussian_filter(np.isfinite(contact).astype(np.float32), 3.0)
    return np.clip(0.5 * light.strength * soft + 0.55 * tight, 0, 0.85)


def compose(canvas: np.ndarray, toys: list[Toy], camera: Camera, light: Light) -> tuple[np.ndarray, np.ndarray]:
    """Canvas with the toys drawn on it, nearest in front, and the toy at every fine pixel (-1: none)."""
    fine = camera.size * SUPERSAMPLE
    depth = np.full((fine, fine), np.inf, np.float32)
    color = np.zeros((fine, fine, 3), np.float32)
    owner = np.full((fine, fine), -1, np.int16)
    places = []
    for k, toy in enumerate(toys):
        x0, y0, tile_depth, _ = toy.tile
        h, w = tile_depth.shape
        left, top, right, bottom = max(0, x0), max(0, y0), min(fine, x0 + w), min(fine, y0 + h)
        inside = (slice(top - y0, bottom - y0), slice(left - x0, right - x0))
        target = (slice(top, bottom), slice(left, right))
        places.append((inside, target))
        wins = tile_depth[inside] < depth[target]
        depth[target][wins] = tile_depth[inside][wins]
        owner[target][wins] = k
    for k, (toy, (inside, target)) in enumerate(zip(toys, places, strict=True)):
        mine = owner[target] == k
        color[target][mine] = toy.shade(toy.tile[3][inside][mine], light, camera)
    alpha = _average(owner >= 0)[..., None]
    return (canvas * (1 - alpha) + _average(color)).astype(np.float32), owner


def _average(fine: np.ndarray) -> np.ndarray:
    """Mean of every SUPERSAMPLE x SUPERSAMPLE block (slices: much faster than reshape and mean)."""
    steps = range(SUPERSAMPLE)
    total = sum(fine[i::SUPERSAMPLE, j::SUPERSAMPLE].astype(np.float32) for i in steps for j in steps)
    return total / SUPERSAMPLE**2


def develop(rng: np.random.Generator, canvas: np.ndarray, difficulty: float) -> np.ndarray:
    """What a camera does to light: exposure, tone, blur, noise; uint8 (h, w, 3)."""
    gain = np.exp(rng.normal(0, 0.16 * difficulty)) * rng.normal(1, 0.04 * difficulty, 3)
    picture = np.clip(canvas * gain.astype(np.float32), 0, None)
    picture = np.clip(1.15 * picture / (1 + 0.25 * picture**2), 0, 1) ** np.float32(
        np.exp(rng.normal(0, 0.15 * difficulty))
    )
    blur = abs(rng.normal(0, 0.5 * difficulty)) + 0.3
    picture = gaussian_filter(picture, (blur, blur, 0), truncate=3)
    grain = rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(0.004, 0.02 + 0.015 * difficulty))
    return (np.clip(picture + grain, 0, 1) * 255).round().astype(np.uint8)


def visible_masks(owner: np.ndarray, count: int) -> np.ndarray:
    """Masks (count, h, w), no pixel in two: at least half of the pixel is the toy's (of two halves, the first)."""
    shares = np.stack([_average(owner == k) for k in range(count)])
    return (shares >= 0.5) & (shares.argmax(0) == np.arange(count)[:, None, None])


def seen_joints(toy: Toy, index: int, camera: Camera, owner: np.ndarray) -> np.ndarray:
    """Joints (14, 3): x, y in pixels, and 0 outside the picture, 1 hidden, 2 visible."""
    xy, depth = camera.project(toy.joints)
    out = np.column_stack([xy, np.ones(len(xy))]).astype(np.float32)
    x0, y0, tile_depth, _ = toy.tile
    thick = 0.12 * np.ptp(toy.world[:, 1])
    for k, (x, y) in enumerate(xy):
        if not (0 <= x < camera.size and 0 <= y < camera.size):
            out[k] = 0
            continue
        u, v = int(x * SUPERSAMPLE), int(y * SUPERSAMPLE)
        if owner[v, u] == index and depth[k] - tile_depth[v - y0, u - x0] < thick:
            out[k, 2] = 2
    return out


@dataclass(frozen=True)
class Scene:
    """image uint8 (h, w, 3); then one row per object in VOC's terms, masks (n, h, w) and joints (n, 14, 3)."""

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    truncated: np.ndarray
    occluded: np.ndarray
    difficult: np.ndarray
    masks: np.ndarray
    joints: np.ndarray


def describe(toys: list[Toy], camera: Camera, owner: np.ndarray) -> tuple[list[dict], list[int]]:
    """Annotation of every object and the indices of those too well hidden to be annotated fairly."""
    rows, hidden = [], []
    masks = visible_masks(owner, len(toys)) if toys else ()
    for k, toy in enumerate(toys):
        if toy.label == 0:
            continue
        whole = np.isfinite(toy.tile[2]).sum()
        x0, y0, depth, _ = toy.tile
        fine = owner.shape[0]
        inside = np.isfinite(depth[max(0, -y0) : fine - y0, max(0, -x0) : fine - x0]).sum()
        seen = (owner == k).sum()
        ys, xs = np.nonzero(masks[k])
        if seen < UNSEEN * whole or len(xs) < 30 or min(np.ptp(xs), np.ptp(ys)) < 6:
            hidden.append(k)
            continue
        box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
        small = max(box[2:] - box[:2]) < SMALL_SIDE
        rows.append(
            {
                "box": box,
                "label": toy.label,
                "truncated": inside < (1 - TRUNCATED) * whole,
                "occluded": seen < (1 - OCCLUDED) * inside,
                "difficult": small or seen < HARD_TO_SEE * whole,
                "mask": masks[k],
                "joints": np.zeros((14, 3), np.float32) if toy.joints is None else seen_joints(toy, k, camera, owner),
            }
        )
    return rows, hidden


def settle(canvas, toys: list[Toy], camera: Camera, light: Light) -> tuple[np.ndarray, list[dict]]:
    """Draw; take away objects that came out hidden; draw again until every object left is fair."""
    while True:
        dark = shadows(toys, camera, light)[..., None]
        picture, owner = compose(canvas * (1 - dark), toys, camera, light)
        rows, hidden = describe(toys, camera, owner)
        if not hidden:
            return picture, rows
        toys = [t for k, t in enumerate(toys) if k not in hidden]


def to_scene(image: np.ndarray, rows: list[dict]) -> Scene:
    """Stack the rows of ``describe`` (at least one)."""
    column = {k: np.stack([r[k] for r in rows]) for k in rows[0]}
    return Scene(
        image,
        column["box"],
        column["label"].astype(np.int64),
        column["truncated"],
        column["occluded"],
        column["difficult"],
        column["mask"],
        column["joints"],
    )


def random_scene(
    rng: np.random.Generator,
    *,
    split: str,
    classes: tuple[str, ...],
    difficulty: float = 1.0,
    size: int = 256,
    quarters: int = 0,
    single: bool = False,
) -> Scene:
    """Draw one scene with at least one object.

    Parameters
    ----------
    split : decides which quarters of the photographs may stand behind (``backgrounds.PARTS``)
    classes : names that ``models.build`` knows; label k is ``classes[k - 1]``
    difficulty : 0 is stiff toys in side view on an empty stage; 1 is ToyVOC; 2 is any pose from any side in a crowd
    quarters : background rotation, 0 to 3
    single : one large object only (ToyNet) instead of one to six
    """
    while True:
        camera = Camera(size, 1.15 * size, rng.uniform(0.05, 0.5))
        canvas = background(rng, camera, split, quarters, classes)
        light = Light.random(rng, canvas.mean((0, 1)))
        toys: list[Toy] = []
        for _ in range(1 if single else rng.choice(6, p=OBJECTS) + 1):
            weights = np.array([2.0 if c == "person" else 1.0 for c in classes])
            label = int(rng.choice(len(classes), p=weights / weights.sum())) + 1
            mesh, joints = build(classes[label - 1], rng, min(1.0, POSE * difficulty))
            _try_to_add(rng, toys, mesh, label, joints, camera, difficulty, least=0.4 if single else 0.2)
        for _ in range(rng.poisson(CLUTTER * difficulty)):
            _try_to_add(rng, toys, clutter(rng), 0, None, camera, difficulty, least=0.11)
        picture, rows = settle(canvas, toys, camera, light)
        if rows:
            return to_scene(develop(rng, picture, 0.7 * difficulty), rows)


def _try_to_add(rng, toys, mesh, label, joints, camera, difficulty, least) -> None:
    """Find a place for a toy: free, or partly behind or before another one; give up after a few tries."""
    size = camera.size
    for _ in range(8):
        pixels = size * np.exp(rng.uniform(np.log(least), np.log(0.8 if label else 0.44)))
        row = rng.uniform(max(camera.horizon + 0.12 * size, 0.3 * size), 1.02 * size)
        column = rng.uniform(0.04, 0.96) * size
        near = [t for t in toys if t.label]
        if near and not label and rng.uniform() < HIDING:
            box = near[rng.integers(len(near))].outline_box(camera)
            column = rng.uniform(box[0], box[2])
            row = min(box[3] + rng.uniform(0.0, 0.06) * size, 1.05 * size)
        facing = rng.choice([0, np.pi]) if rng.uniform() < SIDEWAYS else rng.choice([-1, 1]) * np.pi / 2
        yaw = facing + difficulty * rng.uniform(-YAW, YAW)
        toy = place(
            mesh,
            label,
            joints,
            rng,
            camera,
            row=row,
            column=column,
            pixels=pixels,
            yaw=yaw,
            stretch=np.exp(rng.normal(0, 0.07 * difficulty)),
            tilt=rng.normal(0, 0.05 * difficulty),
        )
        box = toy.outline_box(camera)
        width, height = box[2:] - box[:2]
        cut = (np.minimum(box[2:], size) - np.maximum(box[:2], 0)).clip(0).prod() / (width * height)
        if max(width, height) > 0.85 * size or cut < 0.55:
            continue
        allowed = 0.35 if label else 0.75
        if all(_overlap(box, other.outline_box(camera)) < allowed for other in toys if other.label):
            toy.draw(camera, margin=size // 2)
            toys.append(toy)
            return


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over the smaller of two boxes."""
    inter = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0).prod()
    return inter / min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod())

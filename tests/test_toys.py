"""The toys: solids, rasteriser, camera, light, backgrounds, and the scenes that are made of them."""

import functools
import hashlib
import itertools
from collections import Counter

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from course_utils.datasets.toyvoc import CLASSES, NET_CLASSES
from course_utils.joints import JOINTS
from course_utils.photographs import photograph
from course_utils.toys import backgrounds, models, raster, scene
from course_utils.toys.animals import WHITE
from course_utils.toys.backgrounds import PARTS, SOURCES
from course_utils.toys.mesh import ATTRIBUTES, Mesh, rotation, rounded
from course_utils.toys.scene import Camera, Light

RED = (0.8, 0.1, 0.1)
SEED = 20260


# --- mesh ---


def test_rotation_turns_as_documented():
    for yaw, pitch, roll in np.random.default_rng(0).uniform(-3, 3, (20, 3)):
        turn = rotation(yaw, pitch, roll)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        # small letters: about the fixed axes, one after the other
        np.testing.assert_allclose(turn, Rotation.from_euler("xzy", [roll, pitch, yaw]).as_matrix(), atol=1e-12)
    forward, up, right = np.eye(3)
    assert (rotation(0, 0.3) @ forward) @ up > 0, "positive pitch lifts the nose"
    assert (rotation(0.3) @ forward) @ right < 0, "positive yaw turns to the toy's own left"
    assert (rotation(0, 0, 0.3) @ up) @ right > 0, "positive roll leans to the toy's own right"


@pytest.mark.parametrize("radii", [(0.5, 0.5, 0.5), (0.7, 0.4, 0.5), (0.3, 0.5, 0.4)])
def test_normals_of_a_ball_are_those_of_the_ellipsoid(radii):
    mesh, turn, center = Mesh(), rotation(0.4, 0.5, -0.7), np.array([1.0, 2.0, 3.0])
    mesh.ball(center, radii, RED, turn=turn)
    vertices, attributes, _ = mesh.arrays()
    local = (vertices - center) @ turn
    np.testing.assert_allclose(((local / radii) ** 2).sum(1), 1, atol=1e-4)  # the points lie on the ellipsoid
    true = (local / np.square(radii)) @ turn.T
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    cosine = (true * attributes[:, :3]).sum(1)
    poles = np.abs(local[:, 1]) > 0.999 * radii[1]  # there each copy of the point has two triangles only
    assert cosine[~poles].min() > np.cos(np.radians(9))
    assert cosine[poles].min() > np.cos(np.radians(20))


SOLIDS = {
    "ball": lambda m: m.ball((1, 2, 3), (0.5, 0.3, 0.2), RED, turn=rotation(0.3, 0.5, 0.7)),
    "limb": lambda m: m.limb([(0, 0, 0), (0, 1, 0)], [0.1, 0.2], RED),
    "limb along x": lambda m: m.limb([(0, 0, 0), (1, 0, 0)], 0.1, RED),
    "limb down": lambda m: m.limb([(0, 1, 0.2), (-0.4, 0, 0)], 0.1, RED, round_ends=False),
    "bent limb": lambda m: m.limb([(0, 0, 0), (1, 0, 0), (1, 1, 0.3)], [0.1, 0.15, 0.05], RED),
    "prism": lambda m: m.prism([(-1, 0), (1, 0), (0.5, 1), (-0.5, 1)], 0.3, RED, turn=rotation(1, 0.4)),
    "box": lambda m: m.box((0, 1, 0), (1, 2, 3), RED, turn=rotation(0.3)),
    "wheel": lambda m: m.wheel((0, 0, 1), 0.5, 0.1, RED),
    "lathe": lambda m: m.lathe([(0.5, 0), (0.7, 0.5), (0.2, 1)], RED, center=(1, 1, 1)),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_solids_are_closed_and_their_normals_point_outward(name):
    mesh = Mesh()
    SOLIDS[name](mesh)
    vertices, attributes, faces = mesh.arrays()
    v = vertices.astype(float)
    a, b, c = v[faces[:, 0]], v[faces[:, 1]], v[faces[:, 2]]
    assert (a * np.cross(b, c)).sum() / 6 > 0, (
        "the divergence theorem: faces that look outward enclose a positive volume"
    )
    # each edge is passed once in each direction: closed, and all faces turn the same way round
    same = np.unique(v.round(3), axis=0, return_inverse=True)[1].ravel()[faces]
    same = same[(same != np.roll(same, 1, axis=1)).all(1)]
    edges = Counter(itertools.chain(*(map(tuple, same[:, pair].tolist()) for pair in ([0, 1], [1, 2], [2, 0]))))
    assert all(n == 1 and edges[(q, p)] == 1 for (p, q), n in list(edges.items()))
    towards = (np.cross(b - a, c - a)[:, None] * attributes[faces][:, :, :3]).sum(-1)
    assert towards.min() > -1e-7, "a vertex normal looks away from its own triangle"
    middle = (v.min(0) + v.max(0)) / 2
    if name != "bent limb":  # the others are convex
        assert ((v - middle) * attributes[:, :3]).sum(1).min() > -1e-6


def bounds(mesh):
    vertices = mesh.arrays()[0]
    return vertices.min(0), vertices.max(0)


def test_extents_of_solids():
    mesh = Mesh()
    mesh.box((1, 2, 3), (0.4, 0.6, 0.8), RED)
    np.testing.assert_allclose(bounds(mesh), ([0.8, 1.7, 2.6], [1.2, 2.3, 3.4]), atol=1e-6)

    mesh = Mesh()
    mesh.prism([(-1, -0.5), (2, -0.5), (0, 1)], 0.25, RED)
    np.testing.assert_allclose(bounds(mesh), ([-1, -0.5, -0.25], [2, 1, 0.25]), atol=1e-6)

    mesh = Mesh()
    mesh.lathe([(0.3, 0), (0.5, 0.4), (0.1, 0.9)], RED, center=(1, 2, 3), sides=16)
    np.testing.assert_allclose(bounds(mesh), ([0.5, 2, 2.5], [1.5, 2.9, 3.5]), atol=1e-6)

    for ends, over in ((True, 0.6), (False, 0.0)):
        mesh = Mesh()
        mesh.limb([(0, 1, 0), (0, 3, 0)], [0.2, 0.1], RED, round_ends=ends, sides=40)
        low, high = bounds(mesh)
        np.testing.assert_allclose([low[1], high[1]], [1 - over * 0.2, 3 + over * 0.1], atol=1e-6)
        np.testing.assert_allclose([*low[[0, 2]], *high[[0, 2]]], [-0.2, -0.2, 0.2, 0.2], atol=0.002)

    mesh = Mesh()
    mesh.wheel((0, 0.5, 0), 0.5, 0.1, RED, hub=RED)
    low, high = bounds(mesh)
    np.testing.assert_allclose(high - low, [1, 1, 0.224], atol=0.02)


def test_arrays_join_solids():
    mesh = Mesh()
    mesh.ball((0, 0, 0), 1, (0.1, 0.2, 0.3), pattern=0.7, gloss=0.6)
    mesh.box((5, 0, 0), (1, 1, 1), (0.4, 0.5, 0.6))
    vertices, attributes, faces = mesh.arrays()
    assert attributes.shape == (len(vertices), ATTRIBUTES) and faces.max() == len(vertices) - 1
    np.testing.assert_allclose(attributes[:, 3:6], vertices)
    of_box = vertices[faces][:, :, 0].min(1) > 3
    assert (vertices[faces[of_box]][:, :, 0] > 3).all() and (vertices[faces[~of_box]][:, :, 0] < 3).all()
    np.testing.assert_allclose(attributes[0, 6:], [0.1, 0.2, 0.3, 0.7, 0.6], atol=1e-6)
    np.testing.assert_allclose(attributes[-1, 6:9], [0.4, 0.5, 0.6], atol=1e-6)


def test_rounded_cuts_corners_and_keeps_the_ends():
    points = np.random.default_rng(1).normal(size=(5, 4))
    for times in range(4):
        out = rounded(points, times)
        np.testing.assert_array_equal(out[[0, -1]], points[[0, -1]])
    np.testing.assert_array_equal(rounded(points, 0), points)
    corner = rounded([(0.0, 0, 1), (4, 0, 2), (4, 4, 3)], 1)
    np.testing.assert_allclose(corner, [(0, 0, 1), (3, 0, 1.75), (4, 1, 2.25), (4, 4, 3)])
    line = rounded(np.linspace([0, 0, 0], [1, 2, 3], 4), 3)
    np.testing.assert_allclose(line[:, 1:], line[:, :1] * [2, 3], atol=1e-12)


# --- rasteriser ---


def slow_fill(xy, depth, attributes, faces, x0, y0, height, width):
    """Every triangle against every pixel; also where rounding may decide: on an edge, or two depths alike."""
    pixels = np.stack(np.meshgrid(np.arange(width) + x0 + 0.5, np.arange(height) + y0 + 0.5), -1).reshape(-1, 2)
    nearest = np.full(len(pixels), np.inf)
    second = np.full(len(pixels), np.inf)
    out = np.zeros((len(pixels), attributes.shape[1]))
    doubtful = np.zeros(len(pixels), bool)
    for face in faces:
        corners = np.vstack([xy[face].astype(float).T, np.ones(3)])
        if abs(np.linalg.det(corners)) < 1e-5:
            continue
        weights = np.linalg.solve(corners, np.vstack([pixels.T, np.ones(len(pixels))])).T
        doubtful |= np.abs(weights.min(1)) < 1e-4
        z = np.where(weights.min(1) >= 0, weights @ depth[face], np.inf)
        wins = z < nearest
        second = np.where(wins, nearest, np.minimum(second, z))
        out[wins] = weights[wins] @ attributes[face]
        nearest[wins] = z[wins]
    with np.errstate(invalid="ignore"):
        doubtful |= second - nearest < 1e-4
    shape = (height, width)
    return nearest.reshape(shape), out.reshape(*shape, -1), ~doubtful.reshape(shape)


@pytest.mark.parametrize("seed", range(4))
def test_fill_triangles_agrees_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    height, width, x0, y0, n = 30, 40, -7, 11, 60
    xy = (rng.uniform(-0.3, 1.3, (n, 2)) * [width, height] + [x0, y0]).astype(np.float32)
    depth = rng.uniform(1, 9, n).astype(np.float32)
    attributes = rng.normal(size=(n, ATTRIBUTES)).astype(np.float32)
    faces = rng.integers(0, n, (25, 3)).astype(np.int32)  # some of them without area
    faces[3] = faces[4, 0]
    buffer = np.full((height, width), np.inf, np.float32)
    out = np.zeros((height, width, ATTRIBUTES), np.float32)
    raster.fill_triangles(xy, depth, attributes, faces, x0, y0, buffer, out)
    nearest, expected, sure = slow_fill(xy, depth, attributes, faces, x0, y0, height, width)
    assert sure.mean() > 0.95 and np.isfinite(nearest).mean() > 0.2
    np.testing.assert_array_equal(np.isfinite(buffer)[sure], np.isfinite(nearest)[sure])
    np.testing.assert_allclose(buffer[sure], nearest[sure], rtol=1e-3)
    np.testing.assert_allclose(out[sure], expected[sure], atol=5e-3)


def test_draw_tile_is_a_window_of_the_whole_picture():
    rng = np.random.default_rng(5)
    xy = rng.uniform(-20, 60, (30, 2)).astype(np.float32)
    depth, attributes = rng.uniform(1, 2, 30).astype(np.float32), np.ones((30, ATTRIBUTES), np.float32)
    faces = rng.integers(0, 30, (12, 3)).astype(np.int32)
    whole = np.full((120, 120), np.inf, np.float32)
    raster.fill_triangles(xy, depth, attributes, faces, -40, -40, whole, np.zeros((120, 120, ATTRIBUTES), np.float32))
    x0, y0, buffer, _ = raster.draw_tile(xy, depth, attributes, faces, np.array([-40, -40, 80, 80]))
    h, w = buffer.shape
    np.testing.assert_array_equal(buffer, whole[y0 + 40 : y0 + 40 + h, x0 + 40 : x0 + 40 + w])
    assert np.isfinite(buffer).sum() == np.isfinite(whole).sum(), "the tile has cut the toy"
    x0, y0, cut, _ = raster.draw_tile(xy, depth, attributes, faces, np.array([0, 0, 40, 40]))
    assert (x0, y0) == (0, 0) and cut.shape[0] <= 40 and cut.shape[1] <= 40
    np.testing.assert_array_equal(cut, whole[40 : 40 + cut.shape[0], 40 : 40 + cut.shape[1]])
    assert raster.draw_tile(xy, depth, attributes, faces, np.array([200, 0, 240, 40])) is None


@pytest.mark.parametrize(("column", "row", "pitch"), [(128, 180, 0.2), (60, 200, 0.4), (215, 150, 0.1)])
def test_a_sphere_has_the_silhouette_of_perspective(column, row, pitch):
    camera = Camera(256, 300, pitch)
    mesh = Mesh()
    mesh.ball((0, 0.5, 0), 0.5, RED)
    toy = put(mesh, camera, column=column, row=row, pixels=90)
    toy.draw(camera, margin=128)
    area = np.isfinite(toy.tile[2]).sum() / scene.SUPERSAMPLE**2

    # the many-sided ball that is really drawn: the hull of its corners, projected with a matrix written out here
    down = np.array([[1, 0, 0], [0, -np.cos(pitch), -np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    seen = (toy.world - [0, 1, 0]) @ down.T
    hull = ConvexHull(seen[:, :2] / seen[:, 2:] * camera.focal).volume
    assert area == pytest.approx(hull, rel=0.005)

    # the sphere that it stands for: its outline is an ellipse
    center, radius = (seen.min(0) + seen.max(0)) / 2, np.ptp(toy.world[:, 1]) / 2
    ellipse = (
        np.pi
        * (camera.focal * radius) ** 2
        * np.sqrt(center @ center - radius**2)
        / (center[2] ** 2 - radius**2) ** 1.5
    )
    assert 0.93 < area / ellipse < 1.0


@pytest.mark.parametrize("pitch", [0.05, 0.25, 0.5])
def test_ground_lookup_lies_on_the_ground(pitch):
    camera = Camera(96, 110, pitch)
    texture = np.random.default_rng(0).uniform(0, 1, (40, 50, 3)).astype(np.float32)
    scale, turn, offset = 20.0, 0.7, np.array([3.0, 400.0])
    color, distance = raster.ground_lookup(texture, 96, 96, camera.focal, pitch, 1.0, scale, turn, offset)
    rows, columns = np.mgrid[:96, :96] + 0.5
    above = rows < camera.horizon
    assert np.isinf(distance[above]).all()
    near = rows > camera.horizon + 2
    assert np.isfinite(distance[near]).all()

    # the ray through the pixel meets the plane one unit below the camera
    x, y = (columns - 48) / camera.focal, (rows - 48) / camera.focal
    ray = np.stack([x, -np.cos(pitch) * y - np.sin(pitch), np.cos(pitch) - np.sin(pitch) * y], -1)
    steps = 1 / -ray[near][:, 1]
    ground = ray[near] * steps[:, None] + [0, 1, 0]
    np.testing.assert_allclose(ground[:, 1], 0, atol=1e-9)
    np.testing.assert_allclose(distance[near], steps, rtol=1e-4)
    back, depth = camera.project(ground)
    np.testing.assert_allclose(back, np.stack([columns[near], rows[near]], 1), atol=1e-6)
    np.testing.assert_allclose(depth, distance[near], rtol=1e-4)

    # the colour is the texture's at that point, mirrored beyond its edges and faded with distance
    side, ahead = ground[:, 0], ground[:, 2]
    s = np.abs((np.cos(turn) * side + np.sin(turn) * ahead) * scale + offset[0])
    t = np.abs((np.cos(turn) * ahead - np.sin(turn) * side) * scale + offset[1])
    fade = np.clip((steps * scale / camera.focal - 0.6) / 3, 0, 1)[:, None]
    looked_up = np.stack([map_coordinates(texture[..., k], [t, s], order=1, mode="mirror") for k in range(3)], -1)
    expected = (1 - fade) * looked_up + fade * texture.mean((0, 1))
    np.testing.assert_allclose(color[near], expected, atol=5e-3)
    assert fade.max() > 0 and fade.min() < 1


def shaded(normal, sun=(0, 1, 0), kind="plain", outline=0.0, gloss=0.0, weight=1.0, at=(0, 1, 0), view=(0, 0, -1)):
    att = np.array([[*normal, *at, 0.5, 0.4, 0.3, weight, gloss]], np.float32)
    waves = np.arange(18.0).reshape(6, 3)
    return raster.shade_pixels(
        att, waves, np.arange(6.0), scene.KINDS.index(kind), np.array([0.0, 0.0, 1.0]), 4.0,
        np.asarray(sun, float), np.asarray(view, float), np.full(3, 0.8), np.full(3, 0.5), outline,
    )[0]  # fmt: skip


def test_shading():
    towards, sideways = np.array([0, 0.6, -0.8]), np.array([0.6, 0, -0.8])
    lit, dark = shaded(towards, sun=towards), shaded(towards, sun=-towards)
    assert (lit > 1.3 * dark).all()
    for normal in (towards, sideways):
        np.testing.assert_allclose(shaded(normal), shaded(-normal), rtol=1e-6)
        np.testing.assert_allclose(shaded(normal), shaded(5 * normal), rtol=1e-4)
    grazing, facing = np.array([0.995, 0, -0.0999]), np.array([0, 0, -1.0])
    assert (shaded(grazing, outline=0.9) < 0.5 * shaded(grazing)).all()
    np.testing.assert_allclose(shaded(facing, outline=0.9), shaded(facing), rtol=1e-5)
    mirror = (np.array([0, 1, 0]) + [0, 0, -1]) / np.sqrt(2)
    assert (shaded(mirror, gloss=1.0) > shaded(mirror) + 0.3).all(), "the highlight stands where the mirror would"
    np.testing.assert_allclose(shaded(sideways, gloss=1.0, sun=(0, -1, 0)), shaded(sideways, sun=(0, -1, 0)), atol=0.01)
    assert (shaded(facing, at=(0, 0, 0)) < shaded(facing, at=(0, 1, 0))).all(), "it is darker near the ground"


@pytest.mark.parametrize("kind", scene.KINDS)
def test_patterns(kind):
    rng = np.random.default_rng(0)
    places = rng.uniform(-1, 1, (200, 3))
    colors = np.array([shaded((0, 0, -1), kind=kind, at=at) / shaded((0, 0, -1), at=at) for at in places])
    assert np.isfinite(colors).all()
    none = np.array([shaded((0, 0, -1), kind=kind, at=at, weight=0) for at in places[:9]])
    np.testing.assert_allclose(none, [shaded((0, 0, -1), at=at) for at in places[:9]], rtol=1e-6)
    red = colors[:, 0]  # the second colour has none
    if kind == "plain":
        np.testing.assert_allclose(colors, 1, rtol=1e-6)
    elif kind == "grain":
        assert red.std() > 0.02 and red.min() > 0.4
    else:
        assert red.min() < 0.3 and red.max() > 0.9


# --- camera and placing ---


@pytest.mark.parametrize("pitch", [0.0, 0.05, 0.3, 0.5])
def test_camera_depth_and_horizon(pitch):
    camera = Camera(200, 230, pitch)
    rng = np.random.default_rng(0)
    ground = np.stack([rng.uniform(-3, 3, 50), np.zeros(50), rng.uniform(1, 30, 50)], 1)
    xy, depth = camera.project(ground)
    np.testing.assert_allclose(camera.depth_at(xy[:, 1]), depth, rtol=1e-9)
    level = ground + [0, 1, 0]  # at the height of the eye
    np.testing.assert_allclose(camera.project(level)[0][:, 1], camera.horizon, atol=1e-9)
    far = camera.project(np.array([[0.0, 0, 1e7]]))[0][0]
    np.testing.assert_allclose(far, [100, camera.horizon], atol=1e-3)
    (left, right), _ = camera.project(np.array([[-1.0, 0, 5], [1.0, 0, 5]]))
    (high, low), _ = camera.project(np.array([[0.0, 0.5, 5], [0.0, 0, 5]]))
    assert left[0] < right[0] and high[1] < low[1], "x to the right, y up"


def put(mesh, camera, label=1, joints=None, *, row, column, pixels, yaw=0.0, stretch=1.0, tilt=0.0):
    rng = np.random.default_rng(0)
    return scene.place(
        mesh, label, joints, rng, camera, row=row, column=column, pixels=pixels, yaw=yaw, stretch=stretch, tilt=tilt
    )


def plate(wide, high):
    """A thin board that faces the camera: seen along the ground it is a rectangle."""
    mesh = Mesh()
    mesh.box((0, 0.5 * high / wide, 0), (1, high / wide, 0.002), RED, bevel=0)
    return mesh


FLAT = Camera(200, 230, 0.0)


def test_a_toy_stands_where_it_was_put():
    toy = put(plate(80, 40), FLAT, row=150, column=90, pixels=80)
    np.testing.assert_allclose(toy.outline_box(FLAT), [50, 110, 130, 150], atol=0.2)
    for pitch, yaw, tilt in itertools.product((0.1, 0.4), (0, 1, np.pi), (-0.1, 0, 0.1)):
        camera = Camera(200, 230, pitch)
        toy = put(plate(80, 40), camera, row=150, column=90, pixels=80, yaw=yaw, tilt=tilt, stretch=1.1)
        assert toy.world[:, 1].min() == pytest.approx(0, abs=1e-9), "its lowest point touches the ground"
        if not tilt:
            foot = toy.world.mean(0) * [1, 0, 1]
            np.testing.assert_allclose(camera.project(foot[None])[0][0], [90, 150], atol=0.1)
        if yaw != 1:
            box = toy.outline_box(camera)
            assert box[2] - box[0] == pytest.approx(1.1 * 80, rel=0.15)


def light(direction=(0.0, 1.0, 0.0)):
    direction = np.array(direction) / np.linalg.norm(direction)
    return Light(direction, 0.8, np.full(3, 0.6), np.ones(3))


def owner_of(toys, camera):
    for toy in toys:
        toy.draw(camera, margin=camera.size // 2)
    return scene.compose(np.zeros((camera.size, camera.size, 3), np.float32), toys, camera, light())[1]


T, O, H, U = scene.TRUNCATED, scene.OCCLUDED, scene.HARD_TO_SEE, scene.UNSEEN
CASES = [
    (0, 0), (T - 0.02, 0), (T + 0.02, 0), (0.5, 0), (0, O - 0.02), (0, O + 0.02), (0, 0.5), (0.3, 0.7 * (O + 0.03)),
    (0.3, 0.7 * (O - 0.03)), (0.4, 0.6 - H + 0.02), (0.4, 0.6 - H - 0.02), (0, 1 - H - 0.02), (0, 1 - H + 0.02),
    (0, 1 - U - 0.02), (0, 1 - U + 0.02), (0.5, 0.5 - U + 0.02),
]  # fmt: skip


@pytest.mark.parametrize(("outside", "behind"), CASES)
def test_truncated_occluded_difficult_follow_the_rule(outside, behind):
    """A board of 100 x 60 px: a share *outside* of it lies left of the picture, *behind* lies behind another one."""
    right = 100 * (1 - outside)
    board = put(plate(100, 60), FLAT, row=150, column=right - 50, pixels=100)
    screen = put(plate(90, 90), FLAT, label=2, row=156, column=right - 100 * behind + 45, pixels=90)
    toys = [board, screen]
    rows, hidden = scene.describe(toys, FLAT, owner_of(toys, FLAT))
    assert len(rows) + len(hidden) == 2
    seen = 1 - outside - behind
    if seen < U:
        assert hidden == [0]
        return
    row = rows[0]
    assert row["label"] == 1
    assert row["truncated"] == (outside > T)
    assert row["occluded"] == (behind / (1 - outside) > O)
    assert row["difficult"] == (seen < H)
    np.testing.assert_allclose(row["box"], [0 if outside else right - 100, 90, right - 100 * behind, 150], atol=1)
    assert row["mask"].sum() == pytest.approx(100 * 60 * seen, rel=0.03)
    assert not (rows[1]["truncated"] or rows[1]["occluded"] or rows[1]["difficult"])


@pytest.mark.parametrize(("side", "difficult"), [(scene.SMALL_SIDE - 2, True), (scene.SMALL_SIDE + 2, False)])
def test_small_objects_are_difficult(side, difficult):
    toys = [put(plate(side, side), FLAT, row=150, column=90, pixels=side)]
    (row,), hidden = scene.describe(toys, FLAT, owner_of(toys, FLAT))
    assert row["difficult"] == difficult and not hidden


def test_clutter_is_not_annotated_but_hides():
    board = put(plate(100, 60), FLAT, row=150, column=100, pixels=100)
    screen = put(plate(90, 90), FLAT, label=0, row=156, column=165, pixels=90)
    rows, _ = scene.describe([board, screen], FLAT, owner_of([board, screen], FLAT))
    assert [(row["label"], bool(row["occluded"])) for row in rows] == [(1, True)]


def test_settle_takes_hidden_toys_away_without_a_trace():
    canvas = np.full((200, 200, 3), 0.5, np.float32)
    board = put(plate(60, 40), FLAT, row=150, column=100, pixels=60)
    screen = put(plate(90, 90), FLAT, label=2, row=156, column=121, pixels=90)  # a tenth of the board peeps out
    assert (owner_of([board, screen], FLAT) == 0).sum() > 500
    picture, rows = scene.settle(canvas, [board, screen], FLAT, light())
    alone, _ = scene.settle(canvas, [screen], FLAT, light())
    assert [row["label"] for row in rows] == [2]
    np.testing.assert_array_equal(picture, alone)


def test_the_nearer_toy_hides_the_other_in_any_order():
    near = put(plate(50, 50), FLAT, row=160, column=100, pixels=50)
    far = put(plate(80, 80), FLAT, row=140, column=100, pixels=80)
    for toys in ([near, far], [far, near]):
        owner = owner_of(toys, FLAT)
        assert toys[owner[270, 200]] is near and toys[owner[130, 200]] is far
        assert owner[10, 10] == -1


def test_shadows_fall_away_from_the_light_and_touch_the_toy():
    camera = Camera(200, 230, 0.4)
    mesh, middle = Mesh(), []
    mesh.ball((0, 0.5, 0), 0.5, RED)
    toy = put(mesh, camera, row=130, column=100, pixels=50)
    for x in (-1.0, 1.0):
        dark = scene.shadows([toy], camera, light((x, 1.0, 0.0)))
        assert dark.shape == (200, 200) and dark.min() >= 0 and dark.max() < 1
        assert dark[130, 100] > 0.2 and dark[195, 100] < 0.01 and dark[:60].max() < 0.01
        middle.append((dark.sum(0) * np.arange(200)).sum() / dark.sum())
    assert middle[0] > 105 and middle[1] < 95


def test_visible_masks_split_every_pixel_once():
    owner = np.random.default_rng(0).integers(-1, 4, (40, 40)).astype(np.int16)
    owner[:10, :20] = np.repeat([[0, 1]], 10, 0).repeat(10, 1)
    owner[4:6, 4:6] = [[0, 1], [0, 1]]
    masks = scene.visible_masks(owner, 4)
    for y, x in np.ndindex(20, 20):
        shares = Counter(owner[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel().tolist())
        winner = min((k for k in range(4) if shares[k] >= 2), key=lambda k: (-shares[k], k), default=None)
        assert [k for k in range(4) if masks[k, y, x]] == ([] if winner is None else [winner])


# --- models ---


def build(name, seed, amount):
    mesh, joints = models.build(name, np.random.default_rng(seed), amount)
    return (*mesh.arrays(), joints)


def test_classes_are_those_of_the_data_sets():
    assert tuple(models.MODELS) == CLASSES
    assert tuple(sorted(models.OTHERS)) == NET_CLASSES
    assert not set(CLASSES) & set(NET_CLASSES)


@pytest.mark.parametrize("name", CLASSES + NET_CLASSES)
def test_every_class_builds(name):
    kinds = set()
    for seed in range(30):
        vertices, attributes, faces, joints = build(name, seed, (0.0, 0.5, 1.0)[seed % 3])
        assert np.isfinite(vertices).all() and np.isfinite(attributes).all()
        assert faces.min() >= 0 and faces.max() < len(vertices)
        extent = np.ptp(vertices, axis=0)
        assert 0.4 < extent.max() < 3.2 and extent.min() > 0.05, extent
        assert -1.2 < vertices[:, 1].min() < 0.8 and np.abs(vertices).max() < 2.5
        assert attributes[:, 6:].min() >= 0 and attributes[:, 6:].max() <= 1.1
        np.testing.assert_allclose(np.linalg.norm(attributes[:, :3], axis=1).max(), 1, atol=1e-3)
        assert (joints is not None) == (name == "person")
        kinds.add((tuple(extent.round(4)), tuple(attributes[:, 6:9].mean(0).round(4))))
    assert len(kinds) > 25, "they are all the same"
    assert name not in CLASSES or len({shape for shape, _ in kinds}) > 20


def test_the_average_animals_differ_where_they_should():
    size = {name: np.median([np.ptp(build(name, s, 0.0)[0], axis=0) for s in range(15)], axis=0) for name in CLASSES}
    assert size["goose"][1] > 1.15 * size["duck"][1]
    assert size["horse"][1] > 1.5 * size["sheep"][1]
    assert size["bus"][0] > 1.1 * size["car"][0]
    assert size["person"][1] > 1.5 * max(size["person"][[0, 2]])


@pytest.mark.parametrize("name", ["cat", "dog", "duck", "goose", "horse", "person", "sheep"])
def test_who_has_eyes_looks_forward(name):
    for seed in range(12):
        vertices, attributes, _, _ = build(name, seed, 0.2)
        eyes = (np.abs(attributes[:, 6:9] - WHITE).max(1) < 1e-3) & (attributes[:, 9] == 0) & (attributes[:, 10] > 0.75)
        assert eyes.sum() >= 200
        if name == "person":  # its body stands below, not behind
            head = (vertices[:, 1] > vertices[eyes][:, 1].min()) & ~eyes
            assert vertices[eyes][:, 0].mean() > vertices[head][:, 0].mean() + 0.01
        else:
            assert vertices[eyes][:, 0].mean() > vertices[:, 0].mean() + 0.2


def test_joints_of_a_soldier_stand_in_the_order_of_the_names():
    for seed in range(10):
        vertices, _, _, joints = build("person", seed, 0.0)
        at = dict(zip(JOINTS, joints, strict=True))
        for side, sign in (("r", 1), ("l", -1)):
            order = ["ankle", "knee", "hip", "shoulder"]
            heights = [at[f"{side}_{j}"][1] for j in order] + [at["neck"][1], at["head_top"][1]]
            assert heights == sorted(heights)
            assert all(np.sign(at[f"{side}_{j}"][2]) == sign for j in (*order, "elbow", "wrist")), "z is its own right"
            assert at[f"{side}_wrist"][1] < at[f"{side}_elbow"][1] < at[f"{side}_shoulder"][1]
        assert vertices[:, 1].max() >= at["head_top"][1] - 0.02
        # each joint has flesh on all sides
        for joint in joints[:12]:
            near = vertices[np.linalg.norm(vertices - joint, axis=1) < 0.15]
            assert (near.min(0) < joint + 0.02).all() and (near.max(0) > joint - 0.02).all()


@pytest.mark.parametrize(("yaw", "looks", "near"), [(0.0, 1, "r"), (np.pi, -1, "l")])
def test_a_person_in_side_view(yaw, looks, near):
    camera = Camera(256, 294, 0.2)
    mesh, joints = models.build("person", np.random.default_rng(3), 0.0)
    toy = put(mesh, camera, joints=joints, row=220, column=128, pixels=150, yaw=yaw)
    other = "l" if near == "r" else "r"
    depth = dict(zip(JOINTS, camera.project(toy.joints)[1], strict=True))
    xy = dict(zip(JOINTS, camera.project(toy.joints)[0], strict=True))
    for part in ("ankle", "hip", "shoulder", "wrist"):
        assert depth[f"{near}_{part}"] < depth[f"{other}_{part}"]
    attributes = toy.attributes
    eyes = (np.abs(attributes[:, 6:9] - WHITE).max(1) < 1e-3) & (attributes[:, 9] == 0) & (attributes[:, 10] > 0.75)
    assert looks * (camera.project(toy.world)[0][eyes][:, 0].mean() - xy["head_top"][0]) > 2
    feet = toy.world[:, 1] < 0.1 * toy.world[:, 1].max()
    assert looks * (camera.project(toy.world)[0][feet][:, 0].mean() - xy["r_ankle"][0]) > 0
    owner = owner_of([toy], camera)
    seen = dict(zip(JOINTS, scene.seen_joints(toy, 0, camera, owner)[:, 2], strict=True))
    assert seen[f"{near}_elbow"] == seen[f"{near}_knee"] == 2
    assert seen[f"{other}_hip"] == 1


@pytest.mark.parametrize("column", [5, 128, 251])
def test_joints_outside_the_picture_are_absent(column):
    camera = Camera(256, 294, 0.3)
    for seed in range(6):
        mesh, joints = models.build("person", np.random.default_rng(seed), 1.0)
        toy = put(mesh, camera, joints=joints, row=250, column=column, pixels=190, yaw=0.4)
        owner = owner_of([toy], camera)
        found = scene.seen_joints(toy, 0, camera, owner)
        p = toy.joints - [0, 1, 0]
        depth = p[:, 2] * np.cos(0.3) - p[:, 1] * np.sin(0.3)
        down = -p[:, 1] * np.cos(0.3) - p[:, 2] * np.sin(0.3)
        x, y = 128 + 294 * p[:, 0] / depth, 128 + 294 * down / depth
        inside = (x >= 0) & (x < 256) & (y >= 0) & (y < 256)
        np.testing.assert_array_equal(found[:, 2] > 0, inside)
        np.testing.assert_allclose(found[inside][:, :2], np.stack([x, y], 1)[inside], atol=1e-3)
        assert (found[~inside] == 0).all()
        if column == 128:
            assert inside.sum() >= 12
        else:
            assert not inside.all()


def test_a_screen_hides_joints():
    camera = Camera(256, 294, 0.0)
    mesh, joints = models.build("person", np.random.default_rng(3), 0.0)
    person = put(mesh, camera, joints=joints, row=200, column=128, pixels=140)
    screen = put(plate(90, 50), camera, label=0, row=210, column=128, pixels=90)
    owner = owner_of([person, screen], camera)
    hidden = dict(zip(JOINTS, scene.seen_joints(person, 0, camera, owner), strict=True))
    assert hidden["r_ankle"][2] == hidden["r_knee"][2] == 1
    assert hidden["r_shoulder"][2] == 2


# --- backgrounds ---


@pytest.fixture
def index_images(monkeypatch):
    """Photographs whose pixels hold their own number; ``quarter`` then tells which pixels it takes."""

    @functools.cache
    def numbered(name):
        height, width = photograph(name).shape[:2]
        number = np.arange(height * width).reshape(height, width)
        return np.stack([number >> 16, number >> 8 & 255, number & 255], -1).astype(np.uint8)

    monkeypatch.setattr(backgrounds, "photograph", numbered)
    cut = backgrounds.quarter.__wrapped__

    def pixels(source, part):
        crop = (cut(source, part) * 255).round().astype(np.int64)
        return crop[..., 0] << 16 | crop[..., 1] << 8 | crop[..., 2]

    return pixels


@pytest.mark.parametrize("rotation_", range(4))
def test_splits_never_share_a_pixel_of_a_photograph(index_images, monkeypatch, rotation_):
    asked = []

    def note(source, part):
        asked.append((source, part))
        return np.full((2, 2, 3), 0.5, np.float32)

    monkeypatch.setattr(backgrounds, "quarter", note)
    taken: dict[str, dict[str, list]] = {}
    for split in PARTS:
        asked.clear()
        rng = np.random.default_rng(0)
        for ground in (True, False):
            start = len(asked)
            for _ in range(400):
                backgrounds.pick_quarter(rng, split, rotation_, ground)
            assert all(s.ground if ground else s.backdrop for s, _ in asked[start:])
        assert {s.photo for s, _ in asked} == {s.photo for s in SOURCES}, "400 draws do not reach every photograph"
        for source, part in set(asked):
            taken.setdefault(source.photo, {}).setdefault(split, []).append((source, part))
    for photo, by_split in taken.items():
        height, width = photograph(photo).shape[:2]
        seen = {split: np.zeros(height * width, bool) for split in PARTS}
        for split, parts in by_split.items():
            for source, part in parts:
                seen[split][index_images(source, part)] = True
        assert min(map(np.sum, seen.values())) > 1000
        assert np.sum(list(seen.values()), axis=0).max() == 1, photo


def test_rotation_gives_every_quarter_to_every_split_in_turn(monkeypatch):
    asked = set()
    monkeypatch.setattr(backgrounds, "quarter", lambda s, p: asked.add(p) or np.zeros((2, 2, 3), np.float32))
    tests = []
    for turn in range(4):
        asked.clear()
        for _ in range(20):
            backgrounds.pick_quarter(np.random.default_rng(0), "test", turn, True)
        tests += asked
    assert sorted(tests) == [0, 1, 2, 3]


def test_quarters_tile_the_rectangle(index_images):
    for source in SOURCES:
        height, width = photograph(source.photo).shape[:2]
        x1, y1, x2, y2 = (round(f * s) for f, s in zip(source.rectangle, (width, height, width, height)))
        whole = np.arange(height * width).reshape(height, width)[y1:y2, x1:x2]
        parts = [index_images(source, part) for part in range(4)]
        np.testing.assert_array_equal(np.vstack([np.hstack(parts[:2]), np.hstack(parts[2:])]), whole)


def test_no_photograph_with_a_class_of_toyvoc(index_images):
    assert not {"astronaut", "camera", "chelsea"} & {s.photo for s in SOURCES}
    (bike,) = [s for s in SOURCES if s.photo.startswith("motorcycle")]
    height, width = photograph(bike.photo).shape[:2]
    for part in range(4):
        rows, columns = np.divmod(index_images(bike, part), width)
        assert columns.min() >= 0.41 * width and rows.max() <= 0.43 * height, "the bench is in the picture"


def test_tints_stay_colours_and_only_grey_gets_one():
    rng = np.random.default_rng(0)
    for k in range(200):
        picture = backgrounds.pick_quarter(rng, ("train", "val", "test")[k % 3], k % 4, ground=k % 2 == 0)
        assert picture.dtype == np.float32 and picture.min() >= 0 and picture.max() <= 1
    grey = {s.photo for s in SOURCES if np.ptp(photograph(s.photo).astype(int), axis=2).max() == 0}
    assert grey == {s.photo for s in SOURCES if s.grey}


# --- scenes ---


def scene_of(seed, **changes):
    wanted = {"split": "train", "classes": CLASSES, "size": 160} | changes
    return scene.random_scene(np.random.default_rng([SEED, seed]), **wanted)


@pytest.fixture(scope="module")
def scenes():
    return (
        [scene_of(k) for k in range(40)]
        + [scene_of(k, difficulty=2.0) for k in range(10)]
        + [scene_of(k, difficulty=0.0) for k in range(10)]
    )


def test_annotations_agree_with_the_masks(scenes):
    for s in scenes:
        n, (h, w) = len(s.boxes), s.image.shape[:2]
        assert s.image.dtype == np.uint8 and (h, w) == (160, 160)
        assert 1 <= n <= 6 and all(len(column) == n for column in (s.labels, s.truncated, s.masks, s.joints))
        assert s.labels.min() >= 1 and s.labels.max() <= len(CLASSES) and s.labels.dtype == np.int64
        assert s.masks.dtype == bool and s.masks.shape == (n, h, w) and s.masks.sum(0).max() == 1
        for box, mask in zip(s.boxes, s.masks, strict=True):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            np.testing.assert_array_equal(box, [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert s.boxes.min() >= 0 and s.boxes.max() <= 160 and s.boxes.dtype == np.float32
        small = (s.boxes[:, 2:] - s.boxes[:, :2]).max(1) < scene.SMALL_SIDE
        assert s.difficult[small].all()


def test_visible_joints_lie_on_the_person(scenes):
    person, seen = CLASSES.index("person") + 1, 0
    for s in scenes:
        for label, mask, joints in zip(s.labels, s.masks, s.joints, strict=True):
            assert joints.shape == (14, 3) and set(np.unique(joints[:, 2])) <= {0, 1, 2}
            assert (joints[joints[:, 2] == 0] == 0).all()
            if label != person:
                assert not joints.any()
                continue
            assert (joints[:, :2] >= 0).all() and (joints[:, :2] < 160).all()
            away = distance_transform_edt(~mask)
            for x, y, v in joints:
                if v == 2:
                    seen += 1
                    assert away[int(y), int(x)] <= 3
    assert seen > 50


def test_scenes_vary(scenes):
    normal = scenes[:40]
    assert len({len(s.boxes) for s in normal}) >= 4
    assert set(np.concatenate([s.labels for s in normal])) == set(range(1, len(CLASSES) + 1))
    assert any(s.truncated.any() for s in normal) and any(s.occluded.any() for s in normal)
    assert not any(a.image.mean() == b.image.mean() for a, b in itertools.combinations(normal, 2))
    stiff = np.concatenate([s.occluded for s in scenes[50:]]).mean()
    crowd = np.concatenate([s.occluded for s in scenes[40:50]]).mean()
    assert stiff < crowd


def test_objects_change_the_picture(scenes):
    """The masks lie where the toys are: along their outlines the picture has more edge than elsewhere."""
    ratios = []
    for s in scenes[:40]:
        grey = s.image.mean(2)
        edge = np.hypot(*np.gradient(grey))
        union = s.masks.any(0)
        border = (distance_transform_edt(union) + distance_transform_edt(~union)) < 2
        ratios.append(edge[border].mean() / edge[~union & ~border].mean())
    assert np.median(ratios) > 1.5


def test_single_scenes_have_one_large_object():
    for k in range(12):
        s = scene_of(k, classes=NET_CLASSES, single=True)
        assert len(s.boxes) == 1
    assert np.median([np.ptp(scene_of(k, classes=NET_CLASSES, single=True).boxes[0].reshape(2, 2), axis=0).max()
                      for k in range(12)]) > 0.25 * 160  # fmt: skip


@pytest.mark.parametrize("size", [96, 100, 256])
def test_any_size(size):
    s = scene_of(0, size=size, classes=("person",))
    assert s.image.shape == (size, size, 3) and (s.labels == 1).all()


def digest(s):
    parts = (s.image, s.boxes, s.labels, s.truncated, s.occluded, s.difficult, s.masks, s.joints)
    return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()


def test_same_seed_same_scene():
    """In other processes too: test_toyvoc compares the files that several processes wrote."""
    first = [digest(scene_of(k)) for k in range(3)]
    assert [digest(scene_of(k)) for k in (2, 1, 0)] == first[::-1]
    others = [digest(scene_of(0, **change)) for change in ({"split": "test"}, {"quarters": 1}, {"difficulty": 0.9})]
    assert len(set(first + others)) == 6


def test_develop_makes_a_photograph():
    canvas = np.full((60, 60, 3), 0.4, np.float32)
    canvas[:, 30:] = 0.7
    for difficulty in (0.0, 1.0):
        picture = scene.develop(np.random.default_rng(0), canvas, difficulty)
        assert picture.dtype == np.uint8 and picture[:, :25].mean() < picture[:, 35:].mean() - 20
        assert 0.5 < picture[:, 5:25].std() < 15, "it has some grain"


def test_stretching_a_ball_gives_the_ellipsoid_and_its_normals():
    ball, ellipsoid = Mesh(), Mesh()
    ball.ball((0, 0, 0), 1.0, (1, 1, 1))
    ball.stretch((2.0, 0.5, 1.5))
    ellipsoid.ball((0, 0, 0), (2.0, 0.5, 1.5), (1, 1, 1))
    (v, a, _), (w, b, _) = ball.arrays(), ellipsoid.arrays()
    np.testing.assert_allclose(v, w, atol=1e-5)
    assert ((a[:, :3] * b[:, :3]).sum(1) > 0.97).all()
    np.testing.assert_allclose(np.linalg.norm(a[:, :3], axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("ground", [False, True])
def test_no_scene_stands_before_a_photograph_of_its_own_classes(monkeypatch, ground):
    seen = set()
    monkeypatch.setattr(backgrounds, "quarter", lambda s, p: seen.add(s.photo) or np.zeros((2, 2, 3), np.float32))
    for seed in range(300):
        backgrounds.pick_quarter(np.random.default_rng(seed), "train", 0, ground, ("flower", "mug"))
    serve = {s.photo for s in SOURCES if (s.ground if ground else s.backdrop)}
    assert seen == serve - {"flower", "coffee"}

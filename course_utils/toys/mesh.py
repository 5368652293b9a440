"""Triangle models put together from a few solids.

A toy stands at the origin: x forward, y up, z to its own right; one unit is roughly its height or length.
Every vertex carries ``ATTRIBUTES`` numbers that the rasteriser interpolates: normal (3), position on the toy
(3, for patterns), colour (3, 0-1), pattern weight (1: how much the toy's pattern shows), gloss (1).
"""

import functools
from dataclasses import dataclass, field

import numpy as np
from numba import njit

ATTRIBUTES = 11


def _sphere(rings: int = 9, sides: int = 14) -> tuple[np.ndarray, np.ndarray]:
    lat = np.linspace(-np.pi / 2, np.pi / 2, rings)
    lon = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    la, lo = np.meshgrid(lat, lon, indexing="ij")
    vertices = np.stack([np.cos(la) * np.cos(lo), np.sin(la), np.cos(la) * np.sin(lo)], -1).reshape(-1, 3)
    return vertices, _grid_faces(rings, sides)


@functools.cache
def _grid_faces(rings: int, sides: int) -> np.ndarray:
    """Triangles of a (rings, sides) grid of vertices that closes around its second axis."""
    i, j = np.meshgrid(np.arange(rings - 1), np.arange(sides), indexing="ij")
    a, b = i * sides + j, i * sides + (j + 1) % sides
    c, d = a + sides, b + sides
    return np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)]).reshape(-1, 3)


_SPHERE = _sphere()


@njit(cache=True)
def vertex_normals(v, f):
    """Unit normals (n, 3): at each vertex the mean of its triangles' normals, weighted by their areas."""
    normals = np.zeros_like(v)
    for m in range(f.shape[0]):
        a, b, c = f[m, 0], f[m, 1], f[m, 2]
        ux, uy, uz = v[b, 0] - v[a, 0], v[b, 1] - v[a, 1], v[b, 2] - v[a, 2]
        wx, wy, wz = v[c, 0] - v[a, 0], v[c, 1] - v[a, 1], v[c, 2] - v[a, 2]
        x, y, z = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        for k in (a, b, c):
            normals[k, 0] += x
            normals[k, 1] += y
            normals[k, 2] += z
    for k in range(v.shape[0]):
        length = np.sqrt(normals[k, 0] ** 2 + normals[k, 1] ** 2 + normals[k, 2] ** 2) + 1e-9
        normals[k] /= length
    return normals


@njit(cache=True)
def _frames(p):
    """Two unit vectors across a polyline (k, 3) at each of its points."""
    k = p.shape[0]
    tangent = np.empty_like(p)
    for i in range(k):
        step = p[min(i + 1, k - 1)] - p[max(i - 1, 0)]
        tangent[i] = step / (np.sqrt((step**2).sum()) + 1e-9)
    least, reference = 2.0, 0
    for axis in range(3):
        along = np.abs(tangent[:, axis]).mean()
        if along < least:
            least, reference = along, axis
    u, w = np.empty_like(p), np.empty_like(p)
    other = np.zeros(3)
    other[reference] = 1.0
    for i in range(k):
        across = np.cross(tangent[i], other)
        u[i] = across / (np.sqrt((across**2).sum()) + 1e-9)
        w[i] = np.cross(tangent[i], u[i])
    return tangent, u, w


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """3 x 3 matrix: roll about x, then pitch about z (positive: nose up), then yaw about y, in radians."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cp, -sp, 0], [sp, cp, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return about_y @ about_z @ about_x


def rounded(points: np.ndarray, times: int = 2) -> np.ndarray:
    """Cut the corners of a polyline (Chaikin's scheme); any trailing columns, such as radii, are cut along."""
    points = np.asarray(points, float)
    for _ in range(times):
        near, far = 0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]
        inner = np.stack([near, far], 1).reshape(-1, points.shape[1])
        points = np.concatenate([points[:1], inner[1:-1], points[-1:]])
    return points


@dataclass
class Mesh:
    """A growing toy: add solids, then read ``arrays()``. All methods take colours as three numbers in 0-1."""

    vertices: list[np.ndarray] = field(default_factory=list)
    attributes: list[np.ndarray] = field(default_factory=list)
    faces: list[np.ndarray] = field(default_factory=list)
    count: int = 0

    def _add(self, v, f, color, pattern, gloss, smooth):
        if not smooth:
            v = v[f].reshape(-1, 3)
            f = np.arange(len(v)).reshape(-1, 3)
        f = np.ascontiguousarray(f, np.int32)
        normals = vertex_normals(np.ascontiguousarray(v, np.float64), f)
        att = np.empty((len(v), ATTRIBUTES), np.float32)
        att[:, 0:3], att[:, 3:6], att[:, 6:9], att[:, 9], att[:, 10] = normals, v, color, pattern, gloss
        self.vertices.append(v.astype(np.float32))
        self.attributes.append(att)
        self.faces.append(f + np.int32(self.count))
        self.count += len(v)

    def ball(self, center, radii, color, *, turn=None, pattern=1.0, gloss=0.2):
        """Ellipsoid with three radii, turned by the 3 x 3 matrix *turn*."""
        v, f = _SPHERE
        v = v * np.broadcast_to(np.asarray(radii, float), 3)
        v = (v if turn is None else v @ turn.T) + np.asarray(center, float)
        self._add(v, f[:, ::-1], color, pattern, gloss, True)

    def limb(self, points, radii, color, *, pattern=1.0, gloss=0.2, sides=9, round_ends=True, bend=2):
        """Tube along a polyline (k, 3) with a radius at every point; *bend* times its corners are cut."""
        path = np.column_stack([np.asarray(points, float), np.broadcast_to(radii, len(points))])
        path = rounded(path, bend) if len(path) > 2 else path
        p, r = np.ascontiguousarray(path[:, :3]), path[:, 3]
        tangent, u, w = _frames(p)
        grow = 0.6 if round_ends else 0.0
        p = np.concatenate(
            [
                p[:1] - grow * r[0] * tangent[:1],
                p[:1] - 0.66 * grow * r[0] * tangent[:1],
                p,
                p[-1:] + 0.66 * grow * r[-1] * tangent[-1:],
                p[-1:] + grow * r[-1] * tangent[-1:],
            ]
        )
        r = np.concatenate(
            [[1e-4, 0.75 * r[0] if round_ends else r[0]], r, [0.75 * r[-1] if round_ends else r[-1], 1e-4]]
        )
        u, w = (np.concatenate([a[:1], a[:1], a, a[-1:], a[-1:]]) for a in (u, w))
        angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)[None, :, None]
        rings = p[:, None] + r[:, None, None] * (np.cos(angle) * u[:, None] + np.sin(angle) * w[:, None])
        self._add(rings.reshape(-1, 3), _grid_faces(len(p), sides), color, pattern, gloss, round_ends)

    def prism(self, profile, half_width, color, *, center=(0, 0, 0), turn=None, bevel=0.08, pattern=0.0, gloss=0.5):
        """Polygon (k, 2) in x, y, star-shaped about its mean, counter-clockwise, extruded along z."""
        profile = np.asarray(profile, float)
        middle = profile.mean(0)
        inset = middle + (profile - middle) * (1 - bevel)
        z = half_width
        rings = np.stack(
            [
                np.column_stack([q, np.full(len(q), depth)])
                for q, depth in ((inset, -z), (profile, -z * (1 - bevel)), (profile, z * (1 - bevel)), (inset, z))
            ]
        )
        k = len(profile)
        ends = np.array([[*middle, -z], [*middle, z]])
        v = np.concatenate([rings.reshape(-1, 3), ends])
        i = np.arange(k)
        j = (i + 1) % k
        caps = [np.stack([j, i, np.full(k, 4 * k)], 1), np.stack([3 * k + i, 3 * k + j, np.full(k, 4 * k + 1)], 1)]
        v = (v if turn is None else v @ turn.T) + np.asarray(center, float)
        self._add(v, np.concatenate([_grid_faces(4, k), *caps]), color, pattern, gloss, False)

    def box(self, center, size, color, *, turn=None, bevel=0.04, pattern=0.0, gloss=0.4):
        """Box of full *size* (x, y, z)."""
        x, y, z = np.asarray(size, float) / 2
        self.prism(
            [(-x, -y), (x, -y), (x, y), (-x, y)],
            z,
            color,
            center=center,
            turn=turn,
            bevel=bevel,
            pattern=pattern,
            gloss=gloss,
        )

    def wheel(self, center, radius, half_width, color, *, hub=None, turn=None):
        """Disc that rolls along x, with a lighter hub on both sides."""
        angle = np.linspace(0, 2 * np.pi, 18, endpoint=False)
        circle = np.stack([np.cos(angle), np.sin(angle)], 1)
        self.prism(circle * radius, half_width, color, center=center, turn=turn, bevel=0.12, gloss=0.2)
        if hub is not None:
            self.prism(circle * radius * 0.55, half_width * 1.12, hub, center=center, turn=turn, gloss=0.8)

    def lathe(self, profile, color, *, center=(0, 0, 0), sides=16, pattern=0.0, gloss=0.5):
        """Solid of revolution about y: *profile* (k, 2) of radius and height, from bottom to top."""
        profile = np.asarray(profile, float)
        profile = np.concatenate([[[1e-4, profile[0, 1]]], profile, [[1e-4, profile[-1, 1]]]])
        angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
        rings = np.stack(
            [
                profile[:, :1] * np.cos(angle),
                np.broadcast_to(profile[:, 1:], (len(profile), sides)),
                profile[:, :1] * np.sin(angle),
            ],
            -1,
        )
        self._add(
            rings.reshape(-1, 3) + np.asarray(center, float),
            _grid_faces(len(profile), sides)[:, ::-1],
            color,
            pattern,
            gloss,
            True,
        )

    def stretch(self, factors) -> None:
        """Multiply x, y and z by three *factors*; the normals follow."""
        factors = np.asarray(factors, np.float32)
        for vertices, attributes in zip(self.vertices, self.attributes, strict=True):
            vertices *= factors
            attributes[:, :3] /= factors
            attributes[:, :3] /= np.linalg.norm(attributes[:, :3], axis=1, keepdims=True) + 1e-9

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """vertices (n, 3), attributes (n, 11), faces (m, 3)."""
        return np.concatenate(self.vertices), np.concatenate(self.attributes), np.concatenate(self.faces)

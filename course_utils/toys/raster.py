"""Triangles to pixels: a depth-buffered rasteriser, shadow coverage, and the ground plane."""

import numpy as np
from numba import njit

from course_utils.toys.mesh import ATTRIBUTES


@njit(cache=True)
def fill_triangles(xy, depth, attributes, faces, x0, y0, depth_buffer, out):
    """Draw faces (m, 3) into out (h, w, ATTRIBUTES) and depth_buffer (h, w), nearest wins.

    xy (n, 2) are pixels, depth (n,) distances from the camera; the buffer's first pixel is (x0, y0).
    Attributes are interpolated linearly on the screen: the toys are small, perspective correction would not show.
    """
    height, width = depth_buffer.shape
    for m in range(faces.shape[0]):
        a, b, c = faces[m, 0], faces[m, 1], faces[m, 2]
        ax, ay = xy[a, 0] - x0, xy[a, 1] - y0
        bx, by = xy[b, 0] - x0, xy[b, 1] - y0
        cx, cy = xy[c, 0] - x0, xy[c, 1] - y0
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-6:
            continue
        left = max(0, int(np.floor(min(ax, bx, cx) - 0.5)))
        right = min(width - 1, int(np.ceil(max(ax, bx, cx) - 0.5)))
        top = max(0, int(np.floor(min(ay, by, cy) - 0.5)))
        bottom = min(height - 1, int(np.ceil(max(ay, by, cy) - 0.5)))
        for v in range(top, bottom + 1):
            for u in range(left, right + 1):
                px, py = u + 0.5, v + 0.5
                wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
                wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
                wc = 1.0 - wa - wb
                if wa < 0 or wb < 0 or wc < 0:
                    continue
                z = wa * depth[a] + wb * depth[b] + wc * depth[c]
                if z < depth_buffer[v, u]:
                    depth_buffer[v, u] = z
                    for k in range(out.shape[2]):
                        out[v, u, k] = wa * attributes[a, k] + wb * attributes[b, k] + wc * attributes[c, k]


@njit(cache=True)
def shade_pixels(att, waves, phases, kind, second_color, sharp, sun, view, sunlight, ambient, outline):
    """Colours (n, 3) of pixels with attributes (n, ATTRIBUTES) under one sun and an ambient dome.

    *kind*: 0 plain, 1 grain, 2 stripes, 3 patches, 4 spots: what is made of the sum of *waves* (6, 3) over the toy.
    *outline* (0-1) darkens where the surface turns away, as a drawn contour would.
    """
    out = np.empty((att.shape[0], 3), np.float32)
    half = sun + view
    half /= np.sqrt((half**2).sum())
    for i in range(att.shape[0]):
        nx, ny, nz = att[i, 0], att[i, 1], att[i, 2]
        length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-6
        facing = (nx * view[0] + ny * view[1] + nz * view[2]) / length
        turn = -1.0 / length if facing < 0 else 1.0 / length
        nx, ny, nz, facing = nx * turn, ny * turn, nz * turn, abs(facing)
        mix = 0.0
        if kind > 0:
            total = 0.0
            for k in range(2 if kind == 2 else 6):
                wave = np.sin(att[i, 3] * waves[k, 0] + att[i, 4] * waves[k, 1] + att[i, 5] * waves[k, 2] + phases[k])
                total += wave * (0.4 if kind == 2 and k == 1 else 1.0)
            if kind == 1:
                mix = 0.12 + 0.1 * min(3.0, max(-1.2, total))
            else:
                mix = 1.0 / (1.0 + np.exp(-2 * sharp * (total if kind == 2 else total / 3 - 0.25)))
        mix *= att[i, 9]
        lambert = max(0.0, 0.15 + 0.85 * (nx * sun[0] + ny * sun[1] + nz * sun[2]))
        dome = (0.7 + 0.3 * ny) * min(1.0, max(0.0, 0.55 + 3.0 * att[i, 4]))
        shine = 0.45 * att[i, 10] * max(0.0, nx * half[0] + ny * half[1] + nz * half[2]) ** 28
        edge = 1.0 - outline * (1.0 - facing) ** 3
        for k in range(3):
            albedo = att[i, 6 + k] * (1 - mix) + second_color[k] * mix
            out[i, k] = edge * (albedo * (ambient[k] * dome + sunlight[k] * lambert) + shine * sunlight[k])
    return out


@njit(cache=True)
def ground_lookup(texture, height, width, focal, pitch, camera_height, scale, turn, offset):
    """Colour (h, w, 3) and distance (h, w) of the ground plane at every pixel; distance is inf above the horizon.

    The texture repeats by mirroring; far away it fades to its mean, as it would when every pixel covers many grains.
    """
    th, tw = texture.shape[:2]
    mean = np.zeros(3, np.float32)
    for k in range(3):
        mean[k] = texture[:, :, k].mean()
    color = np.zeros((height, width, 3), np.float32)
    distance = np.full((height, width), np.inf, np.float32)
    cp, sp, ct, st = np.cos(pitch), np.sin(pitch), np.cos(turn), np.sin(turn)
    for v in range(height):
        dy = (v + 0.5 - height / 2) / focal
        down = cp * dy + sp
        if down <= 0.004:
            continue
        far = camera_height / down
        ahead = far * (cp - sp * dy)
        fade = min(1.0, max(0.0, (far * scale / focal - 0.6) / 3.0))
        for u in range(width):
            side = far * (u + 0.5 - width / 2) / focal
            s = (ct * side + st * ahead) * scale + offset[0]
            t = (ct * ahead - st * side) * scale + offset[1]
            s, t = abs(s) % (2 * tw - 2), abs(t) % (2 * th - 2)
            s = 2 * tw - 2 - s if s > tw - 1 else s
            t = 2 * th - 2 - t if t > th - 1 else t
            i, j = min(int(t), th - 2), min(int(s), tw - 2)
            p, q = t - i, s - j
            for k in range(3):
                value = (1 - p) * ((1 - q) * texture[i, j, k] + q * texture[i, j + 1, k]) + p * (
                    (1 - q) * texture[i + 1, j, k] + q * texture[i + 1, j + 1, k]
                )
                color[v, u, k] = (1 - fade) * value + fade * mean[k]
            distance[v, u] = far
    return color, distance


def draw_tile(xy, depth, attributes, faces, limit):
    """Rasterise one toy alone: (x0, y0, depth (h, w), attributes (h, w, k)), cut to *limit* = (x0, y0, x1, y1)."""
    x0, y0 = np.maximum(np.floor(xy.min(0)).astype(int) - 1, limit[:2])
    x1, y1 = np.minimum(np.ceil(xy.max(0)).astype(int) + 2, limit[2:])
    if x1 <= x0 or y1 <= y0:
        return None
    buffer = np.full((y1 - y0, x1 - x0), np.inf, np.float32)
    out = np.zeros((y1 - y0, x1 - x0, ATTRIBUTES), np.float32)
    fill_triangles(xy, depth, attributes, faces, x0, y0, buffer, out)
    return int(x0), int(y0), buffer, out

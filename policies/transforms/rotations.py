"""Rotations in the forms that policies know: matrices float64[3, 3], and six numbers that are two of a matrix's columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]
    Float64Array = NDArray[np.float64]

Layout = Literal["columns", "rows"]  # the first two columns one after the other, or row by row (interleaved)


def axis_angle_to_matrix(vector: Array) -> Float64Array:
    """The matrix of a rotation vector float[3]."""
    angle = math.sqrt(float(np.sum(np.square(vector, dtype=np.float64))))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = (float(entry) / angle for entry in vector)
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    matrix: Float64Array = np.eye(3) + math.sin(angle) * skew + (1 - math.cos(angle)) * (skew @ skew)
    return matrix


def euler_to_matrix(roll: float, pitch: float, yaw: float) -> Float64Array:
    """The matrix of rotations about the fixed axes x, y, z in turn."""
    (cr, sr), (cp, sp), (cy, sy) = ((math.cos(angle), math.sin(angle)) for angle in (roll, pitch, yaw))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def quat_wxyz_to_matrix(quat_wxyz: Array) -> Float64Array:
    """The matrix of a quaternion float[4], which need not be of length 1."""
    w, x, y, z = (float(entry) for entry in quat_wxyz)
    s = 2.0 / (w * w + x * x + y * y + z * z)
    return np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
            [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
            [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
        ]
    )


def matrix_to_six(matrix: Float64Array, layout: Layout) -> Float64Array:
    """The first two columns of a matrix."""
    columns = matrix[:, :2]
    return (columns.T if layout == "columns" else columns).reshape(6)


def six_to_matrix(six: Array, layout: Layout) -> Float64Array:
    """The nearest matrix with such columns, by Gram and Schmidt: the first keeps its direction."""
    numbers = np.asarray(six, np.float64)
    first, second = (numbers[:3], numbers[3:]) if layout == "columns" else (numbers[0::2], numbers[1::2])
    x = first / max(float(np.sqrt(np.sum(first**2))), 1e-12)
    y = second - np.sum(second * x) * x
    y /= max(float(np.sqrt(np.sum(y**2))), 1e-12)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def matrix_to_quat_wxyz(matrix: Float64Array) -> Float64Array:
    """The quaternion of a matrix, of length 1, w not negative; computed about its largest component."""
    m = matrix
    diagonal = np.array([m[0, 0], m[1, 1], m[2, 2]])
    signs = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float64)
    squares = 1 + signs @ diagonal  # 4 w^2, 4 x^2, 4 y^2, 4 z^2
    products = np.array(
        [
            [squares[0], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], squares[1], m[1, 0] + m[0, 1], m[0, 2] + m[2, 0]],
            [m[0, 2] - m[2, 0], m[1, 0] + m[0, 1], squares[2], m[2, 1] + m[1, 2]],
            [m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[2, 1] + m[1, 2], squares[3]],
        ]
    )
    quat = products[int(np.argmax(squares))]
    length = math.copysign(float(np.sqrt(np.sum(quat**2))), float(quat[0]))
    unit: Float64Array = quat / length
    return unit


def matrix_to_quat_xyzw(matrix: Float64Array) -> Float64Array:
    """The same with w last."""
    return np.roll(matrix_to_quat_wxyz(matrix), -1)


def matrix_to_axis_angle(matrix: Float64Array) -> Float64Array:
    """The rotation vector of a matrix, at most half a turn long."""
    quat = matrix_to_quat_wxyz(matrix)
    sine = float(np.sqrt(np.sum(quat[1:] ** 2)))
    if sine < 1e-12:
        return np.zeros(3)
    vector: Float64Array = quat[1:] / sine * (2 * math.atan2(sine, float(quat[0])))
    return vector


def matrix_to_euler(matrix: Float64Array) -> Float64Array:
    """Angles about the fixed axes x, y, z in turn."""
    horizontal = math.hypot(matrix[0, 0], matrix[1, 0])
    if horizontal < 1e-12:  # the first and third axis are one: all of it goes to the first
        return np.array([math.atan2(-matrix[1, 2], matrix[1, 1]), math.atan2(-matrix[2, 0], horizontal), 0.0])
    return np.array(
        [
            math.atan2(matrix[2, 1], matrix[2, 2]),
            math.atan2(-matrix[2, 0], horizontal),
            math.atan2(matrix[1, 0], matrix[0, 0]),
        ]
    )

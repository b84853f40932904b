"""The physics of one episode's scene in SAPIEN: room, robot, objects, cabinet, and the questions that success conditions ask.

Numbers: ManiSkill2_real2sim@ef7a4d4, envs/sapien_env.py (scene configuration), envs/custom_scenes/base_env.py (rooms, objects) and
open_drawer_in_scene.py (cabinet). What is created in which order, and every call that touches the simulator, is part of the
protocol: PhysX gives the same bits only for the same history.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .controllers import make_controller
from .engine import engine
from .first_use import write_meshes
from .robots import Robot
from .vulkan import import_sapien

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64Array = NDArray[np.float64]

DATA = Path("data")
DESCRIPTIONS = Path("mani_skill2_real2sim", "assets", "descriptions")
STAGES = DATA / "hab2_bench_assets" / "stages"
MODELS = DATA / "custom" / "models"
OVERLAYS = DATA / "real_inpainting"

SOLVER_ITERATIONS = 25
OBJECT_FRICTION = 0.5
OBJECT_DAMPING = 0.1
DEFAULT_DENSITY = 1000.0  # kg/m^3
CABINET_FRICTION, CABINET_DAMPING = 0.05, 1.0
CABINET_POS = (-0.295, 0.0, 0.017)
FAR_AWAY = (-10.0, 0.0, 0.0)  # where the robot waits while objects settle
TABLE_HEIGHT, DROP_HEIGHT = 0.87, 0.5
SETTLE_S, LONG_SETTLE_S = 0.5, 1.5
STILL_M_S, STILL_RAD_S = 1e-3, 1e-2
TOUCH_NS = 1e-6  # a contact counts if its impulse is larger, Ns

# Rooms stand with y up in their files, and are moved so that their table is where the robot expects it.
Y_UP = (0.707, 0.707, 0.0, 0.0)
STAGE_OFFSETS = {"google": (-1.6616, -3.0337, 0.0), "widowx": (-2.0634, -2.8313, 0.0)}
STAGE_TURNS = {
    "modern_bedroom": ((0.178, -2.235, 1.669), (0.007, 0.0, 0.0, -1.0)),
    "modern_office": ((-0.192, -1.728, 1.48), (0.709, 0.0, 0.0, -0.705)),
}
DUMMY_STAGE = "dummy_drawer"
DUMMY_FLOOR_HALF_SIZE = (10.0, 10.0, 0.017)


@dataclass(frozen=True)
class Model:
    """An entry of one of upstream's lists of objects: its bounding box's edges in m, and its density in kg/m^3."""

    name: str
    size: tuple[float, float, float]
    density: float


def load_models(assets: Path, listing: str) -> dict[str, Model]:
    """The objects in ``data/custom/LISTING.json`` by name."""
    entries = json.loads((assets / DATA / "custom" / f"{listing}.json").read_text(encoding="utf-8"))
    models = {}
    for name, entry in entries.items():
        size = np.array(entry["bbox"]["max"]) - np.array(entry["bbox"]["min"])
        models[name] = Model(name, tuple(size.tolist()), entry.get("density", DEFAULT_DENSITY))
    return models


class World:
    """A scene of its own with the robot in it.

    Args:
        assets: Folder of the asset set.
        robot: The robot.
        colours: Suffix of its description file.
        contact_offset: Distance in m at which PhysX begins to make contacts.
    """

    def __init__(self, assets: Path, robot: Robot, colours: str, contact_offset: float) -> None:
        self.assets, self.robot = assets, robot
        self.scene = _make_scene(robot.sim_hz, contact_offset)
        self.robot_urdf = _coloured(assets / DESCRIPTIONS / robot.urdf, colours)
        write_meshes(self.robot_urdf)
        self.articulation = self._load_robot()
        self.links = {link.name: link for link in self.articulation.get_links()}
        self.controller = make_controller(self.articulation, robot)
        for link, bits in robot.ignored_collisions.items():
            for shape in self.links[link].get_collision_shapes():
                shape.set_collision_groups(1, 1, bits, 0)
        self.end_effector = self.links[robot.end_effector]
        self.objects: list[Any] = []
        self.cabinet: Any = None
        self.cabinet_urdf: Path | None = None

    # --- building --------------------------------------------------------------------------------------------------------------

    def add_stage(self, name: str, robot_name: str, collides: bool) -> None:
        """The room; it only collides where objects stand on its table."""
        import sapien.core as sapien

        builder = self.scene.create_actor_builder()
        offset = STAGE_OFFSETS["google" if robot_name == "google" else "widowx"]
        if name != DUMMY_STAGE:
            pose = sapien.Pose(q=Y_UP)
            for prefix, (pos, quat) in STAGE_TURNS.items():
                if name.startswith(prefix):
                    pose = sapien.Pose(pos, quat) * pose
                    offset = STAGE_OFFSETS["google"]
            self.stage_file: Path | None = self.assets / STAGES / f"{name}.glb"
            self.stage_pose = pose
            if collides:
                write_meshes(self.stage_file)
                builder.add_nonconvex_collision_from_file(str(self.stage_file), pose)
        else:
            self.stage_file, self.stage_pose = None, sapien.Pose()
        self.stage = builder.build_static(name="arena")
        self.stage.set_pose(sapien.Pose(-np.array(offset)))

    def add_object(self, model: str, density: float) -> Any:
        """A free object with a model's collision shape; dampen what an episode is about with `dampen`."""
        material = self.scene.create_physical_material(
            static_friction=OBJECT_FRICTION, dynamic_friction=OBJECT_FRICTION, restitution=0.0
        )
        builder = self.scene.create_actor_builder()
        builder.add_multiple_collisions_from_file(
            filename=str(self.assets / MODELS / model / "collision.obj"), scale=[1.0] * 3, material=material, density=density
        )
        actor = builder.build()
        actor.set_name(model)
        self.objects.append(actor)
        return actor

    def add_cabinet(self, name: str) -> None:
        """The cabinet with three drawers; its handles do not collide."""
        import sapien.core as sapien

        self.cabinet_urdf = self.assets / DATA / "custom" / f"{name}.urdf"
        loader = self.scene.create_urdf_loader()
        loader.fix_root_link = True
        self.cabinet = loader.load(str(self.cabinet_urdf))
        self.cabinet.set_pose(sapien.Pose(CABINET_POS))
        for joint in self.cabinet.get_active_joints():
            joint.set_friction(CABINET_FRICTION)
            joint.set_drive_property(stiffness=0, damping=CABINET_DAMPING)

    # --- laying out ------------------------------------------------------------------------------------------------------------

    def park_robot(self) -> None:
        """Move the robot out of the way."""
        import sapien.core as sapien

        self.articulation.set_pose(sapien.Pose(FAR_AWAY))

    def place_robot(self, qpos: Sequence[float], xy: Sequence[float], quat_wxyz: Sequence[float]) -> None:
        """Put the robot where an episode begins, at rest."""
        import sapien.core as sapien

        self.articulation.set_qpos(qpos)
        still = np.zeros(self.articulation.dof)
        self.articulation.set_qvel(still)
        self.articulation.set_qacc(still)
        self.articulation.set_qf(still)
        self.controller.reset()
        self.articulation.set_pose(sapien.Pose([*xy, self.robot.base_height], quat_wxyz))

    def settle(self, seconds: float) -> None:
        """Let the scene run by itself; gravity pulls at the robot meanwhile."""
        for _ in range(int(self.robot.sim_hz * seconds)):
            self.scene.step()

    def settle_if_moving(self, objects: Iterable[Any]) -> None:
        """Wait longer if the objects' speeds, added up, are not small."""
        moving = list(objects)
        linear = sum(float(np.linalg.norm(actor.velocity)) for actor in moving)
        angular = sum(float(np.linalg.norm(actor.angular_velocity)) for actor in moving)
        if linear > STILL_M_S or angular > STILL_RAD_S:
            self.settle(LONG_SETTLE_S)

    def clear_velocities(self) -> None:
        """Bring everything to rest, as upstream does between two resets in one scene."""
        for actor in self.scene.get_all_actors():
            if actor.type != "static":
                actor.set_velocity([0, 0, 0])
                actor.set_angular_velocity([0, 0, 0])
        for articulation in self.scene.get_all_articulations():
            articulation.set_qvel(np.zeros(articulation.dof))
            articulation.set_root_velocity([0, 0, 0])
            articulation.set_root_angular_velocity([0, 0, 0])

    # --- stepping --------------------------------------------------------------------------------------------------------------

    def control_step(self, action: NDArray[np.floating[Any]]) -> None:
        """Execute one action; the robot's own weight is balanced at every physics step."""
        self.controller.set_action(action)
        articulation, scene, before_substep = self.articulation, self.scene, self.controller.before_substep
        for index in range(1, self.robot.substeps + 1):
            before_substep(index)
            articulation.set_qf(articulation.compute_passive_force(external=False))
            scene.step()

    # --- asking ----------------------------------------------------------------------------------------------------------------

    def is_grasped(self, actor: Any) -> bool:
        """Whether both fingers push the object roughly against their opening direction."""
        return all(self._finger_holds(finger, actor) for finger in self.robot.fingers)

    def touches_others(self, actor: Any, allowed: Iterable[str] = ()) -> bool:
        """Whether the object is in contact with anything but the robot and the actors named."""
        ignored = {*self.links, *allowed}
        for contact in self.scene.get_contacts():
            names = contact.actor0.name, contact.actor1.name
            if actor.name not in names:
                continue
            other = names[1] if names[0] == actor.name else names[0]
            if other not in ignored and np.linalg.norm(_impulse(contact)) > TOUCH_NS:
                return True
        return False

    def push(self, first: Any, second: Any, second_shape: Any = None) -> Float64Array:
        """Sum of the contact impulses in Ns that the second actor gives to the first, float64[3]."""
        total = np.zeros(3)
        for contact in self.scene.get_contacts():
            if second_shape is not None and contact.collision_shape1 != second_shape:
                continue
            if contact.actor0 == first and contact.actor1 == second:
                total += _impulse(contact)
            elif contact.actor0 == second and contact.actor1 == first:
                total -= _impulse(contact)
        return total

    def end_effector_at_base(self) -> Any:
        """The end effector's pose in the robot's base frame."""
        return self.articulation.pose.inv().transform(self.end_effector.pose)

    def gripper_closedness(self) -> float:
        """0 where both fingers are open, 1 where they are closed."""
        joints = [joint.name for joint in self.articulation.get_active_joints()]
        indices = [joints.index(name) for name in self.robot.gripper.names]
        limits = self.articulation.get_qlimits()[indices]
        opened, closed = limits.T if self.robot.gripper_closes_upwards else limits.T[::-1]
        return max(float(np.mean((self.articulation.get_qpos()[indices] - opened) / (closed - opened))), 0.0)

    def state(self) -> Float64Array:
        """Poses, velocities and joints of everything: 13 per actor, then 13 + 2 dof per articulation, as upstream orders them."""
        rows = [_actor_state(actor) for actor in self.scene.get_all_actors()]
        rows += [_articulation_state(articulation) for articulation in self.scene.get_all_articulations()]
        return np.hstack(rows).astype(np.float64)

    def _finger_holds(self, finger: Any, actor: Any) -> bool:
        pushes = [self.push(self.links[name], actor) for name in finger.links]
        if max(float(np.linalg.norm(push)) for push in pushes) < TOUCH_NS:
            return False
        directions = [finger.opens_along_y * self.links[name].pose.to_transformation_matrix()[:3, 1] for name in finger.links]
        angle = min(_angle_between(*pair) for pair in zip(directions, pushes, strict=True))
        return bool(np.rad2deg(angle) <= self.robot.grasp_angle_deg)

    def _load_robot(self) -> Any:
        loader = self.scene.create_urdf_loader()
        loader.fix_root_link = True
        loader.load_multiple_collisions_from_file = True
        links = {}
        for surface in self.robot.surfaces:
            material = self.scene.create_physical_material(
                static_friction=surface.static_friction, dynamic_friction=surface.dynamic_friction, restitution=0.0
            )
            touch = {"material": material, "patch_radius": surface.patch_radius, "min_patch_radius": surface.patch_radius}
            links.update(dict.fromkeys(surface.links, touch))
        return loader.load(str(self.robot_urdf), {"link": links})


def release(actor: Any) -> None:
    """Let an actor move freely; setting its pose wakes it."""
    actor.lock_motion(0, 0, 0, 0, 0, 0)
    actor.set_pose(actor.pose)
    actor.set_velocity(np.zeros(3))
    actor.set_angular_velocity(np.zeros(3))


def _make_scene(sim_hz: int, contact_offset: float) -> Any:
    config = import_sapien().SceneConfig()
    config.default_dynamic_friction = config.default_static_friction = 1.0
    config.default_restitution = 0.0
    config.contact_offset = contact_offset
    config.enable_pcm = False
    config.enable_tgs = True
    config.solver_iterations = SOLVER_ITERATIONS
    config.solver_velocity_iterations = 1
    config.disable_collision_visual = True
    scene = engine().create_scene(config)
    scene.set_timestep(1.0 / sim_hz)
    return scene


def _coloured(urdf: Path, colours: str) -> Path:
    return urdf.with_name(f"{urdf.stem}_{colours}.urdf") if colours else urdf


def _impulse(contact: Any) -> NDArray[Any]:
    impulse: NDArray[Any] = np.sum([point.impulse for point in contact.points], axis=0)
    return impulse


def _angle_between(first: NDArray[Any], second: NDArray[Any]) -> float:
    # The C library's arc cosine: NumPy's differs by the processor, and this angle decides a grasp.
    return math.acos(np.clip(np.dot(_unit(first), _unit(second)), -1, 1))


def _unit(vector: NDArray[Any]) -> NDArray[Any]:
    length = np.linalg.norm(vector)
    return np.zeros_like(vector) if length < 1e-6 else vector / length


def _actor_state(actor: Any) -> NDArray[Any]:
    moving = actor.type != "static"
    velocities = (actor.velocity, actor.angular_velocity) if moving else (np.zeros(3), np.zeros(3))
    return np.hstack([actor.pose.p, actor.pose.q, *velocities])


def _articulation_state(articulation: Any) -> NDArray[Any]:
    root = articulation.get_links()[0]
    joints = articulation.get_qpos(), articulation.get_qvel()
    return np.hstack([root.pose.p, root.pose.q, root.get_velocity(), root.get_angular_velocity(), *joints])

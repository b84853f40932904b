"""Pictures of an episode's scene, drawn apart from its physics.

A picture needs nothing but the poses of what is visible. So they are drawn in a scene of their own that holds bodies without mass,
moved to wherever a render state says: physics never learns whether anything is drawn, any recorded moment can be drawn again, and a
drawing scene serves all episodes that look the same. The arithmetic of poses and of the composition with the photograph is
upstream's, so the pixels are upstream's. Sources: ManiSkill2_real2sim@ef7a4d4, envs/custom_scenes/*.py (lamps, materials),
base_env.py:349-399 (composition), utils/wrappers/observation.py (rounding).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from ...errors import EnvError
from ..variation import light_factors, moved
from .engine import engine
from .setups import Lights, Shader
from .vulkan import VulkanDevice, make_renderer
from .world import DUMMY_FLOOR_HALF_SIZE, MODELS, OVERLAYS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..variation import Change
    from .episode import Episode
    from .robots import MountedCamera

    Float64Array = NDArray[np.float64]
    Image = NDArray[np.uint8]

POSE = 7  # entries of a pose: position, then quaternion w x y z
KEPT_CANVASES = 3
FIELD_OF_VIEW = 1.5  # rad, replaced by the camera's focal length at once
SHADOW_SCALE, SHADOW_MAP = 5, 2048

RAY_SAMPLES, RAY_DEPTH = 32, 8
SHADERS = {"rasterizer": "ibl", "raytracer": "rt"}

ROBOT_SHINE = {"specular": 0.9, "roughness": 0.3}
MATTE = {"specular": 0.0, "roughness": 1.0, "metallic": 0.0}


@dataclass(frozen=True)
class Lamp:
    """A directional lamp: where its light goes, its colour's brightness, and what goes with its shadows."""

    direction: tuple[float, float, float]
    brightness: float
    shadow: bool = False
    pos: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Lighting:
    """Brightness of the light from everywhere, and lamps."""

    ambient: float
    lamps: tuple[Lamp, ...]


def _table_lamps(above: float, sides: float) -> Lighting:
    return Lighting(0.3, (Lamp((0, 0, -1), above), Lamp((-1, -0.5, -1), sides), Lamp((1, 1, -1), sides)))


def _room_lamps(above: float) -> Lighting:
    return Lighting(0.3, (Lamp((-0.2, 0, -1), above, shadow=True), Lamp((-1, 1, -0.05), 0.5), Lamp((-1, -1, -0.05), 0.5)))


LIGHTING: dict[Lights, Lighting] = {
    "default": _table_lamps(2.2, 0.7),
    "slightly_brighter": _table_lamps(3.6, 1.3),
    "slightly_darker": Lighting(0.3, (Lamp((1, 1, -1), 0.8), Lamp((0, 0, -1), 0.8))),
    "drawer_default": _room_lamps(1.0),
    "brighter": _room_lamps(2.0),
    "darker": _room_lamps(0.5),
    "drawer_simple": Lighting(1.0, (Lamp((-float(np.cos(np.deg2rad(75))), 0, -float(np.sin(np.deg2rad(75)))), 1.0),)),
    "sink": Lighting(0.3, (Lamp((0, 0, -1), 0.3, pos=(0, 0, 1)),)),
}


@dataclass(frozen=True)
class Look:
    """All that what is drawn depends on besides poses; episodes that look the same share a canvas.

    Attributes:
        parts: What is visible and moves, in the order of the poses in a render state.
        stage: What is visible and stays.
        camera: The camera.
        camera_part: Index of the part that holds it.
        lights: Lamps.
        shader: What draws.
        light: By how much lamps are stronger than the setup's: red, green, blue.
    """

    parts: tuple[Part, ...]
    stage: Part
    camera: MountedCamera
    camera_part: int
    lights: Lights
    shader: Shader
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Part:
    """A link or an actor.

    Attributes:
        id: What it is called in segmentations; SAPIEN's actor id.
        source: Description file that it is a link of, or the file of its visual model; None for the white floor.
        link: Its name there, None for a model.
        pose: The model's pose in its actor (position, quaternion w x y z), where that matters.
        material: Properties of its materials that are replaced.
    """

    id: int
    source: Path | None
    link: str | None = None
    pose: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    material: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Photograph:
    """A photograph that replaces the background.

    Attributes:
        file: Where it is.
        foreground: Segmentation ids of what it does not cover.
    """

    file: Path
    foreground: tuple[int, ...]

    def behind(self, colours: NDArray[np.float32], segmentation: NDArray[np.uint32]) -> Image:
        """The photograph with the foreground of a picture in front of it, uint8[H, W, 3].

        Args:
            colours: The picture, float32[H, W, 3], 1 is full brightness.
            segmentation: What is where in it, uint32[H, W].
        """
        in_front = np.zeros(1 + max(int(segmentation.max()), *self.foreground), np.bool_)
        in_front[list(self.foreground)] = True
        shown = in_front[segmentation]
        image = _load(self.file, *segmentation.shape).copy()
        image[shown] = _rounded(colours[shown])
        return image


def visible(episode: Episode[Any]) -> list[Any]:
    """The links and actors whose poses a picture depends on, the camera's link included."""
    world, camera = episode.world, episode.robot.camera.link
    drawn = _links_with_visuals(world.robot_urdf)
    found = [link for link in world.articulation.get_links() if link.name in drawn or link.name == camera]
    found += world.objects
    if world.cabinet is not None:
        drawn = _links_with_visuals(world.cabinet_urdf)
        found += [link for link in world.cabinet.get_links() if link.name in drawn]
    return found


def look_of(episode: Episode[Any], shader: Shader, variation: Sequence[Change] = ()) -> Look:
    """What an episode looks like, and what is changed about it."""
    world, setup = episode.world, episode.setup
    shine = tuple(ROBOT_SHINE.items()) if setup.robot_shiny else ()
    matte = tuple(MATTE.items()) if episode.matte_objects else ()
    robot = {link.get_id() for link in world.articulation.get_links()}
    objects = {actor.get_id() for actor in world.objects}
    parts = []
    for entity in visible(episode):
        if entity.get_id() in robot:
            parts.append(Part(entity.get_id(), world.robot_urdf, entity.name, material=shine))
        elif entity.get_id() in objects:
            parts.append(Part(entity.get_id(), _visual_model(world.assets, entity.name), material=matte))
        else:
            parts.append(Part(entity.get_id(), world.cabinet_urdf, entity.name))
    camera = episode.robot.camera
    return Look(
        parts=tuple(parts),
        stage=Part(world.stage.get_id(), world.stage_file, pose=_row(world.stage.pose * world.stage_pose)),
        camera=_moved(camera, variation),
        camera_part=next(i for i, part in enumerate(parts) if part.link == camera.link),
        lights=setup.lights,
        shader=shader,
        light=light_factors(variation),
    )


def _moved(camera: MountedCamera, variation: Sequence[Change]) -> MountedCamera:
    """The camera elsewhere on its link; its axes are forward, left and up."""
    from scipy.spatial.transform import Rotation

    w, *xyz = camera.quat_wxyz
    forward, left, up = Rotation.from_quat([*xyz, w]).as_matrix().T
    axes = np.stack([-left, up, -forward], axis=1)
    pos, turned = moved(np.array(camera.pos), axes, variation)
    if turned is axes:
        return camera
    right, up, back = turned.T
    *xyz, w = Rotation.from_matrix(np.stack([-back, -right, up], axis=1)).as_quat()
    return replace(camera, pos=tuple(pos.tolist()), quat_wxyz=(w, *xyz))


def photograph_of(episode: Episode[Any]) -> Photograph | None:
    """The photograph behind an episode, if it has one."""
    world, overlay = episode.world, episode.setup.overlay
    if overlay is None:
        return None
    hidden = {actor.get_id() for actor in world.objects if actor.name in episode.hidden_objects}
    foreground = tuple(entity.get_id() for entity in visible(episode) if entity.get_id() not in hidden)
    return Photograph(world.assets / OVERLAYS / overlay, foreground)


class Canvas:
    """A scene that is only drawn.

    Args:
        look: What is in it.
        renderer: A ``sapien.SapienRenderer`` that SAPIEN's engine has been given.
        device: What it draws on.
    """

    def __init__(self, look: Look, renderer: Any, device: VulkanDevice) -> None:
        self.look = look
        self._device = device
        self._scene = engine().create_scene()
        lighting = LIGHTING[look.lights]
        self._scene.set_ambient_light([lighting.ambient * factor for factor in look.light])
        for lamp in lighting.lamps:
            self._scene.add_directional_light(
                lamp.direction,
                [lamp.brightness * factor for factor in look.light],
                shadow=lamp.shadow,
                position=lamp.pos,
                scale=SHADOW_SCALE,
                shadow_map_size=SHADOW_MAP,
            )
        self._descriptions: dict[Path | None, tuple[Any, dict[str, Any]]] = {}
        # In the order in which SAPIEN made them: where two surfaces are equally far, the later one shows.
        in_order = sorted((*look.parts, look.stage), key=lambda part: part.id)
        bodies = {part.id: self._add_stage(part, renderer) if part is look.stage else self._add(part) for part in in_order}
        self._bodies = [bodies[part.id] for part in look.parts]
        self._descriptions.clear()
        self._cameras: dict[tuple[int, int], Any] = {}

    def draw(self, render_state: Float64Array, height: int, width: int, photograph: Photograph | None) -> Image:
        """A moment as uint8[height, width, 3]."""
        camera = self._take_picture(render_state, height, width)
        colours = camera.get_float_texture("Color")[..., :3]
        if photograph is None:
            return _rounded(colours)
        return photograph.behind(colours, camera.get_uint32_texture("Segmentation")[..., 0])

    def segmentation(self, render_state: Float64Array, height: int, width: int) -> NDArray[np.uint32]:
        """What is where in a moment: ids of links and actors, uint32[height, width]; 0 for nothing."""
        ids: NDArray[np.uint32] = self._take_picture(render_state, height, width).get_uint32_texture("Segmentation")[..., 0]
        return ids

    def _take_picture(self, render_state: Float64Array, height: int, width: int) -> Any:
        import sapien.core as sapien

        poses = [sapien.Pose(row[:3], row[3:]) for row in render_state.reshape(-1, POSE)]
        if len(poses) != len(self._bodies):
            raise EnvError(f"this render state has {len(poses)} poses, the scene {len(self._bodies)}: it is another episode's.")
        for pose, bodies in zip(poses, self._bodies, strict=True):
            for body, local in bodies:
                body.set_pose(pose * local)
        camera = self._camera(height, width)
        mount = self.look.camera
        camera.set_local_pose(poses[self.look.camera_part] * sapien.Pose(mount.pos, mount.quat_wxyz))
        self._scene.update_render()
        camera.take_picture()
        return camera

    def _add(self, part: Part) -> list[tuple[Any, Any]]:
        """Bodies of a part, each with its pose in the part."""
        import sapien.core as sapien

        if part.link is None:
            bodies = [(self._scene.renderer_scene.add_mesh_from_file(str(part.source), [1.0] * 3), sapien.Pose())]
        else:
            visuals = self._description(part.source)[part.link].get_visuals()
            bodies = [(self._add_visual(visual), _copy(visual.pose)) for visual in visuals]
        for body, _ in bodies:
            body.set_visual_id(part.id)
            for shape in body.get_render_shapes():
                for name, value in part.material:
                    setattr(shape.material, name, value)
        return bodies

    def _description(self, file: Path | None) -> dict[str, Any]:
        """Builders of the links in a description file, which know what is visible of them, by name."""
        if file not in self._descriptions:
            loader = self._scene.create_urdf_loader()
            loader.fix_root_link = True
            builder = loader.load_file_as_articulation_builder(str(file))
            # The links' builders live as long as the articulation's.
            self._descriptions[file] = (builder, {link.get_name(): link for link in builder.get_link_builders()})
        return self._descriptions[file][1]

    def _add_visual(self, visual: Any) -> Any:
        scene = self._scene.renderer_scene
        if visual.type == "File":
            return scene.add_mesh_from_file(visual.filename, visual.scale)
        return scene.add_primitive_mesh("box", visual.scale, visual.material)

    def _add_stage(self, stage: Part, renderer: Any) -> list[tuple[Any, Any]]:
        import sapien.core as sapien

        scene = self._scene.renderer_scene
        if stage.source is None:
            body = scene.add_primitive_mesh("box", DUMMY_FLOOR_HALF_SIZE, renderer.create_material())
        else:
            body = scene.add_mesh_from_file(str(stage.source), [1.0] * 3)
        body.set_visual_id(stage.id)
        body.set_pose(sapien.Pose(stage.pose[:3], stage.pose[3:]))
        return [(body, sapien.Pose())]

    def _camera(self, height: int, width: int) -> Any:
        if (height, width) not in self._cameras:
            import sapien.core as sapien

            config, lens = sapien.render_config, self.look.camera
            config.camera_shader_dir = SHADERS[self.look.shader]
            config.rt_samples_per_pixel, config.rt_max_path_depth = RAY_SAMPLES, RAY_DEPTH
            config.rt_use_denoiser = not self._device.is_software
            camera = self._scene.add_camera("camera", width, height, FIELD_OF_VIEW, lens.near, lens.far)
            across, down = width / lens.width, height / lens.height
            camera.set_focal_lengths(lens.focal * across, lens.focal * down)
            camera.set_principal_point(lens.centre[0] * across, lens.centre[1] * down)
            self._cameras[height, width] = camera
        return self._cameras[height, width]


class Painter:
    """Draws episodes; one per process, because a renderer and its shaders take seconds to set up.

    Attributes:
        device: What it draws on.

    Raises:
        DependencyError: Nothing can draw here.
    """

    def __init__(self) -> None:
        self._renderer, self.device = make_renderer()
        engine().set_renderer(self._renderer)
        self._canvases: OrderedDict[Look, Canvas] = OrderedDict()

    def canvas(self, look: Look) -> Canvas:
        """The canvas of a look, made if it is not among the last few."""
        if look not in self._canvases:
            while len(self._canvases) >= KEPT_CANVASES:
                self._canvases.popitem(last=False)
            self._canvases[look] = Canvas(look, self._renderer, self.device)
        self._canvases.move_to_end(look)
        return self._canvases[look]


@lru_cache(maxsize=1)
def painter() -> Painter:
    """This process's painter, made when first asked for."""
    return Painter()


def render_state(entities: list[Any]) -> Float64Array:
    """Poses of what `visible` found, float64[7 * len(entities)]; exact, since SAPIEN's are float32."""
    rows: Float64Array = np.concatenate([part for entity in entities for part in (entity.pose.p, entity.pose.q)], dtype=np.float64)
    return rows


@lru_cache(maxsize=16)
def _load(photograph: Path, height: int, width: int) -> Image:
    import cv2

    pixels = cv2.cvtColor(cv2.imread(str(photograph)), cv2.COLOR_BGR2RGB) / 255
    return _rounded(cv2.resize(pixels, (width, height)).astype(np.float32))


def _rounded(colours: NDArray[Any]) -> Image:
    image: Image = np.clip(colours * 255, 0, 255).astype(np.uint8)
    return image


@lru_cache(maxsize=16)
def _links_with_visuals(urdf: Path) -> frozenset[str]:
    # Read from the file, since SAPIEN's answer depends on whether a renderer exists yet.
    links = ElementTree.parse(urdf).getroot().iter("link")
    return frozenset(link.attrib["name"] for link in links if link.find("visual") is not None)


def _visual_model(assets: Path, model: str) -> Path:
    """The first of the forms that a model's textured mesh may come in."""
    folder = assets / MODELS / model
    forms = (folder / f"textured.{form}" for form in ("obj", "dae", "glb"))
    return next(file for file in forms if file.exists())


def _copy(pose: Any) -> Any:
    """A pose of its own: SAPIEN hands out references that may dangle."""
    import sapien.core as sapien

    return sapien.Pose(pose.p.copy(), pose.q.copy())


def _row(pose: Any) -> tuple[float, ...]:
    return (*map(float, pose.p), *map(float, pose.q))

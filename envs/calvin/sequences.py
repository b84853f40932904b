"""The 1,000 evaluation chains of CALVIN and the initial state of each, generated as the benchmark generates them.

Source: mees/calvin@fa03f01, ``calvin_agent/evaluation/multistep_sequences.py`` (which subtask can follow which, and how chains are
drawn) and ``evaluation/utils.py`` (the state of robot and table that belongs to an initial condition). Every draw comes from a
generator made for it, so the chains depend on nothing else in the process and are the same under every version of numpy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...errors import AssetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64Array = NDArray[np.float64]

CHAIN_LENGTH = 5
CHAINS_FILE = Path(__file__).with_name("chains.json")
# sha256 of the file: 1,000 times [[values of the condition], [five subtasks]]. The chains of upstream's own code have this hash.
CHAINS_SHA256 = "961386371b028e8dc35df74eac85e797083c0f2345382a1120ddc8ced4db9e6c"

COLOURS = ("red", "blue", "pink")
ON_SLIDER = ("slider_right", "slider_left")
# An initial condition names a value for each of these; their order decides the order of the conditions and the seeds below.
POSSIBLE: dict[str, tuple[str | int, ...]] = {
    "led": (0, 1),
    "lightbulb": (0, 1),
    "slider": ("right", "left"),
    "drawer": ("closed", "open"),
    "red_block": ("table", *ON_SLIDER),
    "blue_block": ("table", *ON_SLIDER),
    "pink_block": ("table", *ON_SLIDER),
    "grasped": (0,),
}

# The poses of evaluation/utils.py 171-206. The robot starts the same way in every chain.
ROBOT_OBS = (
    *(0.02586889, -0.2313129, 0.5712808, 3.09045411, -0.02908596, 1.50013585, 0.07999963),
    *(-1.21779124, 1.03987629, 2.11978254, -2.34205014, -0.87015899, 1.64119093, 0.55344928, 1.0),
)
BLOCK_ON_SLIDER = {
    "slider_left": (-2.40851662e-01, 9.24044687e-02, 4.60990009e-01),
    "slider_right": (7.03416330e-02, 9.24044687e-02, 4.60990009e-01),
}
BLOCK_ON_TABLE = ((5.00000896e-02, -1.20000177e-01, 4.59990009e-01), (2.29995412e-01, -1.19995140e-01, 4.59990010e-01))
BLOCK_YAW_RANGE = (np.pi / 2 - np.pi / 8, np.pi / 2 + np.pi / 8)
SLIDER_LEFT_M, DRAWER_OPEN_M, SWITCH_ON = 0.28, 0.22, 0.088

Condition = Mapping[str, "str | int"]


class Move(NamedTuple):
    """One way a subtask changes the table, in words: it applies where every fact of `needs` holds (a tuple means: one of these)."""

    needs: Mapping[str, str | int | tuple[str, ...]]
    gives: Condition

    def applies(self, condition: Condition) -> bool:
        """Whether the subtask can be done this way under the condition."""
        return all(condition[k] in v if isinstance(v, tuple) else condition[k] == v for k, v in self.needs.items())


class Subtask(NamedTuple):
    """What a chain is drawn from: no two subtasks of one chain share a category."""

    category: str
    moves: tuple[Move, ...]


class Chain(NamedTuple):
    """One evaluation chain: the condition the table starts in, and five subtasks, each possible after the one before."""

    condition: dict[str, str | int]
    subtasks: tuple[str, ...]


def _others(colour: str) -> list[str]:
    return [other for other in COLOURS if other != colour]


def _block_moves() -> Iterator[tuple[str, Subtask]]:
    for verb, (colour, side) in product(("rotate", "push"), product(COLOURS, ("right", "left"))):
        block = f"{colour}_block"
        move = Move({block: "table", "grasped": 0}, {block: "table"})
        yield f"{verb}_{block}_{side}", Subtask("shove", (move,))


def _furniture_moves() -> Iterator[tuple[str, Subtask]]:
    for side, other in (("left", "right"), ("right", "left")):
        yield f"move_slider_{side}", Subtask("slider", (Move({"slider": other, "grasped": 0}, {"slider": side}),))
    for verb, state, other in (("open", "open", "closed"), ("close", "closed", "open")):
        yield f"{verb}_drawer", Subtask("drawer", (Move({"drawer": other, "grasped": 0}, {"drawer": state}),))


def _lift_moves() -> Iterator[tuple[str, Subtask]]:
    for block in (f"{colour}_block" for colour in COLOURS):
        gives: Condition = {block: "grasped", "grasped": 1}
        # The door covers one side of the cabinet: a block is within reach on the side the door is not on.
        reachable = tuple(
            Move({block: f"slider_{side}", "slider": door, "grasped": 0}, gives)
            for side, door in (("left", "right"), ("right", "left"))
        )
        yield f"lift_{block}_table", Subtask("lift_table", (Move({block: "table", "grasped": 0}, gives),))
        yield f"lift_{block}_slider", Subtask("lift_slider", reachable)
        yield f"lift_{block}_drawer", Subtask("lift_drawer", (Move({block: "drawer", "drawer": "open", "grasped": 0}, gives),))


def _release_moves() -> Iterator[tuple[str, Subtask]]:
    held: dict[str, Condition] = {f"{colour}_block": {f"{colour}_block": "grasped", "grasped": 1} for colour in COLOURS}
    pairs = [(f"{top}_block", f"{bottom}_block") for top in COLOURS for bottom in _others(top)]
    in_slider = [
        Move({**needs, "slider": side}, {block: f"slider_{side}", "grasped": 0})
        for block, needs in held.items()
        for side in ("right", "left")
    ]
    in_drawer = [Move({**needs, "drawer": "open"}, {block: "drawer", "grasped": 0}) for block, needs in held.items()]
    stacked = [{top: "stacked_top", bottom: "stacked_bottom"} for top, bottom in pairs]
    stack = [Move({**held[t], b: "table"}, {**after, "grasped": 0}) for (t, b), after in zip(pairs, stacked, strict=True)]
    unstack = [Move({**before, "grasped": 0}, {t: "table", b: "table"}) for (t, b), before in zip(pairs, stacked, strict=True)]
    yield "place_in_slider", Subtask("place", tuple(in_slider))
    yield "place_in_drawer", Subtask("place", tuple(in_drawer))
    yield "stack_block", Subtask("stack", tuple(stack))
    yield "unstack_block", Subtask("unstack", tuple(unstack))


def _light_moves() -> Iterator[tuple[str, Subtask]]:
    for light, (verb, state) in product(("lightbulb", "led"), (("on", 1), ("off", 0))):
        yield f"turn_{verb}_{light}", Subtask("light", (Move({light: 1 - state, "grasped": 0}, {light: state}),))


def _push_into_drawer() -> tuple[str, Subtask]:
    moves = [
        Move(
            {f"{c}_block": "table", "drawer": "open", "grasped": 0, **{f"{other}_block": ON_SLIDER for other in _others(c)}},
            {f"{c}_block": "drawer", "grasped": 0},
        )
        for c in COLOURS
    ]
    return "push_into_drawer", Subtask("push_into_drawer", tuple(moves))


# The order is upstream's: a chain is drawn as five positions in it.
SUBTASKS: dict[str, Subtask] = dict(
    (*_block_moves(), *_furniture_moves(), *_lift_moves(), *_release_moves(), *_light_moves(), _push_into_drawer())
)


def initial_conditions() -> list[dict[str, str | int]]:
    """The 192 conditions a chain can start in: one or two blocks on the table, at most one on either side of the cabinet."""
    conditions = [dict(zip(POSSIBLE, values, strict=True)) for values in product(*POSSIBLE.values())]
    places = [list(condition.values()) for condition in conditions]
    return [
        c for c, p in zip(conditions, places, strict=True) if p.count("table") in (1, 2) and all(p.count(s) < 2 for s in ON_SLIDER)
    ]


def can_be_done_in_turn(condition: Condition, subtasks: tuple[str, ...]) -> bool:
    """Whether each subtask is possible in exactly one way after those before it, and no two are of one category."""
    for name in subtasks:
        possible = [move for move in SUBTASKS[name].moves if move.applies(condition)]
        if len(possible) != 1:
            return False
        condition = {**condition, **possible[0].gives}
    return len({SUBTASKS[name].category for name in subtasks}) == len(subtasks)


def _draw_chains(condition: dict[str, str | int], count: int, seed: int) -> Iterator[Chain]:
    generator = np.random.RandomState(seed)
    names = list(SUBTASKS)
    while count > 0:
        # The same draws as choice(names, 5, replace=False), five times as fast.
        subtasks = tuple(names[i] for i in generator.permutation(len(names))[:CHAIN_LENGTH])
        if can_be_done_in_turn(condition, subtasks):
            yield Chain(condition, subtasks)
            count -= 1


def generate_chains(count: int) -> tuple[Chain, ...]:
    """Draw chains as ``get_sequences(count)`` of the benchmark does; 1,000 take half a minute.

    Args:
        count: How many, spread evenly over the 192 initial conditions. Fewer chains are not the first of more.
    """
    conditions = initial_conditions()
    shares = [len(part) for part in np.array_split(np.arange(count), len(conditions))]
    drawn = [chain for i, share in enumerate(shares) for chain in _draw_chains(conditions[i], share, seed=i)]
    order = list(range(count))
    np.random.RandomState(0).shuffle(order)
    return tuple(drawn[i] for i in order)


def chains_to_json(chains: Sequence[Chain]) -> bytes:
    """The form in which chains are stored and hashed."""
    plain = [[list(chain.condition.values()), chain.subtasks] for chain in chains]
    return json.dumps(plain, separators=(",", ":")).encode()


@cache
def evaluation_chains() -> tuple[Chain, ...]:
    """The benchmark's 1,000 chains, from the file that `generate_chains` made.

    Raises:
        AssetError: The file is not the published one.
    """
    stored = CHAINS_FILE.read_bytes()
    if hashlib.sha256(stored).hexdigest() != CHAINS_SHA256:
        raise AssetError(f"{CHAINS_FILE} does not hold the 1,000 published evaluation chains; install vlagym again.")
    return tuple(Chain(dict(zip(POSSIBLE, values, strict=True)), tuple(subtasks)) for values, subtasks in json.loads(stored))


def initial_state_seed(condition: Condition) -> int:
    """Seed of the random part of an initial state: FNV-1 (32 bit) of the condition's values as Python prints them.

    The benchmark hashes with pyhash 0.9.3, which starts from 0 (not from FNV's offset basis) and reads the text as UTF-16.
    """
    value = 0
    for byte in f"dict_values({list(condition.values())})".encode("utf-16-le"):
        value = (value * 0x01000193 & 0xFFFFFFFF) ^ byte
    return value


def initial_state(condition: Condition) -> tuple[Float64Array, Float64Array]:
    """The state in which a chain with this initial condition starts.

    Returns:
        robot_obs float64[15] and scene_obs float64[24], with the blocks in the order red, blue, pink (that of scene D).
    """
    generator = np.random.RandomState(initial_state_seed(condition))
    on_table = list(BLOCK_ON_TABLE)
    generator.shuffle(on_table)
    # Red takes the first place on the table, pink the second, blue the one that red leaves.
    places = {"red_block": on_table[0], "blue_block": on_table[condition["red_block"] == "table"], "pink_block": on_table[1]}
    scene_obs = np.zeros(24)
    scene_obs[0] = SLIDER_LEFT_M * (condition["slider"] == "left")
    scene_obs[1] = DRAWER_OPEN_M * (condition["drawer"] == "open")
    scene_obs[3] = SWITCH_ON * (condition["lightbulb"] == 1)
    scene_obs[4:6] = condition["lightbulb"], condition["led"]
    for i, (block, place) in enumerate(places.items()):
        scene_obs[6 + 6 * i : 9 + 6 * i] = BLOCK_ON_SLIDER.get(str(condition[block]), place)
        scene_obs[11 + 6 * i] = generator.uniform(*BLOCK_YAW_RANGE)
    return np.array(ROBOT_OBS), scene_obs

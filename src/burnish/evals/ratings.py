"""Bradley-Terry ratings of models from duels, on Elo's scale, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.stats import norm

from burnish.evals.logistic import fit
from burnish.evals.resampling import Array, cluster_codes
from burnish.records import Figure

ELO = 400 / math.log(10)
"""Elo points of one nat: 400 points are odds of ten to one."""
CENTRE = 1000.0


@dataclass(frozen=True)
class Game:
    """What came of ``first`` against ``second``: 1, 0, or 0.5 for a tie. ``group`` is what was
    asked: games about the same thing depend on each other."""

    first: str
    second: str
    score: float
    group: str = ""


@dataclass(frozen=True)
class Ratings:
    """A rating with a 95 % interval by player; ``n`` is the number of games that count for it.

    ``leagues`` are the sets of players that can be rated against each other, whose mean rating is
    ``CENTRE``. More than one means that the games do not connect them: nobody of one beat anybody
    of the other, or was beaten by none, so that no finite distance explains the games. A player
    who is a league of his own has no rating (NaN).
    """

    ratings: dict[str, Figure]
    leagues: list[list[str]]

    @property
    def connected(self) -> bool:
        """Whether all ratings can be compared."""
        return len(self.leagues) == 1


def bradley_terry(games: Sequence[Game]) -> Ratings:
    """Fit P(i beats j) = 1 / (1 + 10^((r_j - r_i) / 400)), Bradley and Terry 1952.

    A tie is half a win for each. A finite maximum of the likelihood needs that every two players
    are linked by wins both ways (Ford 1957), so players are rated within their leagues.

    Raises:
        ValueError: no games, a score outside [0, 1], or a player against himself.
    """
    if not games:
        raise ValueError("games: none, expected at least one")
    for game in games:
        if not 0 <= game.score <= 1 or game.first == game.second:
            raise ValueError(f"games: {game}, expected two players and a score from 0 to 1")
    players = sorted({name for game in games for name in (game.first, game.second)})
    leagues = _leagues(players, games)
    ratings: dict[str, Figure] = {}
    for league in leagues:
        ratings |= _rated(league, games)
    return Ratings({name: ratings[name] for name in players}, leagues)


def _leagues(players: Sequence[str], games: Sequence[Game]) -> list[list[str]]:
    """Strongly connected sets of the graph with an edge from every winner to whom he beat."""
    place = {name: index for index, name in enumerate(players)}
    edges = [(game.first, game.second) for game in games if game.score > 0]
    edges += [(game.second, game.first) for game in games if game.score < 1]
    rows, columns = zip(*[(place[a], place[b]) for a, b in edges], strict=True)
    graph = csr_matrix((np.ones(len(edges)), (rows, columns)), (len(players),) * 2)
    count, labels = connected_components(graph, connection="strong")
    sets: list[list[str]] = [[] for _ in range(count)]
    for name, label in zip(players, labels, strict=True):
        sets[label].append(name)
    return sorted(sets)


def _rated(league: Sequence[str], games: Sequence[Game]) -> dict[str, Figure]:
    if len(league) == 1:
        return {league[0]: Figure(math.nan, -math.inf, math.inf, 0)}
    place = {name: index for index, name in enumerate(league)}
    inside = [game for game in games if game.first in place and game.second in place]
    design = np.zeros((len(inside), len(league)))
    for row, game in zip(design, inside, strict=True):
        row[place[game.first]], row[place[game.second]] = 1.0, -1.0
    scores: Array = np.array([game.score for game in inside])
    found = fit(design, scores, cluster_codes([game.group for game in inside])[0])
    half = norm.ppf(0.975) * ELO * np.sqrt(found.covariance.diagonal())
    played = np.abs(design).sum(axis=0)
    return {
        name: Figure(rating, rating - float(half[at]), rating + float(half[at]), int(played[at]))
        for name, at in place.items()
        for rating in [CENTRE + ELO * float(found.coefficients[at])]
    }

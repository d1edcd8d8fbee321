"""One search by several processes: each explores a part for a while, and what it leaves over is shared out again."""

from __future__ import annotations

import gc
import os
import signal
import sys
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import ClassVar

from arbsim.explore.search import Explored, LookBack, Stop, Task, merge, take_in
from arbsim.history import History
from arbsim.worlds.exhaustive.parts import Left, Part, Tree
from arbsim.worlds.exhaustive.search import NotRepeatable, Progress, Search
from arbsim.worlds.exhaustive.steps import Choice, News

RUNS_AT_A_TIME = 40
"""A part is left after so many runs; what is left over is shared out again."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What came of a part. ``failed``: the choices of a run that raised something; then the rest is void.

    ``news``: what came up of what steps touch.
    """

    explored: Explored
    progress: Progress
    left: Left | None
    failed: tuple[Choice, ...] = ()
    news: News = field(default_factory=dict)


class _Worker:
    """A process of the pool. It is a copy of its parent, and so has the task."""

    task: ClassVar[Task]

    @classmethod
    def begin(cls, task: Task) -> None:
        """Ctrl-C is for the parent, and so is what can be written to. A kill is no Ctrl-C here: it ends the process.

        What the parent made stays: looking for garbage in it would copy it.
        """
        gc.freeze()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as it lives
        cls.task = task

    @classmethod
    def explore(cls, part: Part) -> _Done:
        """Explore a part for a while."""
        task = cls.task
        search = task.search(part.path, part.sleeping)
        explored, progress = task.explored(), search.progress
        try:
            for run in search.runs():
                take_in(task, explored, run)
                if progress.runs + progress.redundant == RUNS_AT_A_TIME:
                    break
        except Exception:
            return _Done(explored, progress, None, search.way)
        left = Left(search.first_step, search.left(), list(search.reversals))
        return _Done(explored, progress, left, (), task.footprints.news())


def can_share() -> bool:
    """Whether this system can make a copy of a process."""
    return "fork" in get_all_start_methods()


def share(
    task: Task,
    search: Search[History],
    explored: Explored,
    progress: Progress,
    workers: int,
    stop: Stop,
    look_back: LookBack,
) -> None:
    """Go on with a search in several processes, until it is done or is to be stopped.

    Raises LearnedMore where a run showed more of the design, which the task's own knowledge then says. It also ends
    where the search is void, and ``look_back`` says that it is time to begin anew.
    """
    tree = Tree(task.reduced, search.left())
    task.footprints.news()  # everybody knows them
    with ProcessPoolExecutor(workers, get_context("fork"), _Worker.begin, (task,)) as pool:
        under_way: dict[Future[_Done], Part] = {}
        try:
            while True:
                while len(under_way) < 2 * workers and (part := tree.next_part()) is not None:
                    under_way[pool.submit(_Worker.explore, part)] = part
                if not under_way:
                    return
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    part = under_way.pop(future)
                    try:
                        result = future.result()
                    except BrokenProcessPool:  # the system or somebody killed a process; its part is lost
                        explored.stopped = "worker"
                        return
                    if result.left is None:
                        next(task.search(result.failed).runs())
                        raise NotRepeatable
                    tree.add(part, result.left)
                    task.footprints.take_in(result.news)
                    merge(explored, result.explored)
                    progress.runs += result.progress.runs
                    progress.redundant += result.progress.redundant
                    progress.steps += result.progress.steps
                    progress.share_done = tree.share_done
                    explored.stopped = explored.stopped or stop(progress)
                if explored.stopped is not None or look_back.is_void(progress):
                    return
        finally:
            pool.shutdown(cancel_futures=True)

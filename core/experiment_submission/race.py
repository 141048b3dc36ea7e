"""The races of an experiment: which job puts the arms of a task in order, and by which rule they go on now."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence

from core.experiment_submission.plan import ExperimentPlan
from core.files import read_json, write_json
from core.home import Home
from core.jobfile.race import RaceSpec, rule_of
from core.jobfile.spec import Spec
from core.jobfile.train import TrialRef
from core.store.experiments import StoredRun, TrialRace, put_race, races_of


class Races:
    """The races of one submission, in the transaction that is open. `queued` are the new ones."""

    def __init__(
        self,
        home: Home,
        connection: sqlite3.Connection,
        plan: ExperimentPlan,
        experiment_id: int,
        insert: Callable[[Spec], int],
    ) -> None:
        self.home, self.connection, self.plan, self.experiment_id = home, connection, plan, experiment_id
        self.insert = insert
        self.race = plan.experiment.race
        self.queued: list[TrialRace] = []

    def job(self, task: str, trials: Mapping[str, Sequence[StoredRun]]) -> int:
        """The job that puts these trials, by arm, in order: one that does so already, else a new one."""
        return self._there(task, trials) or self._new(task, trials)

    def _there(self, task: str, trials: Mapping[str, Sequence[StoredRun]]) -> int | None:
        wanted = {run.job_id for runs in trials.values() for run in runs}
        for race in reversed(races_of(self.connection, self.experiment_id)):
            rows = self.connection.execute("SELECT needs_id FROM dependencies WHERE job_id = ?", [race.job_id])
            if race.task == task and {row["needs_id"] for row in rows} == wanted:
                return race.job_id
        return None

    def _new(self, task: str, trials: Mapping[str, Sequence[StoredRun]]) -> int:
        assert self.race is not None
        names = {arm.key: arm.name for arm in self.plan.expansion.arms}
        spec = RaceSpec(
            experiment=self.plan.experiment.name,
            task=task,
            arms={key: names[key] for key in trials},
            trials=[
                TrialRef(arm=run.arm_key, job=run.job_id, lr=run.lr)
                for runs in trials.values()
                for run in runs
                if run.lr is not None
            ],
            keep=self.race.keep,
        )
        race = TrialRace(task, self.insert(spec))
        put_race(self.connection, self.experiment_id, race)
        self.queued.append(race)
        return race.job_id

    def tell_rule(self) -> list[str]:
        """Have every race go by what the experiment says now; a remark where that is another rule than before.

        It is told in a file beside the job file of the race, which trainings read when they start. Where the submission is cut
        between this and its end, the next one tells it again.
        """
        remarks = []
        keep = None if self.race is None else self.race.keep
        new = {race.job_id for race in self.queued}
        for race in races_of(self.connection, self.experiment_id):
            file = rule_of(self.home.run_dir(race.job_id))
            before = read_json(file)
            if before == {"keep": keep}:
                continue
            write_json(file, {"keep": keep})
            if race.job_id not in new:
                now = "all arms go on" if keep is None else f"{keep} go on"
                remarks.append(f"{race.task}: {now} by the race of job {race.job_id} from here on")
        return remarks
